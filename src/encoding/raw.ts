// Encoding 2: the pages' own bytes, 4,096 each. Long runs go from and into guest memory without a copy; short ones pass
// through staging, here run by run, or a whole batch at once with the gather and scatter kernels.

import { PAGE_BYTES } from '../limits.ts'
import type { PageEncoding } from './encoding.ts'
import { requirePayload } from './payload.ts'

export const raw: PageEncoding = {
  id: 2,
  name: 'raw',
  place: 'pages',
  maxPayloadBytes: (count) => count * PAGE_BYTES,
  checkPayload: (count, payloadBytes) => requirePayload('raw', count, payloadBytes, count * PAGE_BYTES),
  createDecoder: ({ kernels }) => ({ decodeRun: (firstPage, count, from) => kernels.placeRun(firstPage, count, from) }),
}
