// Encoding 3: a page of one 64-bit word repeated, such as 0xFF… or a poison pattern. A page is 8 bytes on the wire.

import { loadDeltaKernels } from '../kernels/delta.ts'
import type { EncodingContext, PageEncoder, PageEncoding } from './encoding.ts'
import { requirePayload } from './payload.ts'

const WORD_BYTES = 8

export const fill: PageEncoding = {
  id: 3,
  name: 'fill',
  place: 'staging',
  maxPayloadBytes: (count) => count * WORD_BYTES,
  checkPayload: (count, payloadBytes) => requirePayload('fill', count, payloadBytes, count * WORD_BYTES),
  createDecoder({ memory }) {
    const { placeFill } = loadDeltaKernels(memory)
    return { decodeRun: (firstPage, count, from) => placeFill(firstPage, count, from) }
  },
}

/** The encoder of fill pages; looks at 64 bytes of most other pages. */
export function createFillEncoder({ memory }: EncodingContext): PageEncoder {
  const { encodeFill } = loadDeltaKernels(memory)
  return { encodePage: encodeFill }
}
