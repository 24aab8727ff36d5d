// Encoding 4: a page of few bytes that are not zero travels as the runs of them (MECOM's class of pages with many zeros).
// The receiver writes the whole page, zeros included.

import { CODEC_AREA } from '../guest/layout.ts'
import { loadDeltaKernels } from '../kernels/delta.ts'
import type { EncodingContext, PageEncoder, PageEncoding } from './encoding.ts'
import { createRecordDecoder, recordLimit, recordRules } from './records.ts'

export const sparse: PageEncoding = {
  id: 4,
  name: 'sparse',
  place: 'staging',
  ...recordRules('sparse'),
  createDecoder: ({ memory }) => createRecordDecoder('sparse', loadDeltaKernels(memory), 'zeros'),
}

/** The encoder of sparse pages; a lower limit ends it earlier on pages that are not. */
export function createSparseEncoder({ memory, area }: EncodingContext): PageEncoder {
  const { encodeSparse } = loadDeltaKernels(memory)
  const scratchOffset = area + CODEC_AREA.tables
  return {
    encodePage: (from, to, limitBytes) => encodeSparse(from, to, recordLimit(limitBytes), scratchOffset),
  }
}
