// Encoding 6: columns of 32-bit words, bit-packed by frame of reference, for arrays of records, counters and pointers
// into one heap. The format is drawn in kernels/packed.wat. A page takes 24 + 32 × (sum of the four widths) bytes.

import { CODEC_AREA } from '../guest/layout.ts'
import { loadPacked, PACKED_LEAST_BYTES } from '../kernels/packed.ts'
import type { PageCodec } from '../kernels/page-codec.ts'
import { PAGE_BYTES } from '../limits.ts'
import { decodeEachPage } from './each-page.ts'
import type { EncodingContext, PageEncoder, PageEncoding } from './encoding.ts'
import { requireShrunk } from './payload.ts'

const load = ({ memory, area }: EncodingContext): PageCodec => loadPacked(memory, area + CODEC_AREA.tables)

export const packed: PageEncoding = {
  id: 6,
  name: 'packed',
  place: 'staging',
  maxPayloadBytes: (count) => count * PAGE_BYTES - 1,
  checkPayload: (count, payloadBytes) => requireShrunk('packed', count, payloadBytes, PACKED_LEAST_BYTES),
  createDecoder: (context) => decodeEachPage('packed', context, load(context)),
}

/** The encoder of `packed`; it needs the tables of the context's codec area during a call. */
export function createPackedEncoder(context: EncodingContext): PageEncoder {
  return { encodePage: load(context).encode }
}
