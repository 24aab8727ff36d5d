// Pins what the standard guests hold: how far lz4 shrinks a page of each kind, the mixes' shares, and that a page is a
// function of seed and number alone.

import { compressSync } from 'lz4-napi'
import { describe, expect, test } from 'vitest'
import { type Content, contentSeed, fillPage, type PageKind, pageKind, valueFor } from '../../src/programs/contents.ts'

const PAGES = 4000
const PAGE_BYTES = 4096

function filled(content: Content, seed: number, pages = PAGES): Uint8Array {
  const bytes = new Uint8Array(pages * PAGE_BYTES)
  const words = new Uint32Array(bytes.buffer)
  for (let page = 0; page < pages; page++) fillPage(bytes, words, content, seed, page)
  return bytes
}
const pageOf = (bytes: Uint8Array, page: number): Buffer =>
  Buffer.from(bytes.buffer, page * PAGE_BYTES, PAGE_BYTES) as Buffer

/** Ratio of each page by lz4 on its own, without the 4 bytes of length that lz4-napi puts in front. */
function ratios(bytes: Uint8Array, pages: number[]): number[] {
  return pages.map((page) => PAGE_BYTES / (compressSync(pageOf(bytes, page)).length - 4))
}
const pagesOfKind = (content: Content, seed: number, kind: PageKind): number[] =>
  Array.from({ length: PAGES }, (_, page) => page).filter((page) => pageKind(content, seed, page) === kind)
const mean = (values: number[]): number => values.reduce((sum, value) => sum + value, 0) / values.length

describe('lz4 of a 4 KiB page', () => {
  const mixed = filled('mix', 3)
  const text = pagesOfKind('mix', 3, 'text').slice(0, 300)
  const integers = pagesOfKind('mix', 3, 'integers').slice(0, 300)
  const random = pagesOfKind('mix', 3, 'random').slice(0, 300)

  test('text 2.5–3.5×, every page', () => {
    const all = ratios(mixed, text)
    expect(Math.min(...all)).toBeGreaterThanOrEqual(2.5)
    expect(Math.max(...all)).toBeLessThanOrEqual(3.5)
  })

  test('integers and pointers below 1.4', () => {
    expect(Math.max(...ratios(mixed, integers))).toBeLessThan(1.4)
  })

  test('random 1.00', () => {
    expect(mean(ratios(mixed, random))).toBeCloseTo(1, 2)
  })
})

describe('shares', () => {
  const share = (content: Content, kind: PageKind): number => pagesOfKind(content, 5, kind).length / PAGES

  test('mix', () => {
    expect(share('mix', 'zero')).toBeCloseTo(0.3, 1)
    expect(share('mix', 'sparse')).toBeCloseTo(0.1, 1)
    expect(share('mix', 'integers')).toBeCloseTo(0.3, 1)
    expect(share('mix', 'text')).toBeCloseTo(0.2, 1)
    expect(share('mix', 'random')).toBeCloseTo(0.1, 1)
  })

  test('a nearly zero page has at least 90 % zero bytes', () => {
    const bytes = filled('mix', 5)
    for (const page of pagesOfKind('mix', 5, 'sparse')) {
      const zeroes = pageOf(bytes, page).filter((byte) => byte === 0).length
      expect(zeroes / PAGE_BYTES).toBeGreaterThanOrEqual(0.9)
    }
  })

  test('dup: 40 % of the pages that are not zero duplicate another', () => {
    const bytes = filled('dup', 5)
    const counts = new Map<string, number>()
    const keys = Array.from({ length: PAGES }, (_, page) => pageOf(bytes, page).toString('latin1'))
    for (const key of keys) counts.set(key, (counts.get(key) ?? 0) + 1)
    const zero = '\0'.repeat(PAGE_BYTES)
    const others = keys.filter((key) => key !== zero)
    const duplicates = others.filter((key) => (counts.get(key) as number) > 1)
    expect(duplicates.length / others.length).toBeGreaterThan(0.36)
    expect(duplicates.length / others.length).toBeLessThan(0.44)
  })

  test('mix: no two pages are alike but zero ones', () => {
    const bytes = filled('mix', 5)
    const others = Array.from({ length: PAGES }, (_, page) => page).filter(
      (page) => pageKind('mix', 5, page) !== 'zero',
    )
    expect(new Set(others.map((page) => pageOf(bytes, page).toString('latin1'))).size).toBe(others.length)
  })
})

test.each(['random', 'text', 'mix', 'dup'] as const)('%s: a page depends on seed and number alone', (content) => {
  const [small, large, other] = [filled(content, 9, 64), filled(content, 9, 200), filled(content, 10, 64)]
  expect(Buffer.compare(small, large.subarray(0, small.length))).toBe(0)
  expect(Buffer.compare(small, other)).not.toBe(0)
})

test('written values keep the kind of their page, and are never 0', () => {
  for (const random of [0, 1, 0xffffffff, 0x12345678]) {
    expect(valueFor('integers', random)).toBeLessThan(2 ** 20)
    for (const shift of [0, 8, 16, 24]) expect((valueFor('text', random) >>> shift) & 0xf0).toBe(0x60)
    for (const kind of ['zero', 'sparse', 'integers', 'text', 'random'] as const) {
      expect(valueFor(kind, random)).toBeGreaterThan(0)
    }
  }
})

describe('contents in common', () => {
  const SHARE = 0.6
  const guest = (seed: number): Uint8Array => {
    const bytes = new Uint8Array(PAGES * PAGE_BYTES)
    const words = new Uint32Array(bytes.buffer)
    for (let page = 0; page < PAGES; page++) fillPage(bytes, words, 'mix', contentSeed(seed, SHARE, page), page)
    return bytes
  }

  test('are the same in guests of any seed, and the rest is not', () => {
    const [one, other] = [guest(1), guest(2)]
    const zero = Buffer.alloc(PAGE_BYTES)
    const pages = Array.from({ length: PAGES }, (_, page) => page).filter((page) => !pageOf(one, page).equals(zero))
    const common = pages.filter((page) => pageOf(one, page).equals(pageOf(other, page)))
    expect(common.length / pages.length).toBeGreaterThan(SHARE - 0.03)
    expect(common.length / pages.length).toBeLessThan(SHARE + 0.03)
    for (const page of common) expect(contentSeed(1, SHARE, page)).toBe(contentSeed(2, SHARE, page))
  })

  test('are none, or all, where the share says so', () => {
    for (let page = 0; page < 100; page++) {
      expect(contentSeed(7, 0, page)).toBe(7)
      expect(contentSeed(7, 1, page)).toBe(contentSeed(8, 1, page))
    }
  })
})
