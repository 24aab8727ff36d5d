// What is still known of a guest whose process does not answer: by what it said last, and by its ownership record. Called by
// guest-table.ts and agent.ts.

import { GodwitError } from '../errors.ts'
import { readGuestFile } from '../guest-process/guest-file.ts'
import type { GuestStatus } from '../guest-process/host-port.ts'
import { PAST_RECORDS_KEPT } from '../limits.ts'
import { type OwnershipRecord, pastRecords, readRecord } from '../migration/ownership-record.ts'
import type { GuestEntry, GuestTable } from './guest-table.ts'

/** The guest's record, or what holds of that migration of it; null when there is none that can be read. */
export function safeRecord(entry: GuestEntry, migration?: string): OwnershipRecord | null {
  try {
    return readRecord(entry.process.directory, migration)
  } catch {
    return null
  }
}

/** What is to be known of a guest that leaves: the last word on its latest migrations. */
export function lastWords(entry: GuestEntry): OwnershipRecord[] {
  try {
    const past = pastRecords(entry.process.directory).slice(-PAST_RECORDS_KEPT)
    const last = safeRecord(entry)
    return last === null ? past : [...past, last]
  } catch {
    return []
  }
}

/** Asks something of a guest. One that has left meanwhile is not here, and its process that has ended is no crash: `no-such-guest`. */
export async function whileHere<T>(
  guests: Pick<GuestTable, 'byName'>,
  name: string,
  ask: (entry: GuestEntry) => Promise<T>,
): Promise<T> {
  try {
    return await ask(guests.byName(name))
  } finally {
    guests.byName(name)
  }
}

/** The status of a guest whose process lives and does not answer. */
export function silentStatus(last: GuestStatus, { code, message }: GodwitError): GuestStatus {
  return { ...last, stepsPerSecond: 0, crash: { code, message, hint: 'its process lives: see its log, or end it' } }
}

/** R22: the process died while part of the memory was at the other host, and took the rest along. */
export const isLost = (record: OwnershipRecord | null): boolean =>
  record?.state === 'lost' ||
  record?.state === 'shared' ||
  (record?.state === 'owner' && record.role === 'destination' && record.pull === true)

/** The status of a guest whose process is gone, by its record. */
export function deadStatus(entry: GuestEntry, error: GodwitError): GuestStatus {
  const last = entry.status
  const record = safeRecord(entry)
  const lost = isLost(record)
  const { code, message, hint } = lost ? lostError(entry, error, record) : error
  return {
    config: entry.config,
    state: lost ? 'lost' : 'crashed',
    owner: 'here',
    epoch: last?.epoch ?? record?.epoch ?? 0,
    steps: last?.steps ?? [],
    stepsPerSecond: 0,
    residentBytes: 0,
    pid: readGuestFile(entry.process.directory)?.pid ?? entry.process.pid,
    migration: null,
    crash: { code, message, ...(hint === undefined ? {} : { hint }) },
  }
}

function lostError({ config }: GuestEntry, { message }: GodwitError, record: OwnershipRecord | null): GodwitError {
  // R29: what both hosts ran is at neither as it was at any moment; and a source that is gone has nothing to take back.
  const pulled = record?.role === 'destination' && record.pull === true
  const stale = pulled ? '; or take it back at its source: --take-stale' : ''
  return new GodwitError('lost', `${message}; part of its memory was still at the other host`, {
    hint: `give it up: godwit resolve ${config.name} --abandon${stale}`,
  })
}
