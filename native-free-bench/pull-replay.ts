// The pull phase of a locked guest, page by page: the engine's own push order over its own bitmap, against the trace of
// the guest. In virtual time a batch is placed, then the guest makes λ steps for each of its pages; a page that a step
// finds missing is sent at once and moves the pivot. A migration does the same with threads and sockets between, so its
// report must count the same faults (techniques/pulled-bytes.ts compares them); this knows the pages, too.

import { THREAD_BLOCK } from '../src/guest/layout.ts'
import { GuestMemory } from '../src/guest/memory.ts'
import { fillAll, takePage } from '../src/guest/page-set.ts'
import { loadKernels } from '../src/kernels/kernels.ts'
import { PAGE_BYTES } from '../src/limits.ts'
import type { PushOrderName } from '../src/migration/settings.ts'
import { LOCKED_BATCH_PAGES } from '../src/migration/transfer/push-lane.ts'
import { createPushOrder, noteFault, resetPushOrder } from '../src/migration/transfer/push-order.ts'
import type { Trace } from './guest-trace.ts'

export interface PullOptions {
  readonly order: PushOrderName
  readonly pageCount: number
  /** Steps a page, a whole number. */
  readonly lambda: number
}

/** How each page came. */
export interface Pull {
  /** Pages that a step waited for: network faults. */
  readonly asked: ReadonlySet<number>
  /** Pages pushed since the first fault: the push has had a pivot since then. */
  readonly pushedAround: ReadonlySet<number>
  /** Those of them in the first batch after a fault, the nearest to it that were missing. */
  readonly pushedNext: ReadonlySet<number>
}

/** Pulls every page. Throws RangeError when the trace is shorter than the pull. */
export function replayPull(trace: Trace, { order, pageCount, lambda }: PullOptions): Pull {
  const memory = GuestMemory.create(pageCount * PAGE_BYTES, 1)
  const { toSend, threadBlocks } = memory.layout
  const list = threadBlocks + THREAD_BLOCK.list
  fillAll(memory, toSend)
  resetPushOrder(memory)
  const push = createPushOrder(order, memory, loadKernels(memory))
  const isHere = new Uint8Array(pageCount)
  const asked = new Set<number>()
  const pushedAround = new Set<number>()
  const pushedNext = new Set<number>()
  let granted = 0
  let step = 0
  let faultsSeen = 0
  for (;;) {
    const count = push.select(LOCKED_BATCH_PAGES, list)
    if (count === 0) return { asked, pushedAround, pushedNext }
    for (const page of memory.controlWords.subarray(list / 4, list / 4 + count)) {
      isHere[page] = 1
      if (asked.size > 0) pushedAround.add(page)
      if (asked.size > faultsSeen) pushedNext.add(page)
    }
    faultsSeen = asked.size
    granted += count * lambda
    for (; step < granted; step++) {
      for (const page of touchedIn(trace, step)) {
        if (isHere[page] === 1) continue
        takePage(memory, toSend, page)
        noteFault(memory, page)
        isHere[page] = 1
        asked.add(page)
        granted += lambda
      }
    }
  }
}

function touchedIn(trace: Trace, step: number): readonly number[] {
  const pages = trace[step]
  if (pages === undefined) throw new RangeError(`the trace ends before step ${step}`)
  return pages
}
