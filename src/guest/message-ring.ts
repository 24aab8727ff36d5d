// A ring of messages in host memory between two threads: one writes, one reads, neither ever blocks the other. A ring is
// of this host, as cards are: what moves with the guest lies in its pages. Used by service-ports.ts on the vCPU's side and
// by src/service on the main thread's.
//
//   buffer   │ head, reader's │ tail, writer's │ waiting │ data: … free … │ message │ message │ … free … │
//   message  │ length u32 │ gateway u32 │ kind u32 │ - │ sequence f64 │ acknowledged f64 │ now f64 │ bytes │ to 8 bytes

import { assert } from '../errors.ts'

/** What goes through a ring. Requests have kind 0; what the kinds of answers mean is in service-ports.ts. */
export interface Message {
  gateway: number
  kind: number
  sequence: number
  /** Of a request: the gateway has every reply up to this sequence. */
  acknowledged: number
  /** Of a request: milliseconds since 1970 (R31). */
  nowMs: number
  bytes: Uint8Array
}

/** Int32 indices of the header, each in a cache line of its own. */
const [HEAD, TAIL, WAITING] = [0, 16, 32]
const HEADER_BYTES = 192
/** Byte offsets in a message; its parts are aligned, so none of them lies across the ring's end. */
const PART = { length: 0, gateway: 4, kind: 8, sequence: 16, acknowledged: 24, nowMs: 32 } as const
export const MESSAGE_HEAD_BYTES = 40
const FIRST_BYTES = 4096
/** Up to here a loop is faster than the views that a copy needs; and so many lengths have their view kept. */
const SMALL_BYTES = 128

/** Room for `capacity` bytes of messages, a power of two. */
export const newRing = (capacity: number): SharedArrayBuffer => new SharedArrayBuffer(HEADER_BYTES + capacity)

/** The bytes that a message takes in a ring. */
const sizeOf = (length: number): number => (MESSAGE_HEAD_BYTES + length + 7) & ~7

class RingViews {
  /** For Atomics; positions count modulo 2^32. */
  readonly words: Int32Array<SharedArrayBuffer>
  readonly bytes: Uint8Array<SharedArrayBuffer>
  readonly u32: Uint32Array<SharedArrayBuffer>
  readonly f64: Float64Array<SharedArrayBuffer>
  readonly mask: number

  constructor(ring: SharedArrayBuffer) {
    const capacity = ring.byteLength - HEADER_BYTES
    assert(capacity >= 64 && (capacity & (capacity - 1)) === 0, `a ring of ${capacity} bytes`)
    this.words = new Int32Array(ring, 0, HEADER_BYTES / 4)
    this.bytes = new Uint8Array(ring, HEADER_BYTES)
    this.u32 = new Uint32Array(ring, HEADER_BYTES)
    this.f64 = new Float64Array(ring, HEADER_BYTES)
    this.mask = capacity - 1
  }
}

/** The writing end. */
export class MessageWriter {
  readonly #ring: RingViews

  constructor(ring: SharedArrayBuffer) {
    this.#ring = new RingViews(ring)
  }

  /** Whether a message of so many bytes has room now; it keeps it until one is pushed. */
  fits(length: number): boolean {
    const { words, mask } = this.#ring
    const used = (Atomics.load(words, TAIL) - Atomics.load(words, HEAD)) >>> 0
    return sizeOf(length) <= mask + 1 - used
  }

  /** False: full, nothing was written. */
  push({ gateway, kind, sequence, acknowledged, nowMs, bytes }: Message): boolean {
    return this.write(gateway, kind, sequence, acknowledged, nowMs, bytes, 0, bytes.length)
  }

  /** The same without an object: the message's bytes lie at `from` of `source`. */
  write(
    gateway: number,
    kind: number,
    sequence: number,
    acknowledged: number,
    nowMs: number,
    source: Uint8Array,
    from: number,
    length: number,
  ): boolean {
    const { words, bytes, u32, f64, mask } = this.#ring
    if (!this.fits(length)) return false
    const tail = Atomics.load(words, TAIL)
    u32[((tail + PART.length) & mask) >>> 2] = length
    u32[((tail + PART.gateway) & mask) >>> 2] = gateway
    u32[((tail + PART.kind) & mask) >>> 2] = kind
    f64[((tail + PART.sequence) & mask) >>> 3] = sequence
    f64[((tail + PART.acknowledged) & mask) >>> 3] = acknowledged
    f64[((tail + PART.nowMs) & mask) >>> 3] = nowMs
    const to = (tail + MESSAGE_HEAD_BYTES) & mask
    if (length <= SMALL_BYTES) {
      for (let index = 0; index < length; index++) bytes[(to + index) & mask] = source[from + index] as number
    } else {
      const first = Math.min(length, mask + 1 - to)
      bytes.set(source.subarray(from, from + first), to)
      if (first < length) bytes.set(source.subarray(from + first, from + length), 0)
    }
    // The reader loads the tail before it looks at what lies behind it.
    Atomics.store(words, TAIL, (tail + sizeOf(length)) | 0)
    return true
  }

