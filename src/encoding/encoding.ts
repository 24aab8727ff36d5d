// How pages become bytes on the wire and pages again. Every encoding is one file and one PageEncoding object; the
// registry lists them. Senders and receivers of page frames go through this interface and know no encoding by name.
//
//   sender     scan → classes ─ runs.ts → run table ─ encoder.encodeRun (or straight from the pages) → payload
//   receiver   run table ─ checkPayload ─ payload → decoder.decodeRun (or read straight into the pages)

import type { GuestMemory } from '../guest/memory.ts'
import type { Kernels } from '../kernels/kernels.ts'

/** What encoders and decoders work on. */
export interface EncodingContext {
  readonly memory: GuestMemory
  readonly kernels: Kernels
}

/** Pages → payload. One per transfer thread and migration, so that it may keep state (delta cache, dedup index). */
export interface RunEncoder {
  /**
   * Writes the payload of a run to staging. Returns its length in bytes, or −1 when it does not fit `capacityBytes` or
   * is not worth it; the run is then sent raw.
   */
  encodeRun(firstPage: number, count: number, stagingOffset: number, capacityBytes: number): number
}

/** Payload → pages; counterpart of RunEncoder on the receiving thread. */
export interface RunDecoder {
  /**
   * Places a run. The run lies inside the guest and `checkPayload` has passed its length.
   * Throws `bad-payload` when the content breaks the encoding's rules; no page outside the run was touched then.
   */
  decodeRun(firstPage: number, count: number, stagingOffset: number, payloadBytes: number): void
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
  /** Largest payload of a run of `count` pages, bytes; the exact one where `place` is not `staging`. */
  maxPayloadBytes(count: number): number
  /** Throws `bad-payload` unless a run of `count` pages may have a payload of this length. */
  checkPayload(count: number, payloadBytes: number): void
  createEncoder(context: EncodingContext): RunEncoder
  createDecoder(context: EncodingContext): RunDecoder
}
