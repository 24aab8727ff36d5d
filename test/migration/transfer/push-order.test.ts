// The push orders: no page twice and none left, whatever the faults; the way each order goes; and the gates G2.4 and G2.5
// on the model of push-model.ts.

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { THREAD_BLOCK } from '../../../src/guest/layout.ts'
import { GuestMemory } from '../../../src/guest/memory.ts'
import { addPage, clearAll, countBits, fillAll, returnPage, takePage } from '../../../src/guest/page-set.ts'
import { loadKernels } from '../../../src/kernels/kernels.ts'
import { PUSH_ORDERS, type PushOrderName } from '../../../src/migration/settings.ts'
import { clearWriteCounts, countWrites } from '../../../src/migration/transfer/least-written.ts'
import { createPushOrder, noteFault, resetPushOrder } from '../../../src/migration/transfer/push-order.ts'
import { seeded } from '../../kernels/memory-fixture.ts'
import { modelPull } from './push-model.ts'

const memories = [16, 208, 1024].map((pages) => GuestMemory.create(pages * 4096, 1))

const range = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, index) => from + index)

/** A guest with these pages to send, and an order over it. */
function setUp(name: PushOrderName, memory: GuestMemory, pages: Iterable<number>, pivot = 0) {
  const { toSend, threadBlocks } = memory.layout
  const list = threadBlocks + THREAD_BLOCK.list
  clearAll(memory, toSend)
  for (const page of pages) addPage(memory, toSend, page)
  clearWriteCounts(memory)
  resetPushOrder(memory, pivot)
  // Two lanes with an order each: what they share is in the control memory.
  const kernels = loadKernels(memory)
  const lanes = [createPushOrder(name, memory, kernels), createPushOrder(name, memory, kernels)]
  let turn = 0
  const next = (max: number): number[] => {
    memory.controlWords.fill(-7, list / 4, list / 4 + 300)
    const count = lanes[turn++ % 2]?.select(max, list) ?? 0
    // Nothing is written behind the list that was asked for.
    expect(memory.controlWords[list / 4 + max]).toBe(-7)
    return [...memory.controlWords.subarray(list / 4, list / 4 + count)]
  }
  return { next, memory, toSend }
}

/** What happens between two batches: the next batch's size, and pages asked for or returned before it. */
const turns = fc.array(
  fc.record({
    max: fc.integer({ min: 1, max: 256 }),
    asked: fc.array(fc.nat(), { maxLength: 6 }),
    returned: fc.boolean(),
  }),
  { minLength: 1, maxLength: 12 },
)
const cases = fc.nat(memories.length - 1).chain((size) => {
  const all = range(0, (memories[size] as GuestMemory).layout.pageCount)
  const pages = fc.oneof(
    fc.subarray(all),
    fc.constant(all),
    fc.uniqueArray(fc.nat(all.length - 1), { maxLength: 12 }),
    fc.tuple(fc.nat(all.length), fc.nat(all.length)).map(([a, b]) => all.slice(Math.min(a, b), Math.max(a, b))),
  )
  return fc.record({
    size: fc.constant(size),
    pages,
    turns,
    pivot: fc.nat(all.length - 1),
    written: fc.subarray(all),
  })
})

describe.each(PUSH_ORDERS)('%s', (name) => {
  it('takes every page once, leaves none, and lists neighbours together', () => {
    fc.assert(
      fc.property(cases, ({ size, pages, turns, pivot, written }) => {
        const memory = memories[size] as GuestMemory
        const { next, toSend } = setUp(name, memory, pages, pivot)
        clearAll(memory, memory.layout.dirty)
        for (const page of written) addPage(memory, memory.layout.dirty, page)
        for (let round = 0; round < pivot % 5; round++) countWrites(memory, memory.layout.dirty)
        const left = new Set(pages)
        let anyReturned = false
        // The others list a stretch for each bubble, or for each level.
        const isOneStretch = name === 'around-the-fault' || name === 'linear'
        const take = (page: number): void => expect(left.delete(page)).toBe(true)
        for (let turn = 0; left.size > 0; turn++) {
          const { max, asked, returned } = turns[turn % turns.length] as (typeof turns)[number]
          for (const number of asked) {
            const page = number % memory.layout.pageCount
            if (takePage(memory, toSend, page)) take(page)
            noteFault(memory, page)
          }
          const batch = next(max)
          // Not full only when none are left, or when what was returned lies behind the edges.
          if (anyReturned) expect(batch.length).toBeGreaterThanOrEqual(Math.min(1, left.size))
          else expect(batch.length).toBe(Math.min(max, left.size))
          batch.forEach(take)
          if (isOneStretch) expect(batch).toEqual(batch.toSorted((a, b) => a - b))
          const page = batch[0]
          if (returned && turn < turns.length && page !== undefined) {
            returnPage(memory, toSend, page)
            left.add(page)
            anyReturned = true
          }
          expect(countBits(memory, toSend)).toBe(left.size)
        }
        expect(next(16)).toEqual([])
      }),
      seeded(400),
    )
  })
})

