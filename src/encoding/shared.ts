// Encoding 10: a reference to a page of another guest at the destination's agent, 12 bytes like dedup. That guest is a
// process of its own, so the page has to be fetched: the decoder checks and notes what a frame wants, and the pages are
// placed when they are there (wire/stream-reader.ts, migration/transfer/foreign-pages.ts). R13: a copy is hashed under the
// session's seed before it is placed; if its content is another, or nobody sends it, the page is missing.

import { assertRun } from '../kernels/kernels.ts'
import { REFERENCE_BYTES } from '../kernels/reference.ts'
import { BATCH_PAGES } from '../limits.ts'
import type { EncodingContext, PageEncoding, RunDecoder } from './encoding.ts'
import { badPayload, requirePayload } from './payload.ts'

export const shared: PageEncoding = {
  id: 10,
  name: 'shared',
  place: 'staging',
  maxPayloadBytes: (count) => count * REFERENCE_BYTES,
  checkPayload: (count, payloadBytes) => requirePayload('shared', count, payloadBytes, count * REFERENCE_BYTES),
  createDecoder,
}

/** What a frame wants of other guests; entries 0 ≤ i < count are valid. Made once per lane. */
export class WantedPages {
  count = 0
  /** Page of this guest, number of the foreign page, and byte offset of its record in the control memory. */
  readonly page = new Uint32Array(BATCH_PAGES)
  readonly foreign = new Uint32Array(BATCH_PAGES)
  readonly record = new Uint32Array(BATCH_PAGES)
  /** How many foreign pages there are now. */
  readonly known: () => number

  constructor(known: () => number) {
    this.known = known
  }

  add(page: number, foreign: number, record: number): void {
    const index = this.count++
    this.page[index] = page
    this.foreign[index] = foreign
    this.record[index] = record
  }
}

function createDecoder({ memory, session }: EncodingContext): RunDecoder {
  const wanted = session?.wanted
  if (wanted === undefined) throw badPayload('shared', 'references to other guests in a stream that has none')
  const view = new DataView(memory.controlBytes.buffer)
  return {
    defers: true,
    decodeRun(firstPage, count, from) {
      assertRun(memory, firstPage, count)
      const known = wanted.known()
      // A frame has no more pages; a decoder that is given more must not write elsewhere.
      if (wanted.count + count > BATCH_PAGES) throw badPayload('shared', `over ${BATCH_PAGES} pages in one frame`)
      for (let page = firstPage, at = from; page < firstPage + count; page++, at += REFERENCE_BYTES) {
        const foreign = view.getUint32(at, true)
        if (foreign >= known) throw badPayload('shared', `page ${page} refers to page ${foreign} of ${known}`)
        wanted.add(page, foreign, at)
      }
    },
  }
}
