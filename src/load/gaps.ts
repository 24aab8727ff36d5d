// How long clients waited in vain. A gap of a connection is a longest stretch in which an operation was due on it and no
// reply came: it begins with the last reply or when the oldest unanswered operation was due, whichever is later, and ends
// with the next reply. The same over all connections together is a silence.
//
// A gap that lies across the border of two windows counts whole in the one that has the larger part: it is filed at its
// middle. So are the latencies of operations. Otherwise a pause that begins a moment after a mark would be the fault of
// the window before, whose operations it met.

import { LOAD_MAX_MS, LOAD_SLICE_MS } from '../limits.ts'

/** The waits of one connection, or of all. */
export class Waiting {
  /** When the last reply came; before the first, when it began. */
  lastReplyMs: number
  /** When an operation was due whose connection was lost before its reply; infinite: none was. */
  #lostDueMs = Number.POSITIVE_INFINITY

  constructor(beginMs: number) {
    this.lastReplyMs = beginMs
  }

  /** An operation is given up: the wait goes on until the next reply. */
  lost(dueMs: number): void {
    this.#lostDueMs = Math.min(this.#lostDueMs, dueMs)
  }

  /** Begin of the gap that ends now, with the oldest operation unanswered having been due at `dueMs`. */
  begin(dueMs: number): number {
    return Math.max(this.lastReplyMs, Math.min(dueMs, this.#lostDueMs))
  }

  /** Whether one that was lost still waits. */
  get waits(): boolean {
    return this.#lostDueMs !== Number.POSITIVE_INFINITY
  }

  replied(nowMs: number): void {
    this.lastReplyMs = nowMs
    this.#lostDueMs = Number.POSITIVE_INFINITY
  }
}

/** The longest gap of every slice of time from 0 on, and the operations answered in it. */
export class Timeline {
  #longestGapMs = new Float64Array(1024)
  #operations = new Uint32Array(1024)
  #slices = 0

  noteGap(beginMs: number, endMs: number): void {
    if (beginMs + endMs < 0) return
    const slice = this.#slice((beginMs + endMs) / 2)
    this.#longestGapMs[slice] = Math.max(this.#longestGapMs[slice] as number, endMs - beginMs)
  }

  noteOperation(nowMs: number): void {
    if (nowMs < 0) return
    const slice = this.#slice(nowMs)
    this.#operations[slice] = (this.#operations[slice] as number) + 1
  }

  toJSON(): { sliceMs: number; longestGapMs: number[]; operations: number[] } {
    const longestGapMs = Array.from(this.#longestGapMs.subarray(0, this.#slices), (ms) => Math.round(ms * 1000) / 1000)
    return { sliceMs: LOAD_SLICE_MS, longestGapMs, operations: [...this.#operations.subarray(0, this.#slices)] }
  }

  /** What comes after the longest load counts in the last slice. */
  #slice(atMs: number): number {
    const slice = Math.floor(Math.min(atMs, LOAD_MAX_MS) / LOAD_SLICE_MS)
    if (slice >= this.#longestGapMs.length) {
      const [gaps, operations] = [new Float64Array(2 * slice), new Uint32Array(2 * slice)]
      gaps.set(this.#longestGapMs)
      operations.set(this.#operations)
      this.#longestGapMs = gaps
      this.#operations = operations
    }
    this.#slices = Math.max(this.#slices, slice + 1)
    return slice
  }
}
