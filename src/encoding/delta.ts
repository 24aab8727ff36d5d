// Encoding 8: a page that was sent before travels as the runs of bytes that changed since (Svärd's delta compression,
// QEMU's XBZRLE; the runs carry the new bytes). The receiver writes them into the page it has, so what the sender
// compares with must equal that page bit for bit (R13): a cache keeps the last versions sent in a memory of its own.

import { CODEC_AREA } from '../guest/layout.ts'
import { loadDeltaKernels } from '../kernels/delta.ts'
import type { EncodingContext, PageEncoding } from './encoding.ts'
import { createRecordDecoder, recordLimit, recordRules } from './records.ts'

export const delta: PageEncoding = {
  id: 8,
  name: 'delta',
  place: 'staging',
  ...recordRules('delta'),
  createDecoder: ({ memory }) => createRecordDecoder('delta', loadDeltaKernels(memory), 'pages'),
}

/** `encodePage` returns this for a page that equals the version sent: it need not be sent at all. */
export const UNCHANGED_BYTES = 2

/** A PageEncoder that also takes the version to compare with: 4,096 bytes at byte `stored` of the store. */
export interface DeltaEncoder {
  /** As PageEncoder's. Writes nothing to the store, whatever it returns. */
  encodePage(from: number, stored: number, to: number, limitBytes: number): number
  /**
   * The copy at `from` becomes the version sent. R13: to be called whenever the copy is sent, by whichever encoding, for a
   * page that stays in the store; a page that is sent live has to leave the store.
   */
  storePage(from: number, stored: number): void
  /** Whether the version at `stored` is the copy at `from`, bit for bit. */
  matches(from: number, stored: number): boolean
}

/** The encoder of one transfer thread. `store` is a shared memory of at most 4 GiB; every thread may have the same. */
export function createDeltaEncoder({ memory, area }: EncodingContext, store: WebAssembly.Memory): DeltaEncoder {
  const { encodeDelta, storePage, matches } = loadDeltaKernels(memory, store)
  const scratchOffset = area + CODEC_AREA.tables
  return {
    encodePage: (from, stored, to, limitBytes) => encodeDelta(from, stored, to, recordLimit(limitBytes), scratchOffset),
    storePage,
    matches,
  }
}
