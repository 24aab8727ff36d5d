// Push machine for connections that carry small frames towards this side: control links, and the source's end of a lane
// (hello, abort; in the pull phase also needs and acknowledgements). Bytes in any portions go in, messages come out. Pure.

import { GodwitError } from '../errors.ts'
import { MAX_CONTROL_FRAME_BYTES } from '../limits.ts'
import { checkOf, decodeHeader, FRAME_HEADER_BYTES, FRAME_TYPE, type FrameHeader, requireCheck } from './frame.ts'
import { decodeNeeds } from './needs.ts'

/** What a lane of the pull phase takes beside control messages. */
export interface Feedback {
  /** Entries of needs.ts, checked. */
  need(entries: Uint32Array): void
  /** A pull frame has been placed. */
  got(): void
}

/** Collects control frames; holds at most one frame, and allocates it only when its header has passed. */
export class ControlFrameReader<Message> {
  /** Largest payload accepted now; a stranger's first frame has a small one (R14). */
  capBytes: number
  readonly #head = new Uint8Array(FRAME_HEADER_BYTES)
  readonly #header: FrameHeader = { type: FRAME_TYPE.control, length: 0, round: 0, check: 0 }
  #payload: Uint8Array | null = null
  #filled = 0
  readonly #decode: (payload: Uint8Array) => Message
  readonly #feedback: Feedback | null

  constructor(
    decode: (payload: Uint8Array) => Message,
    capBytes = MAX_CONTROL_FRAME_BYTES,
    feedback: Feedback | null = null,
  ) {
    this.#decode = decode
    this.capBytes = capBytes
    this.#feedback = feedback
  }

  /** Whether a frame has begun and is not complete: the connection's end would cut it. */
  get midFrame(): boolean {
    return this.#filled > 0 || this.#payload !== null
  }

  /** Takes bytes and hands each complete message to `deliver`, in order. Throws the decoder's named errors. */
  push(bytes: Uint8Array, deliver: (message: Message) => void): void {
    let at = 0
    for (;;) {
      const target: Uint8Array = this.#payload ?? this.#head
      const size = Math.min(target.length - this.#filled, bytes.length - at)
      target.set(bytes.subarray(at, at + size), this.#filled)
      at += size
      this.#filled += size
      if (this.#filled < target.length) return
      this.#filled = 0
      if (this.#payload === null) {
        this.#begin()
      } else {
        const payload = this.#payload
        this.#payload = null
        requireCheck(this.#header, checkOf(this.#header.type, payload))
        if (this.#header.type === FRAME_TYPE.need) this.#feedback?.need(decodeNeeds(payload))
        else deliver(this.#decode(payload))
      }
    }
  }

  #begin(): void {
    decodeHeader(this.#head, 0, this.#header)
    const { type, length } = this.#header
    if (this.#feedback !== null && type === FRAME_TYPE.got) return this.#feedback.got()
    const needs = this.#feedback !== null && type === FRAME_TYPE.need
    if (!needs && type !== FRAME_TYPE.control) {
      throw new GodwitError('unexpected-message', `frame type ${type} where only control frames are allowed`)
    }
    if (!needs && length > this.capBytes) {
      throw new GodwitError('frame-too-long', `control frame of ${length} bytes, cap ${this.capBytes} here`)
    }
    if (length === 0) throw new GodwitError('bad-message', needs ? 'a need of no pages' : 'an empty control message')
    this.#payload = new Uint8Array(length)
  }
}
