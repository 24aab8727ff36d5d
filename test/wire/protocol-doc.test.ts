// docs/protocol.md is kept true: its tables are walked against the code.

import { readFileSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { ENCODINGS, encodingByName } from '../../src/encoding/registry.ts'
import { ANSWERS } from '../../src/guest/service-ports.ts'
import { REFERENCE_BYTES } from '../../src/kernels/reference.ts'
import * as limits from '../../src/limits.ts'
import { GROUP_PAGES, PAGE_BYTES } from '../../src/limits.ts'
import { FRAME_CAP, FRAME_HEADER_BYTES, FRAME_MAGIC, FRAME_TYPE } from '../../src/wire/frame.ts'
import { lineSchemas } from '../../src/wire/line-messages.ts'
import { messageSchemas } from '../../src/wire/messages.ts'
import { RUN_BYTES, TABLE_HEAD_BYTES } from '../../src/wire/page-frame.ts'
import { PROTOCOL_VERSION } from '../../src/wire/protocol.ts'
import { answerSize, REQUEST, requestSize } from '../../src/wire/service-frames.ts'

const text = readFileSync(new URL('../../docs/protocol.md', import.meta.url), 'utf8')

/** Rows of the table whose header begins with these cells, as objects by column name. */
function table(...columns: string[]): Record<string, string>[] {
  const lines = text.split('\n')
  const cellsOf = (line: string): string[] =>
    line
      .split('|')
      .slice(1, -1)
      .map((cell) => cell.trim())
  const rows: Record<string, string>[] = []
  for (let start = 0; start < lines.length; start++) {
    const head = cellsOf(lines[start] ?? '')
    if (columns.some((column, index) => head[index] !== column)) continue
    for (let at = start + 2; (lines[at] ?? '').startsWith('|'); at++) {
      const cells = cellsOf(lines[at] ?? '')
      rows.push(Object.fromEntries(head.map((name, index) => [name, cells[index] ?? ''])))
    }
  }
  expect(rows.length, `a table ${columns.join(', ')}`).toBeGreaterThan(0)
  return rows
}

/** A length as the table of encodings writes it: `12`, `12 × n` or `12 × n − 1`. */
function bytesOf(formula: string, count: number): number {
  const [, factor, times, less] = /^(\d+)( × n)?(?: − (\d+))?$/.exec(formula) ?? []
  return Number(factor) * (times === undefined ? 1 : count) - Number(less ?? 0)
}

describe('docs/protocol.md', () => {
  it('names the version and the magic', () => {
    expect(text).toContain(`# The wire protocol, version ${PROTOCOL_VERSION}`)
    const fields = new Map(table('offset', 'size', 'field').map((row) => [row.field, row]))
    expect(fields.get('magic')?.meaning).toContain(`0x${FRAME_MAGIC.toString(16)}`)
    expect(fields.get('version')?.meaning).toBe(String(PROTOCOL_VERSION))
    const round = fields.get('round')
    expect(Number(round?.offset) + Number(round?.size)).toBe(FRAME_HEADER_BYTES)
    const payloadBytes = fields.get('payloadBytes')
    expect(Number(payloadBytes?.offset) + Number(payloadBytes?.size)).toBe(RUN_BYTES)
    expect(fields.get('runs')?.offset).toBe(String(TABLE_HEAD_BYTES))
  })

  it('lists every frame type with its number and cap', () => {
    const documented = table('type', 'name').map((row) => [
      row.name,
      Number(row.type),
      Number(row['longest payload, bytes']),
    ])
    expect(documented).toEqual(Object.entries(FRAME_TYPE).map(([name, type]) => [name, type, FRAME_CAP[type]]))
  })

  it('lists every encoding with its number and payload', () => {
    const documented = table('encoding', 'name')
    expect(documented.map((row) => [Number(row.encoding), row.name])).toEqual(
      ENCODINGS.map(({ id, name }) => [id, name]),
    )
    const column = 'least payload of a run of *n* pages, bytes'
    for (const [index, encoding] of ENCODINGS.entries()) {
      const row = documented[index] ?? {}
      const [least, most] = [row[column] ?? '', row.most ?? ''].map((text) => (count: number) => bytesOf(text, count))
      for (const count of [1, 3, GROUP_PAGES]) {
        const [from, to] = [least?.(count) as number, most?.(count) as number]
        expect([encoding.name, encoding.maxPayloadBytes(count)]).toEqual([encoding.name, to])
        for (const bytes of [from, to]) encoding.checkPayload(count, bytes)
        for (const bytes of [from - 1, Math.max(to, count * PAGE_BYTES) + (most === least ? 1 : 65_536)]) {
          expect(() => encoding.checkPayload(count, bytes), `${encoding.name}: ${bytes}`).toThrow('payload bytes')
        }
      }
    }
  })

  it('says how many pages an lz4 block has at most', () => {
    expect(text).toContain(`one LZ4 block holds up to ${GROUP_PAGES} pages`)
    expect(() => encodingByName('lz4').checkPayload(GROUP_PAGES + 1, 100)).toThrow(`${GROUP_PAGES + 1} pages`)
    expect(text).toContain(`${REFERENCE_BYTES} × n`)
  })

  it('lists every message with its fields', () => {
    const documented = table('message', 'sender').map((row) => [
      row.message,
      (row.fields ?? '').split(', ').filter((field) => field !== '–'),
    ])
    const inCode = Object.entries(messageSchemas).map(([name, schema]) => [
      name,
      Object.keys(schema.shape).filter((field) => field !== 'type'),
    ])
    expect(documented).toEqual(inCode)
    for (const [name, schema] of Object.entries(messageSchemas)) expect(schema.shape.type.value).toBe(name)
  })

  it('says who sends each message to whom', () => {
    for (const { sender, receiver, when } of table('message', 'sender')) {
      expect(['source', 'destination', 'either']).toContain(sender)
      expect(receiver).toBe(sender === 'either' ? 'either' : sender === 'source' ? 'destination' : 'source')
      expect(when).not.toBe('')
    }
  })

  it('lists every line message with its fields, and where entries of a batch have what', () => {
    const documented = table('line message', 'from').map((row) => [
      row['line message'],
      (row.fields ?? '').split(', ').filter((field) => field !== '–'),
    ])
    const inCode = Object.entries(lineSchemas).map(([name, schema]) => [
      name,
      Object.keys(schema.shape).filter((field) => field !== 'type'),
    ])
    expect(documented).toEqual(inCode)
    const at = (kind: 'request at' | 'answer at') => table(kind, 'size').map((row) => [row.holds, Number(row[kind])])
    const { length, vcpu, sequence, acknowledged, nowMs } = REQUEST
    expect(Object.fromEntries(at('request at'))).toEqual({
      ...{ length, vcpu, sequence, acknowledged, now: nowMs, bytes: requestSize(0) },
    })
    expect(Object.fromEntries(at('answer at'))).toMatchObject({ sequence: 8, what: 6, bytes: answerSize(0) })
    const what = table('answer at', 'size').find((row) => row.holds === 'what')?.rule
    expect(what).toBe(ANSWERS.map((name, kind) => `${kind} ${name}`).join(', '))
  })

  it('names limits by their values', () => {
    for (const { limit, value } of table('limit', 'value')) {
      expect([limit, (limits as Record<string, unknown>)[limit as string]]).toEqual([limit, Number(value)])
    }
    expect(text).toContain(`${limits.PEER_SILENT_MS / 1000} s`)
    expect(text).toContain(`${limits.DATA_PORT_FIRST}–${limits.DATA_PORT_LAST}`)
  })
})
