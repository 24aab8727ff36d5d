// The stop rules and the adaptive rate on a simulated link: pure policies with made-up rounds.

import { describe, expect, test } from 'vitest'
import { AdaptiveRate } from '../../src/migration/adaptive-rate.ts'
import { etaOf, reasonOf, trendOf } from '../../src/migration/progress.ts'
import {
  predictDowntimeMs,
  type RoundObservation,
  type StopDecision,
  type StopRule,
  stopRules,
} from '../../src/migration/stop-rules.ts'

const PAGES = 16_384
const LIMITS = { maxRounds: 29, downtimeTargetMs: 50 }

const round = (over: Partial<RoundObservation>): RoundObservation => ({
  index: 0,
  sentPages: PAGES,
  skippedPages: 0,
  remainingPages: 1000,
  totalSentPages: PAGES,
  pageCount: PAGES,
  bytesPerSecond: 40_000_000,
  bytesPerPage: 4112,
  fixedMs: 2,
  atMaxRate: true,
  ...over,
})

/** The decision at a round's end, after which the rule knows the round. */
function ended(rule: StopRule, observation: RoundObservation): StopDecision {
  const decision = rule.decide(observation)
  expect(rule.decide(observation)).toEqual(decision) // asking again changes nothing
  rule.note(observation)
  return decision
}

describe('target', () => {
  test('stops exactly when remainder and fixed costs fit', () => {
    const pagesThatFit = Math.floor(((50 - 2) / 1000) * (40_000_000 / 4112))
    const rule = (): ReturnType<(typeof stopRules)['target']> => stopRules.target(LIMITS)
    expect(rule().decide(round({ remainingPages: pagesThatFit }))).toMatchObject({
      stop: true,
      reason: 'downtime-target',
    })
    expect(rule().decide(round({ remainingPages: pagesThatFit + 1 })).stop).toBe(false)
  })

  test('a fixed cost above the target never fits', () => {
    expect(stopRules.target(LIMITS).decide(round({ remainingPages: 1, fixedMs: 51 })).stop).toBe(false)
  })

  test('gives up after five rounds without a smaller remainder', () => {
    const rule = stopRules.target(LIMITS)
    const decisions = Array.from({ length: 6 }, (_, index) =>
      ended(rule, round({ index, remainingPages: 8000, totalSentPages: PAGES + index })),
    )
    expect(decisions.map(({ stop }) => stop)).toEqual([false, false, false, false, false, true])
    expect(decisions.at(-1)?.reason).toBe('no-progress')
  })

  test('max factor and max rounds end it', () => {
    expect(stopRules.target(LIMITS).decide(round({ remainingPages: 9000, totalSentPages: 3 * PAGES + 1 })).reason).toBe(
      'max-factor',
    )
    expect(stopRules.target(LIMITS).decide(round({ remainingPages: 9000, index: 28 })).reason).toBe('max-rounds')
  })
})

describe('xen', () => {
  test('fewer than 50 pages is small enough', () => {
    expect(stopRules.xen(LIMITS).decide(round({ remainingPages: 49 })).reason).toBe('small-remainder')
    expect(stopRules.xen(LIMITS).decide(round({ remainingPages: 50 })).stop).toBe(false)
  })

  test('more pages than last time is no progress, but only at full rate, skipped pages included', () => {
    const grows = [
      round({ sentPages: 4000, skippedPages: 4000 }),
      round({ index: 1, sentPages: 7990, skippedPages: 11 }),
    ]
    const atMax = stopRules.xen(LIMITS)
    expect(grows.map((each) => ended(atMax, each).reason)).toEqual([undefined, 'no-progress'])
    const below = stopRules.xen(LIMITS)
    expect(grows.map((each) => ended(below, { ...each, atMaxRate: false }).stop)).toEqual([false, false])
    const skips = stopRules.xen(LIMITS)
    const inflated = [
      round({ sentPages: 4000, skippedPages: 4000 }),
      round({ index: 1, sentPages: 6000, skippedPages: 1000 }),
    ]
    expect(inflated.map((each) => ended(skips, each).stop)).toEqual([false, false])
  })
})

test('the prediction is remainder over rate plus fixed costs', () => {
  expect(predictDowntimeMs(round({ remainingPages: 0 }))).toBe(2)
  expect(predictDowntimeMs(round({ remainingPages: 10_000, bytesPerPage: 4000 }))).toBeCloseTo(1002)
})

test('the adaptive rate follows the dirty rate up to the ceiling', () => {
  const rate = new AdaptiveRate(40_000_000)
  expect(rate.bytesPerSecond).toBe(12_500_000)
  rate.observe(10_000_000)
  expect(rate.bytesPerSecond).toBe(12_500_000)
  rate.observe(20_000_000)
  expect(rate.bytesPerSecond).toBe(26_250_000)
  expect(rate.atMaximum).toBe(false)
  rate.observe(39_000_000)
  expect(rate.bytesPerSecond).toBe(40_000_000)
  expect(rate.atMaximum).toBe(true)
})

test('trend, ETA and reason say what an operator would', () => {
  expect(trendOf([100])).toBe('unknown')
  expect(trendOf([100, 50, 20])).toBe('converging')
  expect(trendOf([100, 101, 100])).toBe('stable')
  expect(trendOf([100, 120, 150])).toBe('diverging')
  expect(etaOf(round({}), 50_000_000)).toBeNull()
  const [low, high] = etaOf(round({}), 20_000_000) as [number, number]
  expect(high).toBeCloseTo(2 * low)
  expect(reasonOf(520e6, 690e6 / 4096)).toBe(
    'dirtying 690 MB/s, link 520 MB/s: will not converge without throttle or post-copy',
  )
})
