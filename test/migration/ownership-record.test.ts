// The ownership record on disk: the last whole line counts, whatever a dying writer left behind it.

import { appendFileSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { DestinationState, SourceState } from '../../src/migration/commit-machine.ts'
import {
  type OwnershipRecord,
  pastRecords,
  readRecord,
  verdictForDead,
  verdictOfState,
  writeRecord,
} from '../../src/migration/ownership-record.ts'

const MIGRATION = 'b'.repeat(32)
const record = (over: Partial<OwnershipRecord>): OwnershipRecord => ({
  version: 1,
  guest: 'a'.repeat(32),
  epoch: 1,
  state: 'owner',
  migration: MIGRATION,
  role: 'source',
  peer: 'beta',
  ...over,
})

let directory = ''
beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'godwit-test-'))
})
afterEach(() => rmSync(directory, { recursive: true }))
const path = (): string => join(directory, 'ownership.jsonl')

test('the last record counts; none is null', () => {
  expect(readRecord(directory)).toBeNull()
  writeRecord(directory, record({ state: 'owner' }))
  writeRecord(directory, record({ state: 'released', epoch: 2 }))
  expect(readRecord(directory)).toEqual(record({ state: 'released', epoch: 2 }))
})

describe('of a migration that others have followed', () => {
  const OTHER = 'c'.repeat(32)
  const later = record({ state: 'owner', migration: OTHER, epoch: 3 })
  /** Of all that was written about the first one. */
  const verdictBehind = (...records: Partial<OwnershipRecord>[]) => {
    for (const each of records) writeRecord(directory, record(each))
    appendFileSync(path(), '\n{"torn')
    writeRecord(directory, later)
    expect(readRecord(directory)).toEqual(later)
    return verdictForDead(readRecord(directory, MIGRATION), MIGRATION)
  }

  test.each<[string, Partial<OwnershipRecord>[]]>([
    // A destination that missed `not-released` asks for it later.
    ['not-released', [{ state: 'owner' }, { state: 'aborted' }]],
    [
      'not-released',
      [
        { state: 'owner', pull: true },
        { state: 'shared', pull: true },
        { state: 'aborted', pull: true },
      ],
    ],
    // Taken by its operator.
    ['not-released', [{ state: 'owner' }, { state: 'released' }, { state: 'aborted', epoch: 3 }]],
    // `aborted` could not be written: it was never let go all the same.
    ['not-released', [{ state: 'owner' }]],
    ['released', [{ state: 'owner' }, { state: 'released' }, { state: 'done' }]],
    [
      'owner',
      [
        { state: 'incoming', role: 'destination' },
        { state: 'owner', role: 'destination' },
      ],
    ],
    [
      'lost',
      [
        { state: 'owner', pull: true },
        { state: 'released', pull: true },
        { state: 'lost', pull: true },
      ],
    ],
    // Whether the guest came back from there or was never away is not written here.
    ['unknown', [{ state: 'owner' }, { state: 'released' }]],
    [
      'unknown',
      [
        { state: 'owner', pull: true },
        { state: 'shared', pull: true },
      ],
    ],
    ['unknown', [{ state: 'incoming', role: 'destination' }]],
  ])('%s holds behind %j, and nothing is written', (verdict, records) => {
    expect(verdictBehind(...records)).toEqual({ verdict, write: null })
  })

  test('the last words are there in order, without the last migration of all', () => {
    const ids = ['d', 'e', 'd', 'f'].map((letter) => letter.repeat(32))
    for (const migration of ids) writeRecord(directory, record({ state: 'aborted', migration }))
    expect(pastRecords(directory).map(({ migration }) => migration?.[0])).toEqual(['e', 'd'])
    appendFileSync(path(), 'not json\n')
    expect(pastRecords(directory)).toEqual([])
  })
})

test('a line that its writer did not finish was not written, and the next one is read', () => {
  writeRecord(directory, record({ state: 'owner' }))
  const torn = JSON.stringify(record({ state: 'released' }))
  for (const length of [0, 1, 20, torn.length]) {
    appendFileSync(path(), `\n${torn.slice(0, length)}`)
    expect(readRecord(directory)).toEqual(record({ state: 'owner' }))
    writeRecord(directory, record({ state: 'owner' }))
    expect(readRecord(directory)).toEqual(record({ state: 'owner' }))
  }
})

test.each(['not json\n', '{"version":2}\n'])('a damaged file is said to be damaged: %j', (text) => {
  writeFileSync(path(), text)
  expect(() => readRecord(directory)).toThrow(expect.objectContaining({ code: 'data-dir-bad' }))
})

test('what a dead process had recorded decides (R20)', () => {
  const verdict = (over: Partial<OwnershipRecord>) => verdictForDead(record(over), MIGRATION)
  expect(verdict({ state: 'owner', role: 'source' })).toEqual({
    verdict: 'released',
    write: record({ state: 'released' }),
  })
  expect(verdict({ state: 'incoming', role: 'destination' })).toMatchObject({
    verdict: 'dropped',
    write: { state: 'dropped' },
  })
  expect(verdict({ state: 'owner', role: 'destination' })).toEqual({ verdict: 'owner', write: null })
  expect(verdict({ state: 'aborted' })).toEqual({ verdict: 'not-released', write: null })
  expect(verdictForDead(record({}), 'c'.repeat(32))).toEqual({ verdict: 'unknown', write: null })
  expect(verdictForDead(null, MIGRATION)).toEqual({ verdict: 'unknown', write: null })
})

test('in a movement that pulls, a dead process takes pages along unless every page was there (R22)', () => {
  const verdict = (over: Partial<OwnershipRecord>) => verdictForDead(record({ pull: true, ...over }), MIGRATION)
  const lost = { verdict: 'lost', write: { state: 'lost', pull: true } }
  expect(verdict({ state: 'owner', role: 'source' })).toMatchObject(lost)
  expect(verdict({ state: 'released' })).toMatchObject(lost)
  expect(verdict({ state: 'done' })).toEqual({ verdict: 'released', write: null })
  expect(verdict({ state: 'aborted' })).toEqual({ verdict: 'not-released', write: null })
  const there = { role: 'destination' } as const
  expect(verdict({ state: 'incoming', ...there })).toMatchObject({ verdict: 'dropped', write: { state: 'dropped' } })
  expect(verdict({ state: 'owner', ...there })).toMatchObject(lost)
  expect(verdict({ state: 'lost', ...there })).toEqual({ verdict: 'lost', write: null })
  expect(verdictForDead(record({ state: 'owner', ...there }), MIGRATION)).toEqual({ verdict: 'owner', write: null })
})

test('a live process says who may run the guest; that it pulls does not let the source go', () => {
  const source = (state: SourceState) => verdictOfState('source', state)
  expect((['released', 'serving', 'done'] as const).map(source)).toEqual(['released', 'released', 'released'])
  expect((['aborted', 'reclaimed'] as const).map(source)).toEqual(['not-released', 'not-released'])
  expect((['lost', 'abandoned'] as const).map(source)).toEqual(['lost', 'lost'])
  expect((['running', 'paused'] as const).map(source)).toEqual(['unknown', 'unknown'])
  const destination = (state: DestinationState) => verdictOfState('destination', state)
  expect((['owner', 'settled'] as const).map(destination)).toEqual(['owner', 'owner'])
  expect((['lost', 'abandoned'] as const).map(destination)).toEqual(['lost', 'lost'])
  const undecided = ['receiving', 'incoming', 'pulling', 'dropped'] as const
  expect(undecided.map(destination)).toEqual(undecided.map(() => 'unknown'))
})