  /** True once after the reader has found nothing and rests: it is to be woken. Asked after a push. */
  takeWaiting(): boolean {
    const { words } = this.#ring
    return Atomics.load(words, WAITING) !== 0 && Atomics.exchange(words, WAITING, 0) !== 0
  }

  /** Wakes a reader that rests on the ring itself (`MessageReader.arrival`). */
  notify(): void {
    if (this.takeWaiting()) Atomics.notify(this.#ring.words, WAITING)
  }
}

/** The reading end. */
export class MessageReader {
  readonly #ring: RingViews
  /** The oldest message, once it was read. */
  readonly #message: Message
  #copy = new Uint8Array(FIRST_BYTES)
  /** Of `#copy`, by length. */
  #views: Uint8Array[] = []
  #peeked = false

  constructor(ring: SharedArrayBuffer) {
    this.#ring = new RingViews(ring)
    this.#message = { gateway: 0, kind: 0, sequence: 0, acknowledged: 0, nowMs: 0, bytes: this.#copy }
  }

  /**
   * The oldest message, the same one until `take`, when the object is used again. Null: there is none, and the writer
   * knows that the reader rests.
   */
  peek(): Message | null {
    if (this.#peeked) return this.#message
    const { words } = this.#ring
    const head = Atomics.load(words, HEAD)
    if (Atomics.load(words, TAIL) === head) {
      // Said first, looked second: the writer pushes first and asks second, so one of the two sees the other.
      this.rest()
      if (Atomics.load(words, TAIL) === head) return null
    }
    this.#read(head)
    this.#peeked = true
    return this.#message
  }

  /** Lets the message go that `peek` gave. */
  take(): void {
    assert(this.#peeked, 'no message was looked at')
    const { words } = this.#ring
    this.#peeked = false
    Atomics.store(words, HEAD, (Atomics.load(words, HEAD) + sizeOf(this.#message.bytes.length)) | 0)
  }

  /** Says that the reader is going to rest and wants to be woken; it looks once more before it does. */
  rest(): void {
    Atomics.store(this.#ring.words, WAITING, 1)
  }

  /**
   * After `peek` gave null: resolves when the writer notifies, to true, or at once when it has, to false: then the event
   * loop had no turn.
   */
  async arrival(): Promise<boolean> {
    const waiting = Atomics.waitAsync(this.#ring.words, WAITING, 1)
    if (waiting.async) await waiting.value
    return waiting.async
  }

  /** Ends `arrival` without a message. */
  wakeUp(): void {
    Atomics.store(this.#ring.words, WAITING, 0)
    Atomics.notify(this.#ring.words, WAITING)
  }

  #read(head: number): void {
    const { bytes, u32, f64, mask } = this.#ring
    const at = (offset: number): number => (head + offset) & mask
    const length = u32[at(PART.length) >>> 2] as number
    assert(sizeOf(length) <= mask + 1, `a message of ${length} bytes in a ring`)
    if (length > this.#copy.length) {
      this.#copy = new Uint8Array(Math.min(mask + 1, 2 * length))
      this.#views = []
    }
    const from = at(MESSAGE_HEAD_BYTES)
    if (length <= SMALL_BYTES) {
      for (let index = 0; index < length; index++) this.#copy[index] = bytes[(from + index) & mask] as number
    } else {
      const first = Math.min(length, mask + 1 - from)
      this.#copy.set(bytes.subarray(from, from + first))
      if (first < length) this.#copy.set(bytes.subarray(0, length - first), first)
    }
    const message = this.#message
    message.gateway = u32[at(PART.gateway) >>> 2] as number
    message.kind = u32[at(PART.kind) >>> 2] as number
    message.sequence = f64[at(PART.sequence) >>> 3] as number
    message.acknowledged = f64[at(PART.acknowledged) >>> 3] as number
    message.nowMs = f64[at(PART.nowMs) >>> 3] as number
    message.bytes = this.#viewOf(length)
  }

  #viewOf(length: number): Uint8Array {
    if (length > SMALL_BYTES) return this.#copy.subarray(0, length)
    const known = this.#views[length]
    if (known !== undefined) return known
    const view = this.#copy.subarray(0, length)
    this.#views[length] = view
    return view
  }
}
