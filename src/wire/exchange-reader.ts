// One end of the exchange as a pure push machine: bytes in any portions go in, frames come out, each checked as far as it
// can be without knowing who owns what. Used by the exchange thread at both sides.
//
//   header ─► payload ─► one call of the sink ─► header

import { GodwitError } from '../errors.ts'
import { HELLO_FRAME_BYTES, MAX_GIVE_FRAME_BYTES } from '../limits.ts'
import { type ChannelMessage, decodeChannel } from './channel-codec.ts'
import {
  type Bounds,
  type Crossing,
  checkedBytes,
  createGiveTable,
  decodeApplied,
  decodeAsk,
  decodeCross,
  decodeGive,
  decodeRuns,
  type GiveTable,
  type RunsTable,
} from './exchange-frames.ts'
import { checkOf, decodeHeader, FRAME_HEADER_BYTES, FRAME_TYPE, type FrameHeader, requireCheck } from './frame.ts'

/** Where frames go. Tables and contents are the reader's again when a call returns. */
export interface ExchangeSink {
  control(message: ChannelMessage): void
  give(table: GiveTable, contents: Uint8Array): void
  runs(table: RunsTable): void
  cross(crossing: Crossing): void
  ask(pages: Uint32Array): void
  applied(count: number): void
}

export class ExchangeReader {
  readonly #bounds: Bounds
  readonly #sink: ExchangeSink
  readonly #head = new Uint8Array(FRAME_HEADER_BYTES)
  readonly #header: FrameHeader = { type: FRAME_TYPE.control, length: 0, round: 0, check: 0 }
  readonly #give = createGiveTable()
  /** Of a payload that comes in several portions. */
  readonly #held = new Uint8Array(MAX_GIVE_FRAME_BYTES)
  #inPayload = false
  #filled = 0

  constructor(bounds: Bounds, sink: ExchangeSink) {
    this.#bounds = bounds
    this.#sink = sink
  }

  /** Throws named errors, those of the sink among them; the stream is of no use then. */
  push(bytes: Uint8Array): void {
    for (let at = 0; at < bytes.length; ) {
      const target = this.#inPayload ? this.#held : this.#head
      const wanted = this.#inPayload ? this.#header.length : FRAME_HEADER_BYTES
      const size = Math.min(wanted - this.#filled, bytes.length - at)
      const piece = bytes.subarray(at, at + size)
      at += size
      if (this.#inPayload && size === wanted) {
        // All of it in one piece: no need to copy.
        this.#deliver(piece)
        continue
      }
      target.set(piece, this.#filled)
      this.#filled += size
      if (this.#filled < wanted) continue
      if (this.#inPayload) this.#deliver(this.#held.subarray(0, wanted))
      else this.#begin()
    }
  }

  #begin(): void {
    decodeHeader(this.#head, 0, this.#header)
    const { type, length } = this.#header
    const known = type === FRAME_TYPE.control || type >= FRAME_TYPE.give
    if (!known) throw new GodwitError('unexpected-message', `frame type ${type} on an exchange`)
    if (type === FRAME_TYPE.control && length > HELLO_FRAME_BYTES) {
      throw new GodwitError('frame-too-long', `control frame of ${length} bytes on an exchange`)
    }
    if (length === 0) throw new GodwitError('bad-frame', `an empty frame of type ${type}`)
    this.#inPayload = true
    this.#filled = 0
  }

  #deliver(payload: Uint8Array): void {
    this.#inPayload = false
    this.#filled = 0
    const { type } = this.#header
    requireCheck(this.#header, checkOf(type, payload.subarray(0, checkedBytes(type, payload))))
    switch (type) {
      case FRAME_TYPE.control:
        return this.#sink.control(decodeChannel(payload))
      case FRAME_TYPE.give:
        decodeGive(payload, this.#bounds, this.#give)
        return this.#sink.give(this.#give, payload.subarray(this.#give.contentsAt))
      case FRAME_TYPE.runs:
        return this.#sink.runs(decodeRuns(payload, this.#bounds))
      case FRAME_TYPE.cross:
        return this.#sink.cross(decodeCross(payload, this.#bounds))
      case FRAME_TYPE.ask:
        return this.#sink.ask(decodeAsk(payload, this.#bounds))
      default:
        return this.#sink.applied(decodeApplied(payload))
    }
  }
}
