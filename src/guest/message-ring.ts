// A ring of messages in host memory between two threads: one writes, one reads, neither ever blocks the other. A ring is
// of this host, as cards are: what moves with the guest lies in its pages. Used by service-ports.ts on the vCPU's side and
// by src/service on the main thread's.
//
//   buffer   │ head, reader's │ tail, writer's │ waiting │ room wanted │ data: … free … │ message │ message │ … free … │
//   message  │ length u32 │ gateway u32 │ kind u32 │ - │ sequence f64 │ acknowledged f64 │ now f64 │ bytes │ to 8 bytes
//
// An atomic access costs as much as copying a short message, so each end keeps its own position and what it last saw of the
// other's, and looks again when that is used up.

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
  /** Its `length` bytes lie at `from` of these. */
  bytes: Uint8Array
  from: number
  length: number
}

/** Int32 indices of the header, each in a cache line of its own. */
const [HEAD, TAIL, WAITING, ROOM_WANTED] = [0, 16, 32, 48]
const HEADER_BYTES = 256
/** Byte offsets in a message; its parts are aligned, so none of them lies across the ring's end. */
const PART = { length: 0, gateway: 4, kind: 8, sequence: 16, acknowledged: 24, nowMs: 32 } as const
export const MESSAGE_HEAD_BYTES = 40
const FIRST_BYTES = 4096
/** Up to here a loop is faster than the views that a copy needs. */
const SMALL_BYTES = 128
/** The reader says that there is room when so much of the ring is free again, or it has read everything. */
const UNSAID_SHARE = 1 / 64

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

/** The writing end; there is one for all the time of a ring. */
export class MessageWriter {
  readonly #ring: RingViews
  #tail: number
  /** Where the reader was when it was looked for last. */
  #head: number
  /** Up to where the reader knows of messages. */
  #said: number

  constructor(ring: SharedArrayBuffer) {
    this.#ring = new RingViews(ring)
    this.#tail = Atomics.load(this.#ring.words, TAIL)
    this.#said = this.#tail
    this.#head = Atomics.load(this.#ring.words, HEAD)
  }

