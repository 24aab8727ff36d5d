// A frame's payload in staging → guest pages: each run by the decoder of its encoding. Decoders are made when the first
// run of theirs comes, so that a stream of raw pages costs none. Used by the stream reader of the destination.

import type { EncodingContext, RunDecoder } from './encoding.ts'
import { encodingById } from './registry.ts'
import type { RunTable } from './runs.ts'

export class FrameDecoder {
  readonly #context: EncodingContext
  /** By wire id. */
  readonly #decoders: (RunDecoder | undefined)[] = []

  constructor(context: EncodingContext) {
    this.#context = context
  }

  /**
   * Places all runs of a checked table whose payloads lie one behind the other at `payload` of the control memory, and
   * hashes them into the digest slot unless it is null (R15: from the guest page, after placement); but for runs of which
   * the decoder only notes what they want. Throws `bad-payload`.
   */
  decode(table: RunTable, payload: number, digest: number | null): void {
    const { kernels, memory } = this.#context
    let from = payload
    for (let run = 0; run < table.length; run++) {
      const [firstPage, count] = [table.firstPage[run] as number, table.count[run] as number]
      const bytes = table.payloadBytes[run] as number
      const decoder = this.#decoderOf(table.encoding[run] as number)
      decoder.decodeRun(firstPage, count, from, bytes)
      if (digest !== null && decoder.defers !== true) kernels.hashRun(firstPage, count, memory.layout.hashes, digest)
      from += bytes
    }
    for (const decoder of this.#decoders) decoder?.endFrame?.()
  }

  #decoderOf(id: number): RunDecoder {
    this.#decoders[id] ??= encodingById(id).createDecoder(this.#context)
    return this.#decoders[id]
  }
}
