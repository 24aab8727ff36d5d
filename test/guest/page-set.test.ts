// Page sets against a naive model of JavaScript sets.

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { GuestMemory } from '../../src/guest/memory.ts'
import {
  addPage,
  bitmapOf,
  clearAll,
  countBits,
  fillAll,
  isNamed,
  mergeInto,
  pageFrom,
  selectBatch,
} from '../../src/guest/page-set.ts'
import { type Kernels, loadKernels } from '../../src/kernels/kernels.ts'
import { seeded } from '../kernels/memory-fixture.ts'

// 16 pages are half a word: the smallest guest; 208 end in the middle of a word, 256 at its end.
const memories = new Map([16, 208, 256].map((pages) => [pages, GuestMemory.create(pages * 4096, 1)]))
const memoryOf = (pages: number): GuestMemory => memories.get(pages) as GuestMemory
const kernels = new Map([...memories].map(([pages, memory]) => [pages, loadKernels(memory)]))
const kernelsOf = (pages: number): Kernels => kernels.get(pages) as Kernels
const sizes = fc.constantFrom(...memories.keys())

const read = (memory: GuestMemory, offset: number): number[] => {
  const pages: number[] = []
  // Beyond the last page too: nothing may ever be set there.
  for (let page = 0; page < Math.ceil(memory.layout.pageCount / 32) * 32; page++) {
    if ((memory.controlBytes[offset + (page >> 3)] ?? 0) & (1 << (page & 7))) pages.push(page)
  }
  return pages
}
const write = (memory: GuestMemory, offset: number, pages: Iterable<number>): void => {
  clearAll(memory, offset)
  for (const page of pages) addPage(memory, offset, page)
}
/** A guest size with two sets of its pages, dense or sparse. */
const cases = sizes.chain((pages) => {
  const set = fc.oneof(
    fc.uniqueArray(fc.nat(pages - 1), { maxLength: 12 }),
    fc.subarray(Array.from({ length: pages }, (_, page) => page)),
    fc.constant(Array.from({ length: pages }, (_, page) => page)),
  )
  return fc.record({ pages: fc.constant(pages), first: set, second: set, from: fc.nat(pages + 40) })
})

describe('sets', () => {
  it('fill, count and clear touch exactly the guest', () => {
    for (const [pages, memory] of memories) {
      const { toSend, dirty } = memory.layout
      write(memory, dirty, [])
      fillAll(memory, toSend)
      expect(countBits(memory, toSend)).toBe(pages)
      expect(read(memory, toSend)).toEqual(Array.from({ length: pages }, (_, page) => page))
      expect(countBits(memory, dirty)).toBe(0)
      clearAll(memory, toSend)
      expect(countBits(memory, toSend)).toBe(0)
    }
  })

  it('as they travel, are walked page by page', () => {
    fc.assert(
      fc.property(cases, ({ pages, first }) => {
        const bitmap = bitmapOf(first, pages)
        const walked: number[] = []
        for (let page = pageFrom(bitmap, 0); page !== -1; page = pageFrom(bitmap, page + 1)) walked.push(page)
        expect(walked).toEqual(first.toSorted((a, b) => a - b))
        for (let page = 0; page < pages; page++) expect(isNamed(bitmap, page)).toBe(first.includes(page))
      }),
    )
  })

  it('merge is union and empties the source', () => {
    fc.assert(
      fc.property(cases, ({ pages, first, second }) => {
        const memory = memoryOf(pages)
        const { toSend, dirty } = memory.layout
        write(memory, toSend, first)
        write(memory, dirty, second)
        expect(countBits(memory, dirty)).toBe(second.length)
        mergeInto(memory, toSend, dirty)
        const union = [...new Set([...first, ...second])].sort((a, b) => a - b)
        expect(read(memory, toSend)).toEqual(union)
        expect(countBits(memory, toSend)).toBe(union.length)
        expect(read(memory, dirty)).toEqual([])
      }),
      seeded(500),
    )
  })
})

