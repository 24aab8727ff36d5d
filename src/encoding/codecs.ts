// The encoders of one transfer thread, by wire id. Those that a migration never uses are never made.

import type { EncodingContext, PageEncoder } from './encoding.ts'
import { createFillEncoder, fill } from './fill.ts'
import { createLz4Encoder, type GroupEncoder } from './lz4.ts'
import type { Lz4Backend } from './lz4-backend.ts'
import { createPackedEncoder, packed } from './packed.ts'
import { createPatternEncoder, pattern } from './pattern.ts'
import { createSparseEncoder, sparse } from './sparse.ts'

const FACTORIES = new Map<number, (context: EncodingContext) => PageEncoder>([
  [fill.id, createFillEncoder],
  [sparse.id, createSparseEncoder],
  [pattern.id, createPatternEncoder],
  [packed.id, createPackedEncoder],
])

export class Codecs {
  readonly #context: EncodingContext
  readonly #backend: Lz4Backend
  readonly #encoders: (PageEncoder | undefined)[] = []
  #lz4: GroupEncoder | undefined

  constructor(context: EncodingContext, backend: Lz4Backend) {
    this.#context = context
    this.#backend = backend
  }

  /** See PageEncoder; `id`: the wire id of an encoding of single pages. */
  encodePage(id: number, from: number, to: number, limitBytes: number): number {
    let encoder = this.#encoders[id]
    if (encoder === undefined) {
      const factory = FACTORIES.get(id)
      if (factory === undefined) throw new Error(`no encoder of single pages has wire id ${id}`)
      encoder = factory(this.#context)
      this.#encoders[id] = encoder
    }
    return encoder.encodePage(from, to, limitBytes)
  }

  /** One lz4 block of the first `pages` pages of the group area. */
  encodeGroup(pages: number, to: number, limitBytes: number): number {
    this.#lz4 ??= createLz4Encoder(this.#context, this.#backend)
    return this.#lz4.encodeGroup(pages, to, limitBytes)
  }
}
