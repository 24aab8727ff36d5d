// The ownership record of one guest on one host: written by the guest process before the message that depends on it,
// read by the agent when the process is dead (R20) and by `resolve`. A record is a line at the end of a file, and the
// last whole line counts: a writer that dies in the middle of one has written nothing. (Replacing the file by a rename
// makes ext4 allocate its blocks at once, 2 ms inside the pause.) No fsync: memory does not survive a host, so neither
// need the record (R21).

import { appendFileSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { z } from 'zod'
import { GodwitError } from '../errors.ts'

export const recordSchema = z.strictObject({
  version: z.literal(1),
  guest: z.string(),
  epoch: z.int().nonnegative(),
  /** Who may run the guest, as far as this host knows. */
  state: z.enum(['owner', 'incoming', 'released', 'aborted', 'dropped', 'done', 'lost']),
  migration: z.string().nullable(),
  /** Which side of that migration this host is. */
  role: z.enum(['source', 'destination']).nullable(),
  peer: z.string().nullable(),
  /** The guest runs, or is to run, before all its memory is there (R22): a dead process takes pages along. */
  pull: z.boolean().optional(),
})
export type OwnershipRecord = z.output<typeof recordSchema>

/** What a migration asks of the place where records are kept. */
export interface OwnershipStore {
  read(): OwnershipRecord | null
  write(record: OwnershipRecord): void
}

const FILE_NAME = 'ownership.jsonl'

/** Reads a guest directory's record; null when there is none. Throws `data-dir-bad` when it is unreadable. */
export function readRecord(directory: string): OwnershipRecord | null {
  let text: string
  try {
    text = readFileSync(join(directory, FILE_NAME), 'utf8')
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === 'ENOENT') return null
    throw new GodwitError('data-dir-bad', `cannot read the ownership record in ${directory}`, { cause })
  }
  const whole = text.split('\n').slice(0, -1)
  const last = whole.findLast((line) => line !== '')
  if (last === undefined) return null
  try {
    return recordSchema.parse(JSON.parse(last))
  } catch (cause) {
    throw new GodwitError('data-dir-bad', `the ownership record in ${directory} is damaged`, {
      cause,
      hint: 'decide by hand which host owns the guest, then use: godwit resolve GUEST --take',
    })
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
  return { read: () => readRecord(directory), write: (record) => writeRecord(directory, record) }
}

/** What a record says about one migration when its process can no longer be asked (R20). */
export type Verdict = 'released' | 'not-released' | 'owner' | 'dropped' | 'lost' | 'unknown'

/**
 * The agent's answer for a dead guest process, with the record to write first (null: leave it).
 * Source dead and not released: the guest's memory is gone here, so the destination may have it. Destination dead
 * while incoming: it never ran, so the source may run again.
 */
export function verdictForDead(
  record: OwnershipRecord | null,
  migration: string,
): { verdict: Verdict; write: OwnershipRecord | null } {
  if (record === null || record.migration !== migration) return { verdict: 'unknown', write: null }
  switch (record.state) {
    case 'released':
    case 'done':
      return { verdict: 'released', write: null }
    case 'incoming':
      return { verdict: 'dropped', write: { ...record, state: 'dropped' } }
    case 'dropped':
      return { verdict: 'dropped', write: null }
    case 'owner':
      if (record.role === 'source') return { verdict: 'released', write: { ...record, state: 'released' } }
      return { verdict: 'owner', write: null }
    case 'lost':
      return { verdict: 'lost', write: null }
    case 'aborted':
      return { verdict: 'not-released', write: null }
  }
}
