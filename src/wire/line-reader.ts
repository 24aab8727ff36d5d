// Push machine for both ends of a line: bytes in any portions go in, whole frames come out, their check passed. A frame that
// lies in one portion is handed on where it is. Pure.

import { GodwitError } from '../errors.ts'
import {
  checkOf,
  decodeHeader,
  FRAME_HEADER_BYTES,
  FRAME_TYPE,
  type FrameHeader,
  isOfLine,
  requireCheck,
} from './frame.ts'

const FIRST_BYTES = 16 * 1024
const NOTHING = new Uint8Array(0)

export class LineReader {
  /** Frames of requests or answers are taken; before the greeting is over they are not (R14). */
  greeted = false
  /** The frame that `next` found: its type, and its payload, good until the next call. */
  type = 0
  payload: Uint8Array = NOTHING
  readonly #header: FrameHeader = { type: FRAME_TYPE.line, length: 0, round: 0, check: 0 }
  readonly #batches: number
  /** Bytes given and not taken yet. */
  #bytes: Uint8Array = NOTHING
  #at = 0
  /** A frame that came in several portions, begun: so many of its bytes are here. */
  #partial: Uint8Array = NOTHING
  #filled = 0

  /** `batches`: the type that this end takes beside messages. */
  constructor(batches: typeof FRAME_TYPE.requests | typeof FRAME_TYPE.answers) {
    this.#batches = batches
  }

  /** Gives the next portion; `next` has returned false before. */
  push(bytes: Uint8Array): void {
    this.#bytes = bytes
    this.#at = 0
  }

  /** Whether a frame has begun that is not complete. */
  get midFrame(): boolean {
    return this.#filled > 0
  }

  /** Goes to the next whole frame; false: what is missing of it is kept. Throws the decoder's named errors. */
  next(): boolean {
    if (this.#filled > 0) return this.#goOn()
    const left = this.#bytes.length - this.#at
    if (left < FRAME_HEADER_BYTES) return this.#keep(FRAME_HEADER_BYTES)
    const total = this.#decode(this.#bytes, this.#at)
    if (left < total) return this.#keep(total)
    const from = this.#at + FRAME_HEADER_BYTES
    this.#at += total
    return this.#found(this.#bytes.subarray(from, this.#at))
  }

  /** The header at `at`; returns the bytes of the whole frame. */
  #decode(bytes: Uint8Array, at: number): number {
    decodeHeader(bytes, at, this.#header)
    const { type, length } = this.#header
    const allowed = type === FRAME_TYPE.line || (type === this.#batches && this.greeted)
    if (!isOfLine(type) || !allowed) {
      throw new GodwitError('unexpected-message', `a frame of type ${type} on a line, where it has no place`)
    }
    return FRAME_HEADER_BYTES + length
  }

  #goOn(): boolean {
    if (this.#filled < FRAME_HEADER_BYTES && !this.#fill(FRAME_HEADER_BYTES)) return false
    const total = this.#decode(this.#partial, 0)
    this.#reserve(total)
    if (!this.#fill(total)) return false
    this.#filled = 0
    return this.#found(this.#partial.subarray(FRAME_HEADER_BYTES, total))
  }

  /** Moves bytes into the partial frame until it has `wanted`; false: there were too few. */
  #fill(wanted: number): boolean {
    const size = Math.min(wanted - this.#filled, this.#bytes.length - this.#at)
    this.#partial.set(this.#bytes.subarray(this.#at, this.#at + size), this.#filled)
    this.#at += size
    this.#filled += size
    return this.#filled === wanted
  }

  /** What is left of the portion begins a frame of `total` bytes. */
  #keep(total: number): false {
    const left = this.#bytes.length - this.#at
    this.#reserve(total)
    this.#fill(left)
    this.#bytes = NOTHING
    this.#at = 0
    return false
  }

  /** Memory for one frame, as its header says, which has passed. */
  #reserve(bytes: number): void {
    if (bytes <= this.#partial.length) return
    const larger = new Uint8Array(Math.max(FIRST_BYTES, bytes))
    larger.set(this.#partial.subarray(0, this.#filled))
    this.#partial = larger
  }

  #found(payload: Uint8Array): true {
    requireCheck(this.#header, checkOf(this.#header.type, payload))
    this.type = this.#header.type
    this.payload = payload
    return true
  }
}
