// What a transfer thread needs to send references.

import { createReferenceWriter, type ReferenceWriter } from './dedup.ts'
import type { EncodingContext } from './encoding.ts'
import type { ForeignIndex } from './foreign-index.ts'
import { ReferenceIndex } from './reference-index.ts'

export interface References {
  readonly index: ReferenceIndex
  readonly write: ReferenceWriter
  /** Pages of other guests at the destination; null: none. */
  foreign: ForeignIndex | null
}

export function createReferences(context: EncodingContext, channel: number, seed: bigint): References {
  return {
    index: new ReferenceIndex(context.memory, channel),
    write: createReferenceWriter(context, seed),
    foreign: null,
  }
}