describe('the way', () => {
  const memory = memories[2] as GuestMemory
  const all = range(0, 1024)

  it('linear goes up from page 0 and ignores faults', () => {
    const { next } = setUp('linear', memory, all, 500)
    expect(next(4)).toEqual([0, 1, 2, 3])
    noteFault(memory, 700)
    expect(next(2)).toEqual([4, 5])
  })

  it('around-the-fault goes up first, then both ways from the latest fault, then where something is left', () => {
    const { next } = setUp('around-the-fault', memory, all)
    expect(next(4)).toEqual([0, 1, 2, 3])
    takePage(memory, memory.layout.toSend, 700)
    noteFault(memory, 300)
    noteFault(memory, 700)
    expect(next(4)).toEqual([698, 699, 701, 702])
    expect(next(5)).toEqual([696, 697, 703, 704, 705])
    noteFault(memory, 1022)
    expect(next(8)).toEqual(range(1016, 1024))
    expect(next(4)).toEqual(range(1012, 1016))
    noteFault(memory, 4)
    expect(next(4)).toEqual(range(4, 8))
  })

  it('least-written goes by levels 0, 1, 2–3 and more', () => {
    const { next, memory: guest } = setUp('least-written', memory, range(0, 12))
    const { dirty } = guest.layout
    for (const [page, writes] of [0, 4, 1, 0, 3, 2, 1, 255, 5, 0].entries()) {
      for (let write = 0; write < writes + (writes === 255 ? 10 : 0); write++) {
        clearAll(guest, dirty)
        addPage(guest, dirty, page)
        countWrites(guest, dirty)
      }
    }
    expect(guest.controlBytes[guest.layout.scanHashes + 7]).toBe(255)
    expect(next(256)).toEqual([0, 3, 9, 10, 11, 2, 6, 4, 5, 1, 7, 8].slice(0, 12))
  })

  it('least-written without counts is linear', () => {
    const { next } = setUp('least-written', memory, all)
    expect(next(256)).toEqual(range(0, 256))
    expect(next(256)).toEqual(range(256, 512))
  })

  it('several-pivots gives each of four bubbles its share, and a near fault moves its own', () => {
    const { next } = setUp('several-pivots', memory, all)
    for (const page of [100, 300, 500, 700]) noteFault(memory, page)
    // The bubble at page 0 was the oldest.
    expect(next(16)).toEqual([...range(698, 702), ...range(498, 502), ...range(298, 302), ...range(98, 102)])
    noteFault(memory, 320)
    expect(next(8)).toEqual([319, 320, 697, 702, 497, 502, 97, 102])
    noteFault(memory, 900)
    // 100 was the oldest.
    expect(next(4).map((page) => Math.round(page / 100) * 100)).toEqual([900, 300, 700, 500])
  })

  it('passes over long empty stretches', () => {
    const { next } = setUp('around-the-fault', memory, [3, 1020], 512)
    expect(next(256)).toEqual([3, 1020])
  })
})

describe('model', () => {
  const local4 = { pages: 8192, streams: 4, jump: 0.005, pageTimesPerStep: 1 }
  const local8 = { pages: 8192, streams: 8, jump: 0.0005, pageTimesPerStep: 8 }
  const seeds = range(1, 11)
  function total(guest: typeof local4, order: PushOrderName, batchPages: number) {
    const results = seeds.map((seed) => modelPull({ ...guest, order, batchPages, seed }))
    // G2.1: every page once.
    for (const { sent } of results) expect(sent).toBe(guest.pages)
    const sum = (of: 'faults' | 'touched'): number => results.reduce((all, result) => all + result[of], 0)
    return { faults: sum('faults'), touched: sum('touched') }
  }

  it.each([16, 64])('G2.4: faults of LOCAL-4 with batches of %i pages', (batchPages) => {
    const linear = total(local4, 'linear', batchPages)
    const around = total(local4, 'around-the-fault', batchPages)
    expect(around.faults).toBeLessThanOrEqual(0.5 * linear.faults)
    expect(around.faults).toBeLessThanOrEqual(0.21 * around.touched)
  })

  it('G2.5: several pivots pay for LOCAL-8 with a slow guest', () => {
    const single = total(local8, 'around-the-fault', 64)
    expect(total(local8, 'several-pivots', 64).faults).toBeLessThanOrEqual(0.8 * single.faults)
  })
})

it('takes single pages and batches of one bitmap fully', () => {
  const memory = memories[0] as GuestMemory
  fillAll(memory, memory.layout.toSend)
  resetPushOrder(memory)
  expect(takePage(memory, memory.layout.toSend, 3)).toBe(true)
  expect(takePage(memory, memory.layout.toSend, 3)).toBe(false)
  const order = createPushOrder('linear', memory, loadKernels(memory))
  expect(order.select(256, memory.layout.threadBlocks + THREAD_BLOCK.list)).toBe(15)
})