describe('selectBatch', () => {
  /** The same with sets and arrays. */
  function model(
    pages: number,
    set: Set<number>,
    { cards, free }: { cards: Set<number> | null; free: Set<number> | null },
    from: number,
    max: number,
  ) {
    const list: number[] = []
    let [skipped, freed] = [0, 0]
    let nextPage = Math.min(from, pages)
    for (let page = from; page < pages && list.length < max; page++) {
      if (!set.has(page)) continue
      set.delete(page)
      nextPage = page + 1
      if (free?.has(page)) freed++
      else if (cards?.has(page)) skipped++
      else list.push(page)
    }
    return { list, skipped, freed, nextPage: list.length < max ? pages : nextPage }
  }

  it('equals the model for any set, cards, free map, start and size', () => {
    const size = fc.constantFrom(0, 1, 2, 31, 32, 33, 256)
    const more = fc.record({ peek: fc.boolean(), elide: fc.boolean(), freePages: fc.uniqueArray(fc.nat(255)) })
    fc.assert(
      fc.property(cases, size, more, ({ pages, first, second, from }, max, { peek, elide, freePages }) => {
        const memory = memoryOf(pages)
        const { toSend, cards, free, threadBlocks } = memory.layout
        const isFree = freePages.filter((page) => page < pages)
        memory.free.fill(0)
        for (const page of isFree) memory.free[page] = 1
        write(memory, toSend, first)
        memory.controlBytes.fill(0, cards[1], cards[1] + pages)
        for (const page of second) memory.controlBytes[cards[1] + page] = 1 + (page % 255)
        const set = new Set(first)
        const expected = model(
          pages,
          set,
          { cards: peek ? new Set(second) : null, free: elide ? new Set(isFree) : null },
          from,
          max,
        )
        const answer = selectBatch(memory, kernelsOf(pages), {
          bitmapOffset: toSend,
          fromPage: from,
          max,
          peekCardsOffset: peek ? cards[1] : null,
          freeOffset: elide ? free : null,
          listOffset: threadBlocks + 4096,
        })
        const list = (threadBlocks + 4096) / 4
        expect([...memory.controlWords.subarray(list, list + answer.count)]).toEqual(expected.list)
        const { skipped, freed, nextPage } = expected
        expect(answer).toEqual({ count: expected.list.length, skipped, freed, nextPage })
        expect(read(memory, toSend)).toEqual([...set].sort((a, b) => a - b))
      }),
      seeded(1000),
    )
  })

  it('batch after batch takes every page once', () => {
    fc.assert(
      fc.property(cases, fc.integer({ min: 1, max: 40 }), ({ pages, first, second }, max) => {
        const memory = memoryOf(pages)
        const { toSend, cards, threadBlocks } = memory.layout
        write(memory, toSend, first)
        memory.controlBytes.fill(0, cards[0], cards[0] + pages)
        for (const page of second) memory.controlBytes[cards[0] + page] = 1
        const order = {
          bitmapOffset: toSend,
          fromPage: 0,
          max,
          peekCardsOffset: cards[0],
          freeOffset: null,
          listOffset: threadBlocks + 4096,
        }
        const taken: number[] = []
        let skipped = 0
        while (order.fromPage < pages) {
          const answer = selectBatch(memory, kernelsOf(pages), order)
          for (let index = 0; index < answer.count; index++) {
            taken.push(memory.controlWords[order.listOffset / 4 + index] ?? -1)
          }
          skipped += answer.skipped
          order.fromPage = answer.nextPage
        }
        const dirty = new Set(second)
        expect(taken).toEqual(first.filter((page) => !dirty.has(page)).sort((a, b) => a - b))
        expect(skipped).toBe(first.length - taken.length)
        expect(countBits(memory, toSend)).toBe(0)
      }),
      seeded(500),
    )
  })
})
