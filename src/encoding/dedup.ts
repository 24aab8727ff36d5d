// Encoding 9: a reference to a page of this guest that the destination holds, 12 bytes. The receiver copies that page,
// hashes the copy under the session's seed, and places it; if the content is another, it asks for the page instead (R13).
// So a reference may be wrong, because its origin has changed meanwhile, but never place anything that is.

import { CODEC_AREA } from '../guest/layout.ts'
import { assertRun } from '../kernels/kernels.ts'
import { createReferenceKernel, REFERENCE_BYTES } from '../kernels/reference.ts'
import type { EncodingContext, PageEncoding, RunDecoder } from './encoding.ts'
import { badPayload, requirePayload } from './payload.ts'

export const dedup: PageEncoding = {
  id: 9,
  name: 'dedup',
  place: 'staging',
  maxPayloadBytes: (count) => count * REFERENCE_BYTES,
  checkPayload: (count, payloadBytes) => requirePayload('dedup', count, payloadBytes, count * REFERENCE_BYTES),
  createDecoder,
}

function createDecoder({ memory, area, session }: EncodingContext): RunDecoder {
  if (session === undefined) throw badPayload('dedup', 'references in a stream that has no seed for them')
  const { missing } = session
  const kernel = createReferenceKernel(memory, session.seed)
  const { controlBytes, layout } = memory
  const view = new DataView(controlBytes.buffer)
  // Not the group area: there the pages of an lz4 block may wait for their runs.
  const scratch = area + CODEC_AREA.copies
  return {
    decodeRun(firstPage, count, from) {
      assertRun(memory, firstPage, count)
      for (let page = firstPage, at = from; page < firstPage + count; page++, at += REFERENCE_BYTES) {
        const origin = view.getUint32(at, true)
        if (origin >= layout.pageCount) throw badPayload('dedup', `page ${page} refers to page ${origin}`)
        if (origin === page) throw badPayload('dedup', `page ${page} refers to itself`)
        if (kernel.place(at, page, scratch) === 0) missing(page)
      }
    },
  }
}

/** Writes the reference of the page copy at `from`, whose content page `origin` should have, to `to`. Returns its bytes. */
export type ReferenceWriter = (from: number, origin: number, to: number) => number

/** `seed`: the session's. */
export function createReferenceWriter({ memory }: EncodingContext, seed: bigint): ReferenceWriter {
  const kernel = createReferenceKernel(memory, seed)
  return (from, origin, to) => {
    kernel.refer(from, origin, to)
    return REFERENCE_BYTES
  }
}
