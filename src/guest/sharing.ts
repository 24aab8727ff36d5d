// The tables of a guest whose pages belong to two hosts (soft, R25, R28), one entry a page, in the control memory behind the
// write counts of least-written.ts. Who owns a page is its presence (presence.ts): INSTALLED, LOCAL and PRESENT are ours.
// Vcpu threads write homes; the exchange thread writes arrivals and generations; the main thread begins and ends it all.
//
//   scanHashes │ write counts u8 │ homes u8 │ arrivals u16 │ generations u32 │
//   staging of the exchange's lane │ what shared-pages.ts works in │ … │ stale at the switch, one bit a page │

import { EXCHANGE_CHANNEL, MAX_MEMORY_BYTES, PAGE_BYTES, STAGING_BYTES } from '../limits.ts'
import type { Layout } from './layout.ts'
import type { GuestMemory } from './memory.ts'
import { clearAll, hasPage, takePage } from './page-set.ts'
import { PRESENCE } from './presence.ts'
import { loadWord } from './safepoint.ts'
import { tableOf } from './safepoint-machine.ts'

const { absent, installed, local, present } = PRESENCE

/** The vCPU that used each page last, plus 1; 0: none since the tables were begun. */
export function homesOf({ layout, controlBytes }: GuestMemory): Uint8Array<SharedArrayBuffer> {
  return new Uint8Array(controlBytes.buffer, layout.scanHashes + layout.pageCount, layout.pageCount)
}

/** When each page came here, low 16 bits of ms; 0: it has always been here, or is not. */
export function arrivalsOf({ layout, controlBytes }: GuestMemory): Uint16Array<SharedArrayBuffer> {
  return new Uint16Array(controlBytes.buffer, layout.scanHashes + 2 * layout.pageCount, layout.pageCount)
}

/** R25: generation of the bytes that each page has or had here; one higher with each GIVE. */
export function generationsOf({ layout, controlBytes }: GuestMemory): Uint32Array<SharedArrayBuffer> {
  return new Uint32Array(controlBytes.buffer, layout.scanHashes + 4 * layout.pageCount, layout.pageCount)
}

/** Who owns what here, one byte a page. */
export function presenceOf({ layout, controlBytes }: GuestMemory): Uint8Array<SharedArrayBuffer> {
  return new Uint8Array(controlBytes.buffer, layout.presence, layout.pageCount)
}

/**
 * Where the set lies of the pages that were stale at the switch and were not sent since: for the report alone. The source's main
 * thread fills it before the exchange begins; then whoever sends a page takes it out.
 */
export function staleAtSwitch({ staging }: Layout): number {
  return staging + (EXCHANGE_CHANNEL + 1) * STAGING_BYTES - MAX_MEMORY_BYTES / PAGE_BYTES / 8
}

/**
 * A page that nobody has used since `beginSharing` belongs to whom the page before it does: arenas lie together. Before the
 * first vCPU crosses; a vCPU that uses one meanwhile is the next to be noted again.
 */
export function settleHomes(memory: GuestMemory): void {
  const homes = homesOf(memory)
  let home = homes.find((vcpu) => vcpu !== 0) ?? 0
  for (let page = 0; page < homes.length; page++) {
    if (homes[page] === 0) homes[page] = home
    else home = homes[page] as number
  }
}

/** Before the first vCPU runs with coherent accessors: every page is ours (the source), or none is (the destination). */
export function beginSharing(memory: GuestMemory, ours: boolean): void {
  presenceOf(memory).fill(ours ? present : absent)
  homesOf(memory).fill(0)
  arrivalsOf(memory).fill(0)
  generationsOf(memory).fill(ours ? 1 : 0)
  clearAll(memory, staleAtSwitch(memory.layout))
}

export const isOurs = (state: number): boolean => state === present || state === installed || state === local

export function allOurs(presence: Uint8Array): boolean {
  for (let page = 0; page < presence.length; page++) if (!isOurs(presence[page] as number)) return false
  return true
}

/** R11, first step: the page is nobody's here from now on, but for accesses that have begun; a handshake ends those. */
export function takeAway(presence: Uint8Array<SharedArrayBuffer>, page: number): boolean {
  for (;;) {
    const state = Atomics.load(presence, page)
    if (!isOurs(state)) return false
    if (Atomics.compareExchange(presence, page, state, absent) === state) return true
  }
}

/**
 * Whether the page was written here since the other side had it; what is in a round that is not placed does not show. Only
 * for a page that nobody writes any more.
 */
export function isStale(memory: GuestMemory, page: number): boolean {
  const { cards, dirty } = memory.layout
  const bytes = memory.controlBytes
  return bytes[cards[0] + page] !== 0 || bytes[cards[1] + page] !== 0 || hasPage(memory, dirty, page)
}

/** The page has come, and the other side has the same bytes: nobody here has written it yet. Before it becomes ours. */
export function noteFresh(memory: GuestMemory, page: number): void {
  const { cards, dirty } = memory.layout
  memory.controlBytes[cards[0] + page] = 0
  memory.controlBytes[cards[1] + page] = 0
  takePage(memory, dirty, page)
}

/**
 * The other side does not have what is here after all. Both tables are marked: a harvest that is under way may lose one of
 * the marks, the one in the table that it retires and has read already.
 */
export function noteStale(memory: GuestMemory, page: number): void {
  const { cards } = memory.layout
  const current = tableOf(loadWord(memory))
  memory.controlBytes[cards[current === 0 ? 1 : 0] + page] = 1
  memory.controlBytes[cards[current] + page] = 1
}
