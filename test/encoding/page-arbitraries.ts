// Pages with and without structure, for the property tests of page codecs and of the classifier.

import fc from 'fast-check'
import { CONTENTS, fillPage, type PageKind, pageKind } from '../../src/programs/contents.ts'
import { PAGE_BYTES } from '../kernels/memory-fixture.ts'

const WORDS = PAGE_BYTES / 4
export const bytesOf = (words: Uint32Array): Uint8Array => new Uint8Array(words.buffer, words.byteOffset, PAGE_BYTES)

/** A small generator, so that a page is a few numbers in a counterexample. */
function drawing(seed: number): () => number {
  let x = seed | 1
  return () => {
    x ^= x << 13
    x ^= x >>> 17
    x ^= x << 5
    return x >>> 0
  }
}
const made = (word: (index: number, draw: () => number) => number, seed = 1): Uint8Array => {
  const draw = drawing(seed)
  return bytesOf(Uint32Array.from({ length: WORDS }, (_, index) => word(index, draw)))
}

/** The mutator's pages, by content and page number. */
export function contentPage(content: (typeof CONTENTS)[number], page: number): { kind: PageKind; bytes: Uint8Array } {
  const words = new Uint32Array((page + 1) * WORDS)
  fillPage(new Uint8Array(words.buffer), words, content, 7, page)
  return { kind: pageKind(content, 7, page), bytes: bytesOf(words.slice(page * WORDS)) }
}

const word = fc.oneof(
  fc.constantFrom(0, 1, 0x3ff, 0x400, 0x7fffffff, 0x80000000, 0xffffffff),
  fc.integer({ min: 0, max: 0xffffffff }),
)
const seed = fc.integer()
const columns = fc.array(
  fc.record({ base: word, shift: fc.nat(31), width: fc.nat(32), outlier: fc.boolean(), at: fc.nat(255) }),
  { minLength: 4, maxLength: 4 },
)

export const anyPage: fc.Arbitrary<Uint8Array> = fc.oneof(
  fc.tuple(fc.constantFrom(...CONTENTS), fc.nat(60)).map(([content, page]) => contentPage(content, page).bytes),
  fc.constant(new Uint8Array(PAGE_BYTES)),
  fc.array(word, { minLength: 1, maxLength: 24 }).map((few) => made((index) => few[index % few.length] as number)),
  // Few words in any order, and nearly those.
  fc
    .tuple(fc.array(word, { minLength: 1, maxLength: 24 }), fc.nat(1023), seed)
    .map(([few, near, start]) => made((_, draw) => (few[draw() % few.length] as number) ^ (draw() & near), start)),
  // Words of every tag of WKdm.
  seed.map((start) =>
    made((_, draw) => [0, 0x40001000 | (draw() & 1023), 0x7ffff000, draw()][draw() & 3] as number, start),
  ),
  // Pointers, counters, columns of every shift and width.
  fc
    .tuple(word, seed)
    .map(([heap, start]) => made((index, draw) => (index & 1 ? 0x7f3a : heap + (draw() & 0xffff8)), start)),
  fc.tuple(word, fc.integer({ min: -9, max: 9 })).map(([first, step]) => made((index) => first + step * index)),
  fc.tuple(columns, seed).map(([all, start]) =>
    made((index, draw) => {
      const { base, shift, width, outlier, at } = all[index % 4] as (typeof all)[number]
      if (outlier && index >> 2 === at) return draw()
      return base + (width === 0 ? 0 : (draw() >>> (32 - width)) << shift)
    }, start),
  ),
  seed.map((start) => made((_, draw) => draw(), start)),
)
