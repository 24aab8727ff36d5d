// Encoding 1: all-zero pages travel as a run without payload. The receiver writes only to pages that are not zero yet,
// so a fresh destination allocates nothing for them (QEMU and Xen do the same).

import type { PageEncoding } from './encoding.ts'
import { requirePayload } from './payload.ts'

export const zero: PageEncoding = {
  id: 1,
  name: 'zero',
  place: 'none',
  maxPayloadBytes: () => 0,
  checkPayload: (count, payloadBytes) => requirePayload('zero', count, payloadBytes, 0),
  createDecoder: ({ kernels }) => ({ decodeRun: (firstPage, count) => kernels.zeroRun(firstPage, count) }),
}
