// Runs of encodings whose payload is one self-delimiting piece a page: pattern and packed decode through this.

import { assertRun } from '../kernels/kernels.ts'
import type { PageCodec } from '../kernels/page-codec.ts'
import type { EncodingContext, RunDecoder } from './encoding.ts'
import { badPayload } from './payload.ts'

/** A decoder that places a run page by page. It throws `bad-payload` unless the payload ends with the last page. */
export function decodeEachPage(encoding: string, { memory }: EncodingContext, codec: PageCodec): RunDecoder {
  return {
    decodeRun(firstPage, count, from, payloadBytes) {
      assertRun(memory, firstPage, count)
      const end = from + payloadBytes
      let at = from
      for (let page = firstPage; page < firstPage + count; page++) {
        const bytes = codec.decode(at, end - at, page)
        if (bytes < 0) throw badPayload(encoding, `page ${page} is malformed at byte ${at - from} of ${payloadBytes}`)
        at += bytes
      }
      if (at !== end) throw badPayload(encoding, `${end - at} of ${payloadBytes} bytes follow its last page`)
    },
  }
}
