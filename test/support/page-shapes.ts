// Pages with structure for the tests of encodings. A page is a small value, so that a counterexample reads well; a pair
// of versions is a page and a second one that says what changed (new = old XOR change).

import fc from 'fast-check'
import { PAGE_BYTES } from '../kernels/memory-fixture.ts'

export type Shape =
  /** One 64-bit word all over; 0: a zero page. */
  | { kind: 'word'; word: bigint }
  /** Every `step`-th byte. */
  | { kind: 'stride'; first: number; step: number }
  /** Leave so many bytes, set so many, and again, up to the page's end. */
  | { kind: 'spans'; spans: [leave: number, length: number][] }
  /** Every byte random; a random byte is zero once in 256. */
  | { kind: 'random'; seed: number }
  /** No byte is zero. */
  | { kind: 'full'; seed: number }

/** A generator of 32-bit numbers (xorshift): fast, and the same for a seed. */
export function numbers(seed: number): () => number {
  let state = (seed ^ 0x9e3779b9) | 1
  return () => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return state >>> 0
  }
}

/** The 4,096 bytes of a shape. */
export function pageOf(shape: Shape): Uint8Array {
  const page = new Uint8Array(PAGE_BYTES)
  if (shape.kind === 'word') new BigUint64Array(page.buffer).fill(shape.word)
  if (shape.kind === 'stride') for (let at = shape.first; at < PAGE_BYTES; at += shape.step) page[at] = 1 + (at % 255)
  if (shape.kind === 'spans') {
    let at = 0
    for (const [leave, length] of shape.spans) {
      for (let index = at + leave; index < at + leave + length && index < PAGE_BYTES; index++) {
        page[index] = 1 + (index % 251)
      }
      at += leave + length
    }
  }
  if (shape.kind === 'random' || shape.kind === 'full') {
    const next = numbers(shape.seed)
    for (let at = 0; at < PAGE_BYTES; at++) page[at] = shape.kind === 'full' ? 1 + (next() % 255) : next() & 255
  }
  return page
}

/** The new version of a page. */
export const changed = (old: Uint8Array, change: Shape): Uint8Array => {
  const mask = pageOf(change)
  return old.map((byte, at) => byte ^ (mask[at] ?? 0))
}

/** Lengths at which something happens: gaps that close, lengths of one or two bytes, words of the map, vectors. */
const length = fc.oneof(
  { weight: 4, arbitrary: fc.integer({ min: 1, max: 5 }) },
  { weight: 2, arbitrary: fc.constantFrom(8, 15, 16, 17, 31, 32, 33, 63, 64, 65, 126, 127, 128, 129, 1000, 4000) },
  { weight: 1, arbitrary: fc.nat(4096) },
)
const spans = fc.array(fc.tuple(length, length), { minLength: 1, maxLength: 40 })

export const anyShape: fc.Arbitrary<Shape> = fc.oneof(
  { weight: 1, arbitrary: fc.constant<Shape>({ kind: 'word', word: 0n }) },
  { weight: 1, arbitrary: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }).map((word): Shape => ({ kind: 'word', word })) },
  {
    weight: 2,
    arbitrary: fc.record({
      kind: fc.constant('stride' as const),
      first: fc.oneof(fc.constantFrom(0, 1, 63, 64, 4095), fc.nat(4095)),
      step: fc.oneof(fc.constantFrom(2, 3, 4, 5, 8, 512, 4096), fc.integer({ min: 1, max: 4096 })),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.tuple(spans, fc.boolean()).map(
      ([all, fromStart]): Shape => ({
        kind: 'spans',
        spans: all.map(([leave, bytes], index) => [fromStart && index === 0 ? 0 : leave, bytes]),
      }),
    ),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('random' as const), seed: fc.nat() }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('full' as const), seed: fc.nat() }) },
)
