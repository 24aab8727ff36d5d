// Prefetch efficiency: the trace of a guest, the pull of a trace page by page, and what is counted of two pulls.

import { describe, expect, it } from 'vitest'
import { type Trace, touchedPages, traceOf } from '../../native-free-bench/guest-trace.ts'
import { prefetchOf } from '../../native-free-bench/prefetch.ts'
import { replayPull } from '../../native-free-bench/pull-replay.ts'
import type { GuestConfig } from '../../src/guest/config.ts'
import { PUSH_ORDERS } from '../../src/migration/settings.ts'

const PAGES = 1024
const ascending = (set: ReadonlySet<number>): number[] => [...set].sort((a, b) => a - b)

/** A guest that touches one page after the other from `first` on, one in `every` steps, then stands still. */
const walk = (first: number, pages: number, every = 1): Trace =>
  Array.from({ length: PAGES }, (_, step) => (step % every === 0 && step / every < pages ? [first + step / every] : []))

describe('the pull of a trace', () => {
  it.each(PUSH_ORDERS)('%s: asks for no page that came before it was touched', (order) => {
    const { asked } = replayPull(walk(0, PAGES), { order, pageCount: PAGES, lambda: 1 })
    // Batches of 16 pages come just before the 16 steps that touch them.
    expect(asked.size).toBe(0)
  })

  it('linear: every page far ahead of the push is asked for', () => {
    const { asked } = replayPull(walk(512, 40), { order: 'linear', pageCount: PAGES, lambda: 1 })
    expect(ascending(asked)).toEqual(Array.from({ length: 40 }, (_, index) => 512 + index))
  })

  it('around the fault: the pages next to the first fault come with the next batch', () => {
    const pull = replayPull(walk(512, 40, 4), { order: 'around-the-fault', pageCount: PAGES, lambda: 1 })
    // The first batch begins at page 0: its 16 steps, and one more for each fault, meet six pages that are not there.
    expect(ascending(pull.asked)).toEqual([512, 513, 514, 515, 516, 517])
    const below = [504, 505, 506, 507, 508, 509, 510, 511]
    expect(ascending(pull.pushedNext)).toEqual([...below, 518, 519, 520, 521, 522, 523, 524, 525])
    expect(pull.pushedAround.size + pull.asked.size).toBe(PAGES - 16)
  })

  it('ends with a word when the trace is too short', () => {
    const pull = () => replayPull(walk(0, 1).slice(0, 3), { order: 'linear', pageCount: PAGES, lambda: 1 })
    expect(pull).toThrow('the trace ends before step 3')
  })
})

describe('prefetch', () => {
  const pull = (asked: number[], next: number[], later: number[]) => ({
    asked: new Set(asked),
    pushedNext: new Set(next),
    pushedAround: new Set([...next, ...later]),
  })

  it('is in time where the linear push would have been too late, and has a price', () => {
    const linear = pull([10, 11, 12, 13], [], [])
    const around = pull([10, 900], [9, 11, 12, 8], [13, 14, 15])
    expect(prefetchOf(around, linear)).toEqual({
      pushed: 7,
      inTime: 3,
      pushedNext: 4,
      inTimeNext: 2,
      wouldFault: 4,
      caused: 1,
    })
  })

  it('adds up: faults are those of the linear push, less the pages in time, and those it caused', () => {
    const config: GuestConfig = {
      id: '0'.repeat(32),
      name: 'trace',
      memoryBytes: PAGES * 4096,
      vcpus: 1,
      program: 'mutator',
      programHash: null,
      options: { workload: 'local', content: 'zero', streams: 2, jump: 0.02 },
      seed: 5,
      pace: { kind: 'locked', lambda: null },
    }
    const trace = traceOf(config, PAGES)
    const [linear, around] = (['linear', 'around-the-fault'] as const).map((order) =>
      replayPull(trace, { order, pageCount: PAGES, lambda: 1 }),
    ) as [ReturnType<typeof replayPull>, ReturnType<typeof replayPull>]
    const { inTime, wouldFault, caused } = prefetchOf(around, linear)
    expect(touchedPages(trace)).toBeGreaterThan(wouldFault)
    expect(inTime).toBeGreaterThan(wouldFault / 2)
    expect(around.asked.size).toBe(wouldFault - inTime + caused)
  })
})
