// What a transfer thread needs to send references.

import type { EncodingContext } from './encoding.ts'
import { createReferenceWriter, type ReferenceWriter } from './dedup.ts'
import { ReferenceIndex } from './reference-index.ts'

export interface References {
  readonly index: ReferenceIndex
  readonly write: ReferenceWriter
}

export function createReferences(context: EncodingContext, channel: number): References {
  return { index: new ReferenceIndex(context.memory, channel), write: createReferenceWriter(context) }
}
