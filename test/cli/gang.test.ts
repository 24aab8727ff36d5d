// `godwit migrate` with several names: the order, what is printed, where it stops and what it says then.

import { describe, expect, it } from 'vitest'
import { closingLine, moveGang } from '../../src/cli/gang.ts'
import { GodwitError } from '../../src/errors.ts'
import type { MigrationReport } from '../../src/migration/report.ts'
import type { MigrationOptions } from '../../src/migration/settings.ts'
import { BufferTerminal } from './buffer-terminal.ts'
import { sampleReport } from './sample-report.ts'

type Moved = MigrationReport | string | GodwitError

const reportOf = (name: string, over: Partial<MigrationReport> = {}): MigrationReport => {
  const sample = sampleReport()
  return { ...sample, guest: { ...sample.guest, name }, ...over }
}

async function gangOf(moves: Record<string, Moved>, how: { json?: boolean; endAfter?: number } = {}) {
  const terminal = new BufferTerminal()
  const asked: [string, string | null | undefined][] = []
  const move = async (name: string, settings: MigrationOptions): Promise<MigrationReport | string> => {
    asked.push([name, settings.gang])
    const moved = moves[name] as Moved
    if (moved instanceof GodwitError) throw moved
    return moved
  }
  const ended = (): boolean => asked.length >= (how.endAfter ?? Infinity)
  const names = Object.keys(moves)
  const status = await moveGang(names, { channels: 2 }, { move, ended, terminal, json: how.json ?? false, to: 'beta' })
  return { status, asked, output: terminal.output, errors: terminal.errors }
}

describe('a gang', () => {
  it('moves one after the other, all of one gang', async () => {
    const { status, asked, output, errors } = await gangOf({ a: reportOf('a'), b: reportOf('b'), c: reportOf('c') })
    expect({ status, errors }).toEqual({ status: 0, errors: '' })
    expect(asked.map(([name]) => name)).toEqual(['a', 'b', 'c'])
    expect(new Set(asked.map(([, gang]) => gang)).size).toBe(1)
    expect(asked[0]?.[1]).toMatch(/^[0-9a-f]{32}$/)
    expect(output.match(/^Guest \w moved from alpha to beta/gm)).toHaveLength(3)
    expect(output.trimEnd().split('\n').at(-1)).toMatch(/^3 guests moved · .* sent · .* · 0 pages were there already$/)
  })

  it('says in JSON what came of it', async () => {
    const { status, output } = await gangOf({ a: reportOf('a'), b: reportOf('b') }, { json: true })
    const { gang, reports } = JSON.parse(output) as { gang: string; reports: MigrationReport[] }
    expect([status, reports.map(({ guest }) => guest.name)]).toEqual([0, ['a', 'b']])
    expect(gang).toMatch(/^[0-9a-f]{32}$/)
  })

  it('stops at one that does not get there, with the worst status', async () => {
    const lost = reportOf('b', { outcome: 'lost', owner: 'nobody' })
    const { status, asked, output, errors } = await gangOf({ a: reportOf('a'), b: lost, c: reportOf('c') })
    expect(status).toBe(4)
    expect(asked.map(([name]) => name)).toEqual(['a', 'b'])
    expect(output).toContain('1 of 3 guests moved')
    expect(errors).toBe('  moved to beta: a\n  not moved, see above: b\n  not begun, where they were: c\n')
  })

  it('goes on behind one that arrived inconsistent, and says so by its status', async () => {
    const { status, asked } = await gangOf({ a: reportOf('a', { consistent: false }), b: reportOf('b') })
    expect([status, asked.length]).toEqual([5, 2])
  })

  it('stops at one that could not begin', async () => {
    const error = new GodwitError('guest-busy', 'guest b is already migrating', { hint: 'wait for it' })
    const text = await gangOf({ a: reportOf('a'), b: error, c: reportOf('c') })
    expect([text.status, text.asked.length]).toEqual([1, 2])
    expect(text.errors).toBe(
      'godwit: b: guest b is already migrating (guest-busy)\n  hint: wait for it\n' +
        '  moved to beta: a\n  not begun, where they were: c\n',
    )
    const json = await gangOf({ a: reportOf('a'), b: error }, { json: true })
    expect(JSON.parse(json.output)).toMatchObject({ reports: [{}], error: { code: 'guest-busy' } })
    await expect(gangOf({ b: error, c: reportOf('c') })).rejects.toBe(error)
  })

  it('begins no further one when it was detached from', async () => {
    const { status, asked, errors } = await gangOf({ a: reportOf('a'), b: 'ab'.repeat(16), c: reportOf('c') })
    expect([status, asked.length]).toEqual([1, 2])
    expect(errors).toBe('  moved to beta: a\n  not begun, where they were: c\n')
    const between = await gangOf({ a: reportOf('a'), b: reportOf('b') }, { endAfter: 1, json: true })
    expect([between.status, between.asked.length]).toEqual([1, 1])
    expect((JSON.parse(between.output) as { reports: unknown[] }).reports).toHaveLength(1)
  })
})

it('the closing line adds up', () => {
  const encodings = { shared: { pages: 1500, bytes: 18_000 } }
  const one = reportOf('a')
  const two = { ...reportOf('b'), pages: { ...one.pages, encodings } }
  expect(closingLine([one, two], 2)).toMatch(/^2 guests moved · .* · 1,500 pages were there already$/)
})
