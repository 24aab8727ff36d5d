// Pages taken one by one and in runs, by one thread against a model and by several threads at once.

import { once } from 'node:events'
import { Worker } from 'node:worker_threads'
import fc from 'fast-check'
import { expect, it } from 'vitest'
import { THREAD_BLOCK } from '../../src/guest/layout.ts'
import { GuestMemory } from '../../src/guest/memory.ts'
import { addPage, clearAll, countBits, fillAll, hasPage, returnPage, takePage } from '../../src/guest/page-set.ts'
import { takeDown, takeUp } from '../../src/guest/take-pages.ts'
import { loadKernels } from '../../src/kernels/kernels.ts'
import { seeded } from '../kernels/memory-fixture.ts'
import type { TakeOrder } from './take-thread.ts'

it('takes a page once until it is returned, and leaves its neighbours', () => {
  const memory = GuestMemory.create(64 * 4096, 1)
  const { toSend } = memory.layout
  for (const page of [0, 30, 31, 32, 63]) {
    clearAll(memory, toSend)
    expect(hasPage(memory, toSend, page)).toBe(false)
    expect(takePage(memory, toSend, page)).toBe(false)
    fillAll(memory, toSend)
    expect(hasPage(memory, toSend, page)).toBe(true)
    expect(takePage(memory, toSend, page)).toBe(true)
    expect(takePage(memory, toSend, page)).toBe(false)
    expect(countBits(memory, toSend)).toBe(63)
    returnPage(memory, toSend, page)
    expect(takePage(memory, toSend, page)).toBe(true)
  }
})

it('takes runs like the model, upwards and downwards', () => {
  const memories = [16, 208, 1024].map((pages) => GuestMemory.create(pages * 4096, 1))
  const kernels = memories.map(loadKernels)
  const cases = fc.nat(memories.length - 1).chain((size) => {
    const count = memories[size]?.layout.pageCount ?? 0
    const all = Array.from({ length: count }, (_, page) => page)
    return fc.record({
      size: fc.constant(size),
      pages: fc.oneof(fc.subarray(all), fc.constant(all), fc.uniqueArray(fc.nat(count - 1), { maxLength: 8 })),
      edge: fc.nat(count),
      max: fc.integer({ min: 0, max: 256 }),
      up: fc.boolean(),
    })
  })
  fc.assert(
    fc.property(cases, ({ size, pages, edge, max, up }) => {
      const memory = memories[size] as GuestMemory
      const { toSend, threadBlocks, pageCount } = memory.layout
      const list = (threadBlocks + THREAD_BLOCK.list) / 4
      clearAll(memory, toSend)
      for (const page of pages) addPage(memory, toSend, page)
      const sorted = pages.toSorted((a, b) => a - b)
      const there = up ? sorted.filter((page) => page >= edge) : sorted.filter((page) => page < edge)
      const expected = up ? there.slice(0, max) : there.slice(Math.max(0, there.length - max))
      const { count, edge: next } = up
        ? takeUp(memory, kernels[size] as ReturnType<typeof loadKernels>, toSend, edge, max, list)
        : takeDown(memory, toSend, edge, max, list)
      expect([...memory.controlWords.subarray(list, list + count)]).toEqual(expected)
      const left = sorted.filter((page) => !expected.includes(page))
      expect(countBits(memory, toSend)).toBe(left.length)
      for (const page of left) expect(hasPage(memory, toSend, page)).toBe(true)
      // Nothing lies between the old edge and the new one.
      if (up) expect(left.some((page) => page >= edge && page < next)).toBe(false)
      else expect(left.some((page) => page < edge && page >= next)).toBe(false)
      if (count < max) expect(next).toBe(up ? pageCount : 0)
    }),
    seeded(500),
  )
})

it('gives every page to exactly one of three threads', async () => {
  const memory = GuestMemory.create(64 * 2 ** 20, 1)
  const { toSend, pageCount } = memory.layout
  fillAll(memory, toSend)
  const taken = new SharedArrayBuffer(pageCount)
  const common = { shared: memory.shared, taken, ready: new SharedArrayBuffer(4), threads: 3 }
  const workers = (['single', 'up', 'down'] as const).map((how, lane) => {
    const workerData: TakeOrder = { ...common, how, lane }
    return new Worker(new URL('./take-thread.ts', import.meta.url), { workerData })
  })
  const got = await Promise.all(workers.map(async (worker) => (await once(worker, 'message'))[0] as number))
  expect(got.reduce((a, b) => a + b)).toBe(pageCount)
  expect(new Uint8Array(taken).every((count) => count === 1)).toBe(true)
  expect(countBits(memory, toSend)).toBe(0)
})
