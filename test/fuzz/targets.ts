// What can be fuzzed, by name. A new encoding needs one line here.

import { createLz4Encoder, lz4 } from '../../src/encoding/lz4.ts'
import { LZ4_KERNEL } from '../../src/encoding/lz4-backend.ts'
import { raw } from '../../src/encoding/raw.ts'
import { zero } from '../../src/encoding/zero.ts'
import { GodwitError } from '../../src/errors.ts'
import { GuestMemory } from '../../src/guest/memory.ts'
import { GROUP_PAGES, PAGE_BYTES, READ_BYTES } from '../../src/limits.ts'
import { feed, framesOf, guestOf, readerFor } from '../wire/streams.ts'
import { decoderTarget, payloadSeeds } from './decoder-target.ts'
import type { FuzzTarget } from './loop.ts'

export const TARGETS: Readonly<Record<string, () => FuzzTarget>> = {
  zero: () => decoderTarget(zero),
  raw: () =>
    decoderTarget(
      raw,
      payloadSeeds(({ memory }, from, to) => memory.controlBytes.copyWithin(to, from, from + PAGE_BYTES) && PAGE_BYTES),
    ),
  lz4: () => decoderTarget(lz4, [...lz4Seeds(1), ...lz4Seeds(GROUP_PAGES)]),
  'page-frame': pageFrames,
}

/** Blocks of one page of content, the other pages zero. */
const lz4Seeds = (pages: number): Uint8Array[] =>
  payloadSeeds((context, _, to) => createLz4Encoder(context, LZ4_KERNEL).encodeGroup(pages, to, 4095), pages)

/** Streams of page frames into a reader: any named error is right, `internal` is none of them. */
function pageFrames(): FuzzTarget {
  const memory = GuestMemory.create(64 * 1024, 1)
  const portions = [7, 100, 4096, READ_BYTES]
  return {
    seeds: ['z', 'zzzzzzzzr', 'rzzzzzzzzzzzzzzr'].map((pattern) =>
      Buffer.concat(framesOf(guestOf(pattern, 64 * 1024), 0)),
    ),
    most: 12 * 1024,
    run(input) {
      const reader = readerFor(memory)
      let ended: number[] = []
      try {
        ended = feed(reader, input, () => portions[input.length % portions.length] as number)
      } catch (error) {
        if (!(error instanceof GodwitError) || error.code === 'internal') throw error
        return `${error.code}: ${error.message.replace(/\d+/g, 'n')}`
      }
      return `${ended.length} rounds, ${reader.betweenFrames ? 'between frames' : 'in a frame'}`
    },
  }
}
