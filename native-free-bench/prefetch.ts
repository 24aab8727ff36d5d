// How much pre-paging gains, counted page by page against the same guest pulled without it: push in linear order, which
// no fault changes. Pure. docs/techniques.md says what the figures mean.

import type { Pull } from './pull-replay.ts'

export interface Prefetch {
  /** Pages pushed around a fault. */
  readonly pushed: number
  /** Those of them that the guest touched after they came, and before the linear push would have brought them. */
  readonly inTime: number
  /** The same two counts for the first batch after each fault alone. */
  readonly pushedNext: number
  readonly inTimeNext: number
  /** Faults of the linear push. */
  readonly wouldFault: number
  /** Faults that the linear push does not have: the fault drew the push away from these pages. */
  readonly caused: number
}

/** Compares a pull around the faults with the linear pull of the same trace. */
export function prefetchOf(around: Pull, linear: Pull): Prefetch {
  // A page that the linear pull had to ask for was touched before its turn came. Pushed and not asked for, it was there.
  const inTime = (page: number): boolean => linear.asked.has(page)
  const count = (pages: ReadonlySet<number>, matches: (page: number) => boolean): number =>
    [...pages].filter(matches).length
  return {
    pushed: around.pushedAround.size,
    inTime: count(around.pushedAround, inTime),
    pushedNext: around.pushedNext.size,
    inTimeNext: count(around.pushedNext, inTime),
    wouldFault: linear.asked.size,
    caused: count(around.asked, (page) => !linear.asked.has(page)),
  }
}
