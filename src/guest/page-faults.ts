// What a vCPU does that meets a page which is not there (R4, R6, R8, R9): asks for it once and parks inside its step, or
// claims it when the whole page is about to be written. The urgent lane of the puller reads the asks and notes
// (needs.ts), and whoever installs a page wakes the vCPUs that wait for it (installing.ts).

import { bucketOf } from './fault-histogram.ts'
import { HEADER, VCPU_BLOCK } from './layout.ts'
import type { GuestMemory } from './memory.ts'
import { onAccess, PRESENCE, type Presence } from './presence.ts'
import { wakeWaiters } from './safepoint.ts'

/** A park inside a step, as vcpu-safepoint.ts offers it. */
export interface InsideParks {
  /** The wake word; loaded before the last look at what a park waits for. */
  wakeSeen(): number
  /** Parks inside the step until woken; afterwards the safepoint word has been obeyed (R5). */
  parkInside(wakeSeen: number): void
}

export class PageFaults {
  readonly #memory: GuestMemory
  readonly #presence: Uint8Array<SharedArrayBuffer>
  readonly #words: Int32Array<SharedArrayBuffer>
  readonly #floats: Float64Array<SharedArrayBuffer>
  readonly #block: number
  readonly #safepoint: InsideParks

  constructor(memory: GuestMemory, vcpu: number, safepoint: InsideParks) {
    const { layout, controlBytes, controlWords, controlFloats } = memory
    this.#memory = memory
    this.#presence = new Uint8Array(controlBytes.buffer, layout.presence, layout.pageCount)
    this.#words = controlWords
    this.#floats = controlFloats
    this.#block = layout.vcpuBlocks + vcpu * VCPU_BLOCK.bytes
    this.#safepoint = safepoint
  }

  /** Returns when the page may be accessed; the caller makes its access before it polls again (R6). */
  need(page: number): void {
    if (page >= this.#presence.length || this.#isHere(page)) return
    const startedAt = performance.now()
    const words = this.#words
    const waitsFor = (this.#block + VCPU_BLOCK.faultPage) / 4
    // Stored before presence is looked at again: whoever installs the page looks in the opposite order.
    Atomics.store(words, waitsFor, page + 1)
    let asked = false
    for (;;) {
      const wake = this.#safepoint.wakeSeen()
      if (this.#isHere(page)) break
      asked = this.#request(page) || asked
      this.#safepoint.parkInside(wake)
    }
    Atomics.store(words, waitsFor, 0)
    this.#note(asked, (performance.now() - startedAt) * 1000)
  }

  /**
   * R9: claims a page that is about to be written as a whole; it need not come any more. False: it must be waited for
   * with `need`, for it is on its way in or somebody has asked for it. Others wait until `wrote`: they must not see half of
   * the new content, and the old one never comes.
   */
  claimWhole(page: number): boolean {
    // What is no page of the guest (0.5 is none) is left to the access itself to refuse.
    if (this.#presence[page] === undefined) return true
    const { absent, writing } = PRESENCE
    if (Atomics.compareExchange(this.#presence, page, absent, writing) !== absent) return false
    if (Atomics.sub(this.#words, HEADER.missing, 1) === 1) Atomics.notify(this.#words, HEADER.missing)
    this.#noteUnneeded(page)
    return true
  }

  /** The page that was claimed has its content. */
  wrote(page: number): void {
    const { writing, local } = PRESENCE
    if (Atomics.compareExchange(this.#presence, page, writing, local) === writing) wakeWaiters(this.#memory, page)
  }

  /** R8: one Atomics.load, which orders the access behind the placement. */
  #isHere(page: number): boolean {
    const answer = onAccess(Atomics.load(this.#presence, page) as Presence)
    return answer === 'go' || answer === 'fence'
  }

  /** Asks for a page that nobody has asked for; true when it was this vCPU that asked. */
  #request(page: number): boolean {
    const { absent, requested } = PRESENCE
    if (Atomics.compareExchange(this.#presence, page, absent, requested) !== absent) return false
    Atomics.store(this.#words, (this.#block + VCPU_BLOCK.faultAsk) / 4, 1)
    this.#tellUrgentLane()
    return true
  }

  /** "Do not need", if there is room: a page that comes all the same is dropped. */
  #noteUnneeded(page: number): void {
    const words = this.#words
    const at = (this.#block + VCPU_BLOCK.notesWritten) / 4
    const written = words[at] as number
    const read = Atomics.load(words, (this.#block + VCPU_BLOCK.notesRead) / 4)
    if (((written - read) | 0) >= VCPU_BLOCK.noteCount) return
    words[(this.#block + VCPU_BLOCK.notes) / 4 + ((written >>> 0) % VCPU_BLOCK.noteCount)] = page
    Atomics.store(words, at, (written + 1) | 0)
    this.#tellUrgentLane()
  }

  #tellUrgentLane(): void {
    Atomics.add(this.#words, HEADER.asks, 1)
    Atomics.notify(this.#words, HEADER.asks)
  }

  /** Plain counters: this vCPU alone writes them. */
  #note(asked: boolean, micros: number): void {
    const { localWaits, stallMicros, longestStallMicros, faultHistogram } = VCPU_BLOCK
    const count = (offset: number): void => {
      const index = (this.#block + offset) / 4
      this.#words[index] = (this.#words[index] as number) + 1
    }
    count(asked ? faultHistogram + 4 * bucketOf(micros) : localWaits)
    const stall = (this.#block + stallMicros) / 8
    const longest = (this.#block + longestStallMicros) / 8
    this.#floats[stall] = (this.#floats[stall] as number) + micros
    this.#floats[longest] = Math.max(this.#floats[longest] as number, micros)
  }
}
