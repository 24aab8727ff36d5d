// Spans and runs against the same done page by page.

import { expect, test } from 'vitest'
import {
  fillSpans,
  firstSet,
  hasPageIn,
  pagesOf,
  raise,
  replaceIn,
  spansOf,
  splitSpans,
} from '../../../src/migration/exchange/page-runs.ts'
import { SEED } from '../../programs/guest-fixture.ts'
import { Random } from '../../simulation/random.ts'

const PAGES = 192
const all = [...new Uint8Array(PAGES).keys()]
const random = new Random(SEED)

/** Pages of a bitmap that begins at word 1; `share` in eighths. */
function bitmapOf(share: number): { words: Int32Array; has: boolean[] } {
  const words = new Int32Array(1 + PAGES / 32)
  const has = all.map(() => random.below(8) < share)
  for (const page of all) {
    if (has[page]) words[1 + (page >>> 5)] = (words[1 + (page >>> 5)] as number) | (1 << (page & 31))
  }
  return { words, has }
}

const pagesIn = (spans: Uint32Array): number[] => all.filter((page) => hasPageIn(spans, page))

test.each([0, 1, 4, 7, 8])('spans of a bitmap, %i eighths full', (share) => {
  console.log(`GODWIT_SEED=${SEED}`)
  const { words, has } = bitmapOf(share)
  const spans = spansOf(words, 1, PAGES / 32)
  expect(pagesIn(spans)).toEqual(all.filter((page) => has[page]))
  // None touches the next.
  for (let at = 2; at < spans.length; at += 2) {
    expect(spans[at]).toBeGreaterThan((spans[at - 2] as number) + (spans[at - 1] as number))
  }
})

test.each([0, 1, 4, 7, 8])('spans are split by a bitmap, %i eighths full', (share) => {
  const whole = bitmapOf(6)
  const { words, has } = bitmapOf(share)
  const spans = spansOf(whole.words, 1, PAGES / 32)
  const { inside, outside } = splitSpans(words, 1, spans)
  expect(pagesIn(inside)).toEqual(all.filter((page) => whole.has[page] && has[page]))
  expect(outside).toEqual(all.filter((page) => whole.has[page] && !has[page]))
})

test('pages go in their next generations, a run for each stretch that is alike', () => {
  const generations = Uint32Array.from(all, (page) => (page < 100 ? 1 : 3))
  const runs = raise(generations, Uint32Array.of(10, 5, 90, 20), 2)
  expect([...runs]).toEqual([10, 5, 2, 2, 90, 10, 2, 2, 100, 10, 4, 2])
  expect(pagesOf(runs)).toBe(25)
  const raised = (page: number): boolean => (page >= 10 && page < 15) || (page >= 90 && page < 110)
  expect([...generations]).toEqual(all.map((page) => (page < 100 ? 1 : 3) + (raised(page) ? 1 : 0)))
})

test('bytes of spans and runs, long and short', () => {
  const bytes = new Uint8Array(PAGES)
  fillSpans(bytes, 3, Uint32Array.of(1, 2, 50, 100))
  expect(all.filter((page) => bytes[page] === 3)).toEqual(
    all.filter((page) => page === 1 || page === 2 || (page >= 50 && page < 150)),
  )
  const runs = Uint32Array.of(0, 2, 1, 1, 149, 2, 1, 1)
  expect(firstSet(bytes, runs)).toBe(1)
  replaceIn(bytes, 3, 5, runs)
  expect([bytes[0], bytes[1], bytes[2], bytes[149], bytes[150]]).toEqual([0, 5, 3, 5, 0])
  fillSpans(bytes, 0, runs, 4)
  expect(firstSet(bytes, runs)).toBe(-1)
})
