// How pages become bytes on the wire and pages again. Every encoding is one file and one PageEncoding object; the
// registry lists them. Senders and receivers of page frames go through this interface and know no encoding by name.
//
//   sender     scan → classes ─ choice ─ page copies ─ encoder → payload ─ runs.ts → run table
//   receiver   run table ─ checkPayload ─ payload → decoder.decodeRun (raw: read straight into the pages)

import type { GuestMemory } from '../guest/memory.ts'
import type { Kernels } from '../kernels/kernels.ts'
import type { WantedPages } from './shared.ts'

/** What encoders and decoders work on. One per transfer thread and migration. */
export interface EncodingContext {
  readonly memory: GuestMemory
  readonly kernels: Kernels
  /** Byte offset in the control memory of this lane's CODEC_AREA, which no other thread touches. */
  readonly area: number
  /** What `dedup` and `shared` need; a stream without it may not hold references. */
  readonly session?: ReferenceSession
}

export interface ReferenceSession {
  /** Of the hashes that references carry, 0 ≤ seed < 2^64: no stranger can make contents of equal hash. */
  readonly seed: bigint
  /** Receiver: the page could not be made from what is here; it is to be sent (R13). */
  missing(page: number): void
  /** Receiver: where `shared` notes what it wants of other guests; a stream without it may not hold such references. */
  readonly wanted?: WantedPages
}

/**
 * One page → its bytes on the wire. R13: it reads a copy in the control memory, never the page that a vCPU may be writing.
 * Its output says by itself where it ends, so that the pages of a run need no table of lengths.
 */
export interface PageEncoder {
  /**
   * Encodes the copy at `from` (4,096 bytes, multiple of 16) to `to`, both byte offsets in the control memory. Returns the
   * length in bytes, or −1 when it would exceed `limitBytes`; nothing outside [to, to + limitBytes) is written either way.
   */
  encodePage(from: number, to: number, limitBytes: number): number
}

/** Payload → pages, on the receiving thread; counterpart of the encoders. */
export interface RunDecoder {
  /**
   * Places a run whose payload lies at `from` in the control memory. The run lies inside the guest and `checkPayload` has
   * passed its length. Throws `bad-payload` when the content breaks the encoding's rules or does not end with the
   * payload; no page outside the run was touched and nothing outside the payload was read then.
   */
  decodeRun(firstPage: number, count: number, from: number, payloadBytes: number): void
  /** After the last run of a frame, for encodings whose payload spans runs. Throws `bad-payload`. */
  endFrame?(): void
  /** Its pages are placed later, by somebody else, who then hashes them, too. */
  readonly defers?: boolean
}

/**
 * Where the payload of a run may go. `none`: there is none. `pages`: it is the pages' bytes, so it may be sent from and
 * read straight into guest memory, or pass through staging. `staging`: it must be decoded from staging.
 */
export type PayloadPlace = 'none' | 'pages' | 'staging'

export interface PageEncoding {
  /** On the wire, 1–255; 0 is reserved as invalid. Never changes its meaning. */
  readonly id: number
  /** Capability name, in reports and options. */
  readonly name: string
  readonly place: PayloadPlace
  /** Largest payload of a run of `count` pages, bytes; the exact one where `place` is not `staging`. Never above raw. */
  maxPayloadBytes(count: number): number
  /** Throws `bad-payload` unless a run of `count` pages may have a payload of this length. */
  checkPayload(count: number, payloadBytes: number): void
  createDecoder(context: EncodingContext): RunDecoder
}
