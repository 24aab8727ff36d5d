// A model of the pull phase in units of page transfers, with the real push orders on a real bitmap, and a guest of K
// sequential streams (`local` of the mutator) locked to the transfer: a batch is placed, then the guest makes one step a
// page placed; a page that a step finds missing is sent at once, is one page more, and moves the pivot. Journals are left
// out: two pages, one fault each. Counts the network faults of gates G2.4 and G2.5.
//
// What it shows, 8,192 pages, means of 30 seeds, faults as a share of the pages touched:
//
//                                        linear   around-the-fault   several-pivots
//   LOCAL-4 0.005, 1 page time a step
//     batch  16                           51 %       6.1 %              4.9 %
//     batch  64                           51 %       7.2 %              5.6 %
//     batch 128                           51 %      11.6 %              8.1 %
//     batch 256                           50 %      20.3 %             12.0 %
//   LOCAL-8 0.0005, 8 page times a step
//     batch  16                           50 %      16.5 %             13.3 %
//     batch  64                           50 %      28.3 %             16.4 %
//
// - The batch decides: a locked guest lives one batch behind its faults, so a batch of 256 pages is at the edge of G2.4's
//   21 %. The locked mode should use 64 pages or fewer. Below 16 LOCAL-4 gains nothing; LOCAL-8 still does a little.
// - A forward bias does not pay: with 3/4 or all of a batch upwards the single pivot's faults change by 4 % at most with
//   these guests, in both directions, and with one forward stream they rise by up to 7 %.
// - G2.5 (several pivots at 0.80 of the single one) depends on the batch: 0.77 with 4 pages, 0.805 with 16, which misses
//   it, 0.58 with 64. At 16 pages these are 9.5 faults against 11.8 a run.

import { THREAD_BLOCK } from '../../../src/guest/layout.ts'
import { GuestMemory } from '../../../src/guest/memory.ts'
import { fillAll, takePage } from '../../../src/guest/page-set.ts'
import { loadKernels } from '../../../src/kernels/kernels.ts'
import { PAGE_BYTES } from '../../../src/limits.ts'
import type { PushOrderName } from '../../../src/migration/settings.ts'
import { createPushOrder, noteFault, resetPushOrder } from '../../../src/migration/transfer/push-order.ts'
import { below, nextRandom, RANDOM_WORDS, seedRandom } from '../../../src/programs/rng.ts'

/** As in src/programs/mutator.ts: 16 steps a page. */
const STREAM_STRIDE_WORDS = 64
const PAGE_WORDS = 1024

export interface ModelOptions {
  readonly order: PushOrderName
  readonly batchPages: number
  readonly seed: number
  readonly pages: number
  readonly streams: number
  readonly jump: number
  /** Page transfers a step takes: 1 for λ = 1, 8 for a guest that is slow against the link. */
  readonly pageTimesPerStep: number
}

export interface ModelResult {
  /** Pages that a step found missing and asked for. */
  readonly faults: number
  /** Different pages that steps touched before the last page had come. */
  readonly touched: number
  readonly sent: number
}

/** The `local` workload of src/programs/mutator.ts, of which only the pages count. */
class Streams {
  readonly #random = new Uint32Array(RANDOM_WORDS)
  readonly #positions: Uint32Array
  readonly #pages: number
  readonly #jump: number
  #steps = 0

  constructor({ seed, pages, streams, jump }: ModelOptions) {
    seedRandom(this.#random, 0, seed, 0)
    this.#pages = pages
    this.#jump = jump
    this.#positions = new Uint32Array(streams).map(() => this.#anywhere())
  }

  /** The page of the next step. */
  next(): number {
    const stream = this.#steps++ % this.#positions.length
    let position = (this.#positions[stream] as number) + STREAM_STRIDE_WORDS
    const jumps = nextRandom(this.#random, 0) < this.#jump * 2 ** 32
    if (jumps || position >= this.#pages * PAGE_WORDS) position = this.#anywhere()
    this.#positions[stream] = position
    return Math.floor(position / PAGE_WORDS)
  }

  #anywhere(): number {
    return below(nextRandom(this.#random, 0), this.#pages) * PAGE_WORDS
  }
}

/** Pulls a whole guest; deterministic. */
export function modelPull(options: ModelOptions): ModelResult {
  const { order, batchPages, pages, pageTimesPerStep } = options
  const memory = GuestMemory.create(pages * PAGE_BYTES, 1)
  const { toSend, threadBlocks } = memory.layout
  const list = threadBlocks + THREAD_BLOCK.list
  fillAll(memory, toSend)
  resetPushOrder(memory)
  const push = createPushOrder(order, memory, loadKernels(memory))
  const streams = new Streams(options)
  const touched = new Set<number>()
  let [faults, sent, granted] = [0, 0, 0]
  for (;;) {
    const count = push.select(batchPages, list)
    if (count === 0) return { faults, touched: touched.size, sent }
    sent += count
    granted += count
    for (; granted >= pageTimesPerStep; granted -= pageTimesPerStep) {
      const page = streams.next()
      touched.add(page)
      if (!takePage(memory, toSend, page)) continue
      faults++
      sent++
      granted++
      noteFault(memory, page)
    }
  }
}
