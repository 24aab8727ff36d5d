// How much a bulk lane of the pull phase may have under way unacknowledged. What is queued before a page that a vCPU waits
// for delays it, so faults shrink the window (as CRIU's lazy pages do); but never below what the link itself holds, or a
// distant destination would wait for its pages a round trip at a time. Pure: the caller brings the clock.
//
//   floor = smallest round trip × best delivery rate of the last second × 1.25      (BBR, Cardwell et al., 2016)

import { assert } from '../../errors.ts'
import { BATCH_PAGES, PAGE_BYTES, PUSH_WINDOW_MAX_BYTES, PUSH_WINDOW_MIN_BYTES } from '../../limits.ts'

const START_BYTES = 1024 * 1024
const GROWTH_BYTES = 64 * 1024
/** Above 1, so that a rate which the window itself holds down is seen to rise. */
const HEADROOM = 1.25
/** The best rate is that of this span and the one before. */
const RATE_SPAN_MS = 500
const MIN_BATCH_PAGES = 16
/** A window is so many batches. */
const BATCHES = 4
/** Frames under way at most; frames of zero pages are tiny, so that bytes alone would let too many go. */
const MAX_FRAMES = 256

/** What is remembered of a frame under way; one row of the ring each. */
const FRAME = { bytes: 0, sentAt: 1, delivered: 2, deliveredAt: 3, firstSentAt: 4, faults: 5, fields: 6 } as const

/** The window of one lane. Times are milliseconds of one monotonic clock; frames are acknowledged in their order. */
export class PushWindow {
  readonly #frames = new Float64Array(MAX_FRAMES * FRAME.fields)
  #oldest = 0
  #count = 0
  #inFlightBytes = 0
  #windowBytes = START_BYTES
  #faults = 0
  /** Bytes acknowledged so far, when the last of them were, and when the frame that they ended with was sent. */
  #delivered = 0
  #deliveredAt = 0
  #firstSentAt = 0
  #roundTripMs = Number.POSITIVE_INFINITY
  /** Bytes per ms: the best of the span under way and of the one before. */
  #rate = 0
  #rateBefore = 0
  #spanBegan = Number.NEGATIVE_INFINITY

  /** A frame of so many bytes was handed to the link. Throws `internal` without room for one more. */
  sent(bytes: number, now: number): void {
    assert(this.#count < MAX_FRAMES, 'a push window has too many frames under way')
    if (this.#count === 0) {
      // The link stood idle: that time says nothing about its rate.
      this.#deliveredAt = now
      this.#firstSentAt = now
    }
    const frames = this.#frames
    const at = ((this.#oldest + this.#count) % MAX_FRAMES) * FRAME.fields
    frames[at + FRAME.bytes] = bytes
    frames[at + FRAME.sentAt] = now
    frames[at + FRAME.delivered] = this.#delivered
    frames[at + FRAME.deliveredAt] = this.#deliveredAt
    frames[at + FRAME.firstSentAt] = this.#firstSentAt
    frames[at + FRAME.faults] = this.#faults
    this.#count++
    this.#inFlightBytes += bytes
  }

  /** The oldest frame under way was acknowledged. Throws `internal` when there is none. */
  acked(now: number): void {
    assert(this.#count > 0, 'a push window has no frame to acknowledge')
    const frames = this.#frames
    const at = this.#oldest * FRAME.fields
    const bytes = frames[at + FRAME.bytes] as number
    const sentAt = frames[at + FRAME.sentAt] as number
    this.#oldest = (this.#oldest + 1) % MAX_FRAMES
    this.#count--
    this.#inFlightBytes -= bytes
    this.#delivered += bytes
    this.#deliveredAt = now
    const sendingMs = sentAt - (frames[at + FRAME.firstSentAt] as number)
    this.#firstSentAt = sentAt
    this.#roundTripMs = Math.min(this.#roundTripMs, now - sentAt)
    // The slower of sending and acknowledging: acknowledgements that come bunched do not make a link faster.
    const ms = Math.max(sendingMs, now - (frames[at + FRAME.deliveredAt] as number))
    if (ms > 0) this.#noteRate((this.#delivered - (frames[at + FRAME.delivered] as number)) / ms, now)
    if (frames[at + FRAME.faults] !== this.#faults) return
    this.#windowBytes = Math.min(this.windowBytes + GROWTH_BYTES, PUSH_WINDOW_MAX_BYTES)
  }

  /** A vCPU asked for a page. */
  fault(): void {
    this.#faults++
    this.#windowBytes = Math.max(this.#windowBytes / 2, PUSH_WINDOW_MIN_BYTES)
  }

  /** Whether the next batch may go. Then it may overshoot the window by its own size. */
  room(): boolean {
    return this.#inFlightBytes < this.windowBytes && this.#count < MAX_FRAMES
  }

  /** Pages the next batch should have: a quarter of the window. */
  batchPages(): number {
    const pages = Math.floor(this.windowBytes / (BATCHES * PAGE_BYTES))
    return Math.min(BATCH_PAGES, Math.max(MIN_BATCH_PAGES, pages))
  }

  get inFlightBytes(): number {
    return this.#inFlightBytes
  }

  /** The window in force, bytes. */
  get windowBytes(): number {
    return Math.min(PUSH_WINDOW_MAX_BYTES, Math.max(this.#windowBytes, this.#floorBytes))
  }

  get #floorBytes(): number {
    const rate = Math.max(this.#rate, this.#rateBefore)
    return rate === 0 ? 0 : rate * this.#roundTripMs * HEADROOM
  }

  #noteRate(rate: number, now: number): void {
    if (now - this.#spanBegan >= RATE_SPAN_MS) {
      // After a silence of two spans nothing is known any more.
      this.#rateBefore = now - this.#spanBegan < 2 * RATE_SPAN_MS ? this.#rate : 0
      this.#rate = 0
      this.#spanBegan = now
    }
    this.#rate = Math.max(this.#rate, rate)
  }
}
