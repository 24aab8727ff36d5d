// The ownership record of one guest on one host: written by the guest process before the message that depends on it,
// read by the agent when the process is dead (R20) and by `resolve`. A record is a line at the end of a file, and the
// last whole line counts: a writer that dies in the middle of one has written nothing. (Replacing the file by a rename
// makes ext4 allocate its blocks at once, 2 ms inside the pause.) No fsync: memory does not survive a host, so neither
// need the record (R21).

import { appendFileSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { GodwitError } from '../errors.ts'
import type { DestinationState, SourceState } from './commit-machine.ts'

export const recordSchema = z.strictObject({
  version: z.literal(1),
  guest: z.string(),
  epoch: z.int().nonnegative(),
  /** Who may run the guest, as far as this host knows. */
  /** `shared`: vCPUs and pages belong to one host each (R29). */
  state: z.enum(['owner', 'incoming', 'released', 'shared', 'aborted', 'dropped', 'done', 'lost']),
  migration: z.string().nullable(),
  /** Which side of that migration this host is. */
  role: z.enum(['source', 'destination']).nullable(),
  peer: z.string().nullable(),
  /** The guest runs, or is to run, before all its memory is there (R22), or in parts (R29): a dead process takes pages along. */
  pull: z.boolean().optional(),
})
export type OwnershipRecord = z.output<typeof recordSchema>

/** What a migration asks of the place where records are kept. */
export interface OwnershipStore {
  /** The last record, or what holds of that migration. */
  read(migration?: string): OwnershipRecord | null
  write(record: OwnershipRecord): void
}

const FILE_NAME = 'ownership.jsonl'

/**
 * Reads a guest directory's record; null when there is none. With a migration: what holds of that one, also when others have
 * begun here since (`pastRecords`). Throws `data-dir-bad` when it is unreadable.
 */
export function readRecord(directory: string, migration?: string): OwnershipRecord | null {
  const lines = readLines(directory)
  const last = lines.at(-1)
  if (last === undefined) return null
  const record = parsed(last)
  if (record === null) {
    throw new GodwitError('data-dir-bad', `the ownership record in ${directory} is damaged`, {
      hint: 'decide by hand which host owns the guest, then use: godwit resolve GUEST --take',
    })
  }
  if (migration === undefined || record.migration === migration) return record
  return past(lines, record).find((each) => each.migration === migration) ?? null
}

/**
 * The last word on every migration that others have followed here, the latest last, as far as it holds for good: a destination
 * that missed it asks for it later.
 */
export function pastRecords(directory: string): OwnershipRecord[] {
  const lines = readLines(directory)
  const last = parsed(lines.at(-1) ?? '')
  return last === null ? [] : past(lines, last)
}

function past(lines: readonly string[], last: OwnershipRecord): OwnershipRecord[] {
  const found = new Map<string | null, OwnershipRecord>()
  for (const line of lines) {
    const record = parsed(line)
    if (record === null) continue
    found.delete(record.migration)
    found.set(record.migration, record)
  }
  found.delete(null)
  found.delete(last.migration)
  return [...found.values()].map(lasting).filter((record) => record !== null)
}

/** What a record says once another migration has begun behind it; null: that depends on more than is written here. */
function lasting(record: OwnershipRecord): OwnershipRecord | null {
  const { state, role, pull } = record
  // It was never let go, for letting go is recorded first: the guest went on here.
  if (state === 'owner' && role === 'source') return { ...record, state: 'aborted' }
  if (state === 'owner') return pull === true ? null : record
  return state === 'aborted' || state === 'done' || state === 'lost' ? record : null
}

/** Every whole line. */
function readLines(directory: string): string[] {
  try {
    const whole = readFileSync(join(directory, FILE_NAME), 'utf8').split('\n').slice(0, -1)
    return whole.filter((line) => line !== '')
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw new GodwitError('data-dir-bad', `cannot read the ownership record in ${directory}`, { cause })
  }
}

/** Null: a line that its writer did not finish, or not a record. */
function parsed(line: string): OwnershipRecord | null {
  try {
    return recordSchema.parse(JSON.parse(line))
  } catch {
    return null
  }
}

/** Writes a record that replaces the one before it; throws `data-dir-bad`. It begins a new line: the last one may have been cut short. */
export function writeRecord(directory: string, record: OwnershipRecord): void {
  try {
    appendFileSync(join(directory, FILE_NAME), `\n${JSON.stringify(record)}\n`)
  } catch (cause) {
    throw new GodwitError('data-dir-bad', `cannot write the ownership record in ${directory}: ${cause}`, {
      cause,
      hint: 'free space on that disk, or make the directory writable',
    })
  }
}

/** Writes a record that the guest must not wait for. */
export function writeIfPossible(store: OwnershipStore, record: OwnershipRecord): void {
  try {
    store.write(record)
  } catch {
    // The record before it stands.
  }
}

/** The store of a guest directory. */
export function directoryStore(directory: string): OwnershipStore {
  return { read: (migration) => readRecord(directory, migration), write: (record) => writeRecord(directory, record) }
}

export const VERDICTS = ['released', 'not-released', 'owner', 'dropped', 'lost', 'unknown'] as const
/** What one host tells the other about one migration, from its live session or from the record of a dead one (R20). */
export type Verdict = (typeof VERDICTS)[number]

const SOURCE_VERDICTS: Readonly<Record<SourceState, Verdict>> = {
  running: 'unknown',
  paused: 'unknown',
  released: 'released',
  serving: 'released',
  // R29: nobody has all of it.
  offered: 'unknown',
  shared: 'unknown',
  retired: 'unknown',
  done: 'released',
  aborted: 'not-released',
  reclaimed: 'not-released',
  lost: 'lost',
  abandoned: 'lost',
}
const DESTINATION_VERDICTS: Readonly<Record<DestinationState, Verdict>> = {
  receiving: 'unknown',
  incoming: 'unknown',
  // `owner` lets the source discard its memory, which is still needed.
  pulling: 'unknown',
  shared: 'unknown',
  owner: 'owner',
  settled: 'owner',
  dropped: 'unknown',
  lost: 'lost',
  abandoned: 'lost',
}

/** The answer of a process whose session is alive, for the peer that asks. */
export const verdictOfState = (role: 'source' | 'destination', state: SourceState | DestinationState): Verdict =>
  role === 'source' ? SOURCE_VERDICTS[state as SourceState] : DESTINATION_VERDICTS[state as DestinationState]

/**
 * The agent's answer for a dead guest process, with the record to write first (null: leave it).
 * Source dead and not released: the guest's memory is gone here, so the destination may have it. Destination dead
 * while incoming: it never ran, so the source may run again. In a movement that pulls, each side may hold pages that the
 * other lacks (R22): a source that died before `done`, or a destination before it had every page, takes them along.
 */
export function verdictForDead(
  record: OwnershipRecord | null,
  migration: string,
): { verdict: Verdict; write: OwnershipRecord | null } {
  if (record === null || record.migration !== migration) return { verdict: 'unknown', write: null }
  const pull = record.pull === true
  switch (record.state) {
    case 'done':
      return { verdict: 'released', write: null }
    case 'released':
      return pull ? lost(record) : { verdict: 'released', write: null }
    // What this side had is gone with it (R29).
    case 'shared':
      return lost(record)
    case 'incoming':
      return { verdict: 'dropped', write: { ...record, state: 'dropped' } }
    case 'dropped':
      return { verdict: 'dropped', write: null }
    case 'owner':
      if (pull) return lost(record)
      if (record.role === 'source') return { verdict: 'released', write: { ...record, state: 'released' } }
      return { verdict: 'owner', write: null }
    case 'lost':
      return { verdict: 'lost', write: null }
    case 'aborted':
      return { verdict: 'not-released', write: null }
  }
}

const lost = (record: OwnershipRecord): { verdict: Verdict; write: OwnershipRecord } => ({
  verdict: 'lost',
  write: { ...record, state: 'lost' },
})
