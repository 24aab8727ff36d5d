// A thread of take-pages.test.ts: takes pages of one set while another does, and counts each page it got.

import { parentPort, workerData } from 'node:worker_threads'
import { THREAD_BLOCK } from '../../src/guest/layout.ts'
import { GuestMemory, type SharedGuestMemory } from '../../src/guest/memory.ts'
import { takePage } from '../../src/guest/page-set.ts'
import { takeDown, takeUp } from '../../src/guest/take-pages.ts'
import { loadKernels } from '../../src/kernels/kernels.ts'
import { BATCH_PAGES } from '../../src/limits.ts'

export interface TakeOrder {
  readonly shared: SharedGuestMemory
  readonly lane: number
  readonly how: 'single' | 'up' | 'down'
  /** One byte a page: how often it was taken. */
  readonly taken: SharedArrayBuffer
  /** One word: how many threads are ready. */
  readonly ready: SharedArrayBuffer
  readonly threads: number
}

const { shared, lane, how, taken, ready, threads } = workerData as TakeOrder
const memory = new GuestMemory(shared)
const { toSend, threadBlocks, pageCount } = memory.layout
const counts = new Uint8Array(taken)
const list = (threadBlocks + lane * THREAD_BLOCK.bytes + THREAD_BLOCK.list) / 4
const kernels = loadKernels(memory)

// All begin at the same moment, or the first would have taken everything.
const word = new Int32Array(ready)
Atomics.add(word, 0, 1)
while (Atomics.load(word, 0) < threads) {}

let got = 0
if (how === 'single') {
  for (let page = 0; page < pageCount; page++) {
    if (!takePage(memory, toSend, page)) continue
    Atomics.add(counts, page, 1)
    got++
  }
} else {
  for (let edge = how === 'up' ? 0 : pageCount; edge !== (how === 'up' ? pageCount : 0); ) {
    const answer =
      how === 'up'
        ? takeUp(memory, kernels, toSend, edge, BATCH_PAGES, list)
        : takeDown(memory, toSend, edge, BATCH_PAGES, list)
    edge = answer.edge
    got += answer.count
    for (let index = 0; index < answer.count; index++)
      Atomics.add(counts, memory.controlWords[list + index] as number, 1)
  }
}
parentPort?.postMessage(got)
