// Entries of requests or answers on their way into frames: they are written one behind the other into a buffer, and what is
// there is sent as one frame. Buffers are used again when they have been sent. Used by both ends of a line.

import { assert } from '../errors.ts'
import { MAX_SERVICE_FRAME_BYTES, SERVICE_BATCH_BYTES } from '../limits.ts'
import { checkOf, encodeHeader, FRAME_HEADER_BYTES, type FRAME_TYPE } from './frame.ts'

const BUFFERS_KEPT = 8

/** Sends a frame, and calls `sent` when its bytes are not needed any more. */
export type SendFrame = (frame: Uint8Array, sent: () => void) => void

export class FrameBatch {
  /** The buffer that `reserve` made room in, and a view of it. */
  bytes: Uint8Array = new Uint8Array(0)
  view: DataView = new DataView(new ArrayBuffer(0))
  #at = FRAME_HEADER_BYTES
  readonly #type: typeof FRAME_TYPE.requests | typeof FRAME_TYPE.answers
  readonly #send: SendFrame
  readonly #free: Uint8Array[] = []

  constructor(type: typeof FRAME_TYPE.requests | typeof FRAME_TYPE.answers, send: SendFrame) {
    this.#type = type
    this.#send = send
  }

  /** Room for so many bytes of entries, where they belong in `bytes`; sends first what leaves too little of it. */
  reserve(size: number): number {
    if (this.#at + size > this.bytes.length) this.#begin(size)
    const at = this.#at
    this.#at += size
    return at
  }

  /** Sends what is there, if anything. */
  flush(): void {
    const length = this.#at - FRAME_HEADER_BYTES
    if (length === 0) return
    const buffer = this.bytes
    const frame = buffer.subarray(0, this.#at)
    const check = checkOf(this.#type, frame.subarray(FRAME_HEADER_BYTES))
    encodeHeader(buffer, 0, { type: this.#type, length, round: 0, check })
    this.bytes = this.#free.pop() ?? new Uint8Array(0)
    this.#at = FRAME_HEADER_BYTES
    this.#look()
    this.#send(frame, () => {
      const kept = buffer.length === FRAME_HEADER_BYTES + SERVICE_BATCH_BYTES && this.#free.length < BUFFERS_KEPT
      if (kept) this.#free.push(buffer)
    })
  }

  #begin(size: number): void {
    assert(size <= MAX_SERVICE_FRAME_BYTES, `an entry of ${size} bytes`)
    this.flush()
    if (FRAME_HEADER_BYTES + size <= this.bytes.length) return
    this.bytes = new Uint8Array(FRAME_HEADER_BYTES + Math.max(SERVICE_BATCH_BYTES, size))
    this.#look()
  }

  #look(): void {
    this.view = new DataView(this.bytes.buffer, this.bytes.byteOffset, this.bytes.byteLength)
  }
}
