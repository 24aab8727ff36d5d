// The arithmetic behind every figure of the bench.

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import {
  compare,
  judge,
  median,
  quantile,
  randomNumbers,
  ratios,
  shuffled,
  summarize,
} from '../../native-free-bench/statistics.ts'

const samples = fc.array(fc.double({ min: 0.001, max: 1e9, noNaN: true }), { minLength: 1, maxLength: 40 })

describe('quantiles', () => {
  it('are what a table says', () => {
    expect(median([3, 1, 2])).toBe(2)
    expect(median([4, 1, 2, 3])).toBe(2.5)
    expect(quantile([1, 2, 3, 4, 5], 0.25)).toBe(2)
    expect(quantile([7], 0.9)).toBe(7)
    expect(() => median([])).toThrow(RangeError)
  })

  it('do not depend on the order, lie between the extremes and leave the samples alone', () => {
    fc.assert(
      fc.property(samples, (values) => {
        const before = [...values]
        const summary = summarize(values)
        expect(values).toEqual(before)
        expect(summarize([...values].reverse())).toEqual(summary)
        expect(summary.min).toBeLessThanOrEqual(summary.median)
        expect(summary.median).toBeLessThanOrEqual(summary.max)
        expect(summary.spread).toBeGreaterThanOrEqual(0)
        expect(summary.count).toBe(values.length)
      }),
    )
  })
})

describe('verdicts', () => {
  it('keep to their bound, and are information without one', () => {
    expect(judge(1.6, { atMost: 1.6 })).toBe('pass')
    expect(judge(1.61, { atMost: 1.6 })).toBe('fail')
    expect(judge(0.8, { atLeast: 0.8 })).toBe('pass')
    expect(judge(0.79, { atLeast: 0.8 })).toBe('fail')
    expect(judge(5, undefined)).toBe('info')
  })

  it('fail what is no number', () => {
    expect(judge(Number.NaN, { atMost: 1 })).toBe('fail')
    expect(judge(Number.NaN, { atLeast: 1 })).toBe('fail')
  })
})

describe('pairs', () => {
  it('divide run by run', () => {
    expect(ratios([2, 9], [1, 3])).toEqual([2, 3])
    expect(() => ratios([1], [1, 2])).toThrow(RangeError)
  })

  it('run in an order that a seed decides and that loses nobody', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 32 - 1 }), fc.array(fc.integer()), (seed, items) => {
        const order = shuffled(items, randomNumbers(seed))
        expect(order).toEqual(shuffled(items, randomNumbers(seed)))
        expect([...order].sort((a, b) => a - b)).toEqual([...items].sort((a, b) => a - b))
      }),
    )
  })
})

describe('comparisons', () => {
  const steady = (value: number) => summarize([value, value, value])

  it('see a change beyond the noise only', () => {
    expect(compare(steady(100), steady(101), true).kind).toBe('same')
    expect(compare(steady(100), steady(110), true).kind).toBe('better')
    expect(compare(steady(100), steady(110), false).kind).toBe('worse')
    expect(compare(steady(100), steady(90), true)).toEqual({ ratio: 0.9, kind: 'worse' })
    expect(compare(summarize([80, 100, 120]), steady(110), true).kind).toBe('same')
  })

  it('survive a figure of nothing', () => {
    expect(compare(steady(0), steady(0), true).kind).toBe('same')
    expect(compare(steady(0), steady(1), false).kind).toBe('worse')
  })
})