  /** Whether a message of so many bytes has room now; it keeps it until one is pushed. */
  fits(length: number): boolean {
    const { words, mask } = this.#ring
    const most = mask + 1 - sizeOf(length)
    if ((this.#tail - this.#head) >>> 0 <= most) return true
    this.#head = Atomics.load(words, HEAD)
    return (this.#tail - this.#head) >>> 0 <= most
  }

  /** False: full, nothing was written. */
  push({ gateway, kind, sequence, acknowledged, nowMs, bytes, from, length }: Message): boolean {
    const written = this.write(gateway, kind, sequence, acknowledged, nowMs, bytes, from, length)
    this.say()
    return written
  }

  /** Writes a message, whose bytes lie at `from` of `source`; `say` tells the reader of it. False: full. */
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
    const { bytes, u32, f64, mask } = this.#ring
    if (!this.fits(length)) return false
    const tail = this.#tail
    u32[((tail + PART.length) & mask) >>> 2] = length
    u32[((tail + PART.gateway) & mask) >>> 2] = gateway
    u32[((tail + PART.kind) & mask) >>> 2] = kind
    f64[((tail + PART.sequence) & mask) >>> 3] = sequence
    f64[((tail + PART.acknowledged) & mask) >>> 3] = acknowledged
    f64[((tail + PART.nowMs) & mask) >>> 3] = nowMs
    const to = (tail + MESSAGE_HEAD_BYTES) & mask
    if (length > SMALL_BYTES) {
      const first = Math.min(length, mask + 1 - to)
      bytes.set(source.subarray(from, from + first), to)
      if (first < length) bytes.set(source.subarray(from + first, from + length), 0)
    } else if (to + length <= mask) {
      for (let index = 0; index < length; index++) bytes[to + index] = source[from + index] as number
    } else {
      for (let index = 0; index < length; index++) bytes[(to + index) & mask] = source[from + index] as number
    }
    this.#tail = (tail + sizeOf(length)) | 0
    return true
  }

  /** The reader may have what was written. */
  say(): void {
    if (this.#said === this.#tail) return
    this.#said = this.#tail
    // The reader loads the tail before it looks at what lies behind it.
    Atomics.store(this.#ring.words, TAIL, this.#tail)
  }

  /** The reader is to call its `onRoom` when it has read something more. Said first, looked (`fits`) second. */
  wantRoom(): void {
    Atomics.store(this.#ring.words, ROOM_WANTED, 1)
    this.#head = Atomics.load(this.#ring.words, HEAD)
  }

  /** True once after the reader has found nothing and rests: it is to be woken. Asked after `say`. */
  takeWaiting(): boolean {
    const { words } = this.#ring
    return Atomics.load(words, WAITING) !== 0 && Atomics.exchange(words, WAITING, 0) !== 0
  }

  /** Wakes a reader that rests on the ring itself (`MessageReader.arrival`). */
  notify(): void {
    if (this.takeWaiting()) Atomics.notify(this.#ring.words, WAITING)
  }
}

/** The reading end; there is one for all the time of a ring. */
export class MessageReader {
  readonly #ring: RingViews
  readonly #onRoom: () => void
  /** The oldest message, once it was read. */
  readonly #message: Message
  /** For a message that lies across the ring's end. */
  #copy = new Uint8Array(0)
  #peeked = false
  #head: number
  /** Up to where the writer knows that there is room. */
  #said: number
  /** Where the writer was when it was looked for last. */
  #tail: number

  /** `onRoom` is called when there is room again that the writer waits for. */
  constructor(ring: SharedArrayBuffer, onRoom: () => void = () => {}) {
    this.#ring = new RingViews(ring)
    this.#onRoom = onRoom
    this.#head = Atomics.load(this.#ring.words, HEAD)
    this.#said = this.#head
    this.#tail = this.#head
    const { bytes } = this.#ring
    this.#message = { gateway: 0, kind: 0, sequence: 0, acknowledged: 0, nowMs: 0, bytes, from: 0, length: 0 }
  }

  /**
   * The oldest message, the same one until `take`, when the object and its bytes are used again. Null: there is none, and
   * the writer knows that the reader rests.
   */
  peek(): Message | null {
    if (this.#peeked) return this.#message
    if (this.#head === this.#tail && !this.#look()) return null
    this.#read(this.#head)
    this.#peeked = true
    return this.#message
  }

  /** Lets the message go that `peek` gave. */
  take(): void {
    assert(this.#peeked, 'no message was looked at')
    this.#peeked = false
    this.#head = (this.#head + sizeOf(this.#message.length)) | 0
    if ((this.#head - this.#said) >>> 0 >= (this.#ring.mask + 1) * UNSAID_SHARE) this.#say()
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

  /** Whether something has come; if not, the writer is told to wake the reader. */
  #look(): boolean {
    const { words } = this.#ring
    this.#tail = Atomics.load(words, TAIL)
    if (this.#head !== this.#tail) return true
    this.#say()
    // Said first, looked second: the writer says first and asks second, so one of the two sees the other.
    this.rest()
    this.#tail = Atomics.load(words, TAIL)
    return this.#head !== this.#tail
  }

  /** What is read is the writer's again. */
  #say(): void {
    const { words } = this.#ring
    if (this.#said === this.#head) return
    this.#said = this.#head
    Atomics.store(words, HEAD, this.#head)
    // The writer wants first and looks second.
    if (Atomics.load(words, ROOM_WANTED) !== 0 && Atomics.exchange(words, ROOM_WANTED, 0) !== 0) this.#onRoom()
  }

  #read(head: number): void {
    const { bytes, u32, f64, mask } = this.#ring
    const length = u32[((head + PART.length) & mask) >>> 2] as number
    assert(sizeOf(length) <= mask + 1, 'a message is longer than its ring')
    const from = (head + MESSAGE_HEAD_BYTES) & mask
    const message = this.#message
    message.gateway = u32[((head + PART.gateway) & mask) >>> 2] as number
    message.kind = u32[((head + PART.kind) & mask) >>> 2] as number
    message.sequence = f64[((head + PART.sequence) & mask) >>> 3] as number
    message.acknowledged = f64[((head + PART.acknowledged) & mask) >>> 3] as number
    message.nowMs = f64[((head + PART.nowMs) & mask) >>> 3] as number
    message.length = length
    const whole = from + length <= mask + 1
    message.bytes = whole ? bytes : this.#joined(from, length)
    message.from = whole ? from : 0
  }

  #joined(from: number, length: number): Uint8Array {
    const { bytes, mask } = this.#ring
    if (length > this.#copy.length) this.#copy = new Uint8Array(Math.max(FIRST_BYTES, Math.min(mask + 1, 2 * length)))
    const first = mask + 1 - from
    this.#copy.set(bytes.subarray(from))
    this.#copy.set(bytes.subarray(0, length - first), first)
    return this.#copy
  }
}
