// The arithmetic of the bench: medians, spreads, verdicts, a seeded order of runs. Pure; harness.ts and the techniques use it.

export interface Summary {
  readonly median: number
  readonly min: number
  readonly max: number
  /** Interquartile range as a share of the median; 0 for one sample. */
  readonly spread: number
  readonly count: number
}

/** The q-quantile (0–1) with linear interpolation. Throws RangeError without samples. */
export function quantile(samples: readonly number[], q: number): number {
  if (samples.length === 0) throw new RangeError('no samples')
  const sorted = [...samples].sort((a, b) => a - b)
  const position = (sorted.length - 1) * q
  const low = Math.floor(position)
  const below = sorted[low] as number
  const above = sorted[Math.min(low + 1, sorted.length - 1)] as number
  return below + (above - below) * (position - low)
}

export const median = (samples: readonly number[]): number => quantile(samples, 0.5)

export function summarize(samples: readonly number[]): Summary {
  const middle = median(samples)
  const range = quantile(samples, 0.75) - quantile(samples, 0.25)
  return {
    median: middle,
    min: Math.min(...samples),
    max: Math.max(...samples),
    spread: middle === 0 ? 0 : Math.abs(range / middle),
    count: samples.length,
  }
}

/** Ratios of paired runs: numerator i over denominator i. Throws RangeError when the pairs do not match. */
export function ratios(numerators: readonly number[], denominators: readonly number[]): number[] {
  if (numerators.length !== denominators.length) throw new RangeError('unpaired samples')
  return numerators.map((value, index) => value / (denominators[index] as number))
}

/** A bound a figure must keep. */
export type Bound = { readonly atMost: number } | { readonly atLeast: number }
export type Verdict = 'pass' | 'fail' | 'info'

/** Whether `value` keeps `bound`; `info` without one, `fail` when the value is no number. */
export function judge(value: number, bound: Bound | undefined): Verdict {
  if (bound === undefined) return 'info'
  const kept = 'atMost' in bound ? value <= bound.atMost : value >= bound.atLeast
  return kept ? 'pass' : 'fail'
}

/** Numbers in [0, 1) from a 32-bit seed (mulberry32). */
export function randomNumbers(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let word = Math.imul(state ^ (state >>> 15), state | 1)
    word ^= word + Math.imul(word ^ (word >>> 7), word | 61)
    return ((word ^ (word >>> 14)) >>> 0) / 2 ** 32
  }
}

/** The items in a random order (Fisher–Yates): no competitor always runs first. */
export function shuffled<T>(items: readonly T[], random: () => number): T[] {
  const order = [...items]
  for (let last = order.length - 1; last > 0; last--) {
    const other = Math.floor(random() * (last + 1))
    const kept = order[last] as T
    order[last] = order[other] as T
    order[other] = kept
  }
  return order
}

export interface Change {
  readonly ratio: number
  /** `same` while the medians differ by less than both spreads together, and by less than 2 %. */
  readonly kind: 'better' | 'worse' | 'same'
}

/** How a figure changed from an older run; `higherIsBetter` says which way is good. */
export function compare(older: Summary, newer: Summary, higherIsBetter: boolean): Change {
  const ratio = older.median === 0 ? (newer.median === 0 ? 1 : Number.POSITIVE_INFINITY) : newer.median / older.median
  const noise = Math.max(0.02, older.spread + newer.spread)
  if (Math.abs(ratio - 1) <= noise) return { ratio, kind: 'same' }
  return { ratio, kind: ratio > 1 === higherIsBetter ? 'better' : 'worse' }
}
