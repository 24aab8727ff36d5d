// Presence in shared memory, as whoever brings pages in changes it: claim, place, install, wake (R8, R9, R10, R23). What
// is allowed is in presence.ts; this puts it into effect with compare-exchange. Used by the puller's transfer threads
// and, while none of them runs, by its main thread.

import { assert } from '../errors.ts'
import { HEADER } from './layout.ts'
import type { GuestMemory } from './memory.ts'
import { isMissing, PRESENCE, type Presence } from './presence.ts'
import { vcpuWords, wake, wakeWaiters } from './safepoint.ts'

const { absent, requested, installing, installed, local, present, writing } = PRESENCE

/** What became of a page that has arrived. */
export type Claim = 'claimed' | 'written-here' | 'here-already'

export class Installer {
  readonly #memory: GuestMemory
  readonly #presence: Uint8Array<SharedArrayBuffer>

  constructor(memory: GuestMemory) {
    const { presence, pageCount } = memory.layout
    this.#memory = memory
    this.#presence = new Uint8Array(memory.controlBytes.buffer, presence, pageCount)
  }

  /** R9: before one byte of the page is read into guest memory. */
  claim(page: number): Claim {
    for (;;) {
      const state = Atomics.load(this.#presence, page)
      if (state === local || state === writing) return 'written-here'
      if (state !== absent && state !== requested) return 'here-already'
      if (Atomics.compareExchange(this.#presence, page, state, installing) === state) return 'claimed'
    }
  }

  /** The page's bytes are there and proven: vCPUs may have it. Returns true when it was the last one. */
  install(page: number): boolean {
    Atomics.store(this.#presence, page, installed)
    wakeWaiters(this.#memory, page)
    if (Atomics.sub(this.#memory.controlWords, HEADER.missing, 1) > 1) return false
    Atomics.notify(this.#memory.controlWords, HEADER.missing)
    return true
  }

  /** R10: what was placed has a wrong hash. The page is asked for again; vCPUs go on waiting. */
  spoil(page: number): void {
    const before = Atomics.compareExchange(this.#presence, page, installing, requested)
    assert(before === installing, `page ${page} was spoilt in state ${before}`)
  }
}

/** Before the guest runs here: the pages of the bitmap (null: every page) that are not free are absent, others present. `anyFree` false: none is free, which need not be looked for. */
export function beginAbsent(memory: GuestMemory, bitmap: Uint8Array | null, anyFree = true): void {
  const { layout, controlBytes, controlWords } = memory
  const { pageCount } = layout
  const presence = controlBytes.subarray(layout.presence, layout.presence + pageCount)
  presence.fill(bitmap === null ? absent : present)
  let missing = bitmap === null ? pageCount : 0
  // Not by `pageFrom`: this is inside the pause, and a call for each page takes 1.6 ms a GiB more.
  for (let byte = 0; bitmap !== null && byte < bitmap.length; byte++) {
    for (let bits = bitmap[byte] as number; bits !== 0; bits &= bits - 1) {
      presence[byte * 8 + (31 - Math.clz32(bits & -bits))] = absent
      missing++
    }
  }
  if (bitmap === null && anyFree) {
    const free = controlBytes.subarray(layout.free, layout.free + pageCount)
    for (let page = free.indexOf(1); page !== -1; page = free.indexOf(1, page + 1)) {
      presence[page] = present
      missing--
    }
  }
  Atomics.store(controlWords, HEADER.missing, missing)
}

/** R23: the link and all its threads are gone; what was asked for or on its way in is missing again, and waiters ask anew. */
export function resetAfterCut(memory: GuestMemory): void {
  const { presence, pageCount, vcpus } = memory.layout
  const states = new Uint8Array(memory.controlBytes.buffer, presence, pageCount)
  for (let page = 0; page < pageCount; page++) {
    const state = states[page] as number
    // A vCPU may ask at any time, so the exchange is atomic: only what was seen is put back.
    if (state === installing || state === requested) Atomics.compareExchange(states, page, state, absent)
  }
  for (let vcpu = 0; vcpu < vcpus; vcpu++) wake(memory, vcpuWords(memory, vcpu))
}

/** Bitmap of the pages whose state `matches`; one bit a page, as on the wire. Null when there is none. */
function bitmapOf(memory: GuestMemory, matches: (state: Presence) => boolean): Uint8Array | null {
  const { presence, pageCount } = memory.layout
  const bitmap = new Uint8Array(pageCount / 8)
  let found = false
  for (let page = 0; page < pageCount; page++) {
    if (!matches(memory.controlBytes[presence + page] as Presence)) continue
    bitmap[page >>> 3] = (bitmap[page >>> 3] as number) | (1 << (page & 7))
    found = true
  }
  return found ? bitmap : null
}

/** R23: what the other side must send again. */
export const missingPages = (memory: GuestMemory): Uint8Array =>
  bitmapOf(memory, isMissing) ?? new Uint8Array(memory.layout.pageCount / 8)

/** Pages written here as a whole before they came. */
export const writtenPages = (memory: GuestMemory): Uint8Array | null =>
  bitmapOf(memory, (state) => state === local || state === writing)
