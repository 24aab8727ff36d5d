// Encoding 5: WKdm (Wilson, Kaplan, Smaragdakis, 1999), for words that repeat or nearly repeat, such as pointers and
// small numbers. The format is drawn in kernels/pattern.wat. In bytes a page takes
//
//   268 + 4 × misses + 4 × ⌈(exact + partial) / 8⌉ + 4 × ⌈partial / 3⌉

import { CODEC_AREA } from '../guest/layout.ts'
import type { PageCodec } from '../kernels/page-codec.ts'
import { loadPattern, PATTERN_LEAST_BYTES } from '../kernels/pattern.ts'
import { PAGE_BYTES } from '../limits.ts'
import { decodeEachPage } from './each-page.ts'
import type { EncodingContext, PageEncoder, PageEncoding } from './encoding.ts'
import { requireShrunk } from './payload.ts'

const load = ({ memory, area }: EncodingContext): PageCodec => loadPattern(memory, area + CODEC_AREA.tables)

export const pattern: PageEncoding = {
  id: 5,
  name: 'pattern',
  place: 'staging',
  maxPayloadBytes: (count) => count * PAGE_BYTES - 1,
  checkPayload: (count, payloadBytes) => requireShrunk('pattern', count, payloadBytes, PATTERN_LEAST_BYTES),
  createDecoder: (context) => decodeEachPage('pattern', context, load(context)),
}

/** The encoder of `pattern`; it needs the tables of the context's codec area during a call. */
export function createPatternEncoder(context: EncodingContext): PageEncoder {
  return { encodePage: load(context).encode }
}
