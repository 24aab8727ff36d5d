// When hybrid leaves pre-copy: series of remainders, and the round after which the rule switches.

import { describe, expect, it } from 'vitest'
import { HybridSwitchRule } from '../../src/migration/hybrid-switch.ts'
import type { RoundObservation, StopDecision } from '../../src/migration/stop-rules.ts'

const PAGES = 16_384
const LIMITS = { maxRounds: 29, downtimeTargetMs: 50 }

const round = (index: number, remainingPages: number): RoundObservation => ({
  index,
  sentPages: remainingPages,
  skippedPages: 0,
  remainingPages,
  totalSentPages: PAGES,
  pageCount: PAGES,
  bytesPerSecond: 40_000_000,
  bytesPerPage: 4112,
  fixedMs: 2,
  atMaxRate: true,
})

/** The round and the decision that ends pre-copy when rounds leave these pages; null: none of them. */
function switchOf(remainders: readonly number[], limits = LIMITS): ({ index: number } & StopDecision) | null {
  const rule = new HybridSwitchRule(limits)
  for (const [index, pages] of remainders.entries()) {
    const decision = rule.decide(round(index, pages))
    // A question changes nothing; another answer is possible with newer figures.
    rule.decide(round(index, pages * 3))
    expect(rule.decide(round(index, pages))).toEqual(decision)
    if (decision.stop) return { index, ...decision }
    rule.note(round(index, pages))
  }
  return null
}

describe('hybrid', () => {
  it('stops when the remainder fits the downtime target', () => {
    const fits = Math.floor(((50 - 2) / 1000) * (40_000_000 / 4112))
    expect(switchOf([8000, 2000, fits + 1, fits])).toMatchObject({ index: 3, reason: 'downtime-target' })
    expect(switchOf([fits])?.predictedDowntimeMs).toBeGreaterThan(49)
    expect(switchOf([0])).toMatchObject({ reason: 'small-remainder' })
  })

  it('goes on while the remainder shrinks, however slowly it does', () => {
    expect(switchOf(Array.from({ length: 28 }, (_, index) => Math.round(PAGES * 0.94 ** index)))).toBeNull()
    expect(switchOf(Array.from({ length: 28 }, (_, index) => Math.round(PAGES * 0.97 ** index)))).toBeNull()
  })

  it('switches after two rounds that improve nothing', () => {
    expect(switchOf([8000, 8000, 8000])).toMatchObject({
      index: 2,
      reason: 'no-progress',
      text: 'the remainder has not shrunk for 2 rounds; 8000 pages are left to pull',
      predictedDowntimeMs: 2,
    })
    // 1 % a round is none.
    expect(switchOf([8000, 7920, 7840])).toMatchObject({ index: 2, reason: 'no-progress' })
  })

  it('waits for a local minimum', () => {
    expect(switchOf([8000, 4000, 4100, 6000, 4300])).toMatchObject({ index: 4, reason: 'no-progress' })
    expect(switchOf([8000, 4000, 4100, 4161])).toBeNull()
    expect(switchOf([8000, 4000, 4100, 4160])).toMatchObject({ index: 3 })
    // It shrinks again: the count begins anew.
    expect(switchOf([8000, 4000, 5000, 3500, 3500])).toBeNull()
  })

  it('becomes content with less, so that it ends', () => {
    // 30 % above the best: accepted when the tolerance has grown to 32 %, three rounds later.
    const remainders = [4000, 5200, 5200, 5200, 5200, 5200]
    expect(switchOf(remainders)).toMatchObject({ index: 5, reason: 'no-progress' })
    expect(switchOf(remainders.slice(0, 5))).toBeNull()
    expect(switchOf([1000, ...Array.from({ length: 20 }, () => PAGES)])?.index).toBeLessThanOrEqual(11)
  })

  it('ends at the round limit, after the full pass at the earliest', () => {
    expect(switchOf([8000, 4000, 2000], { ...LIMITS, maxRounds: 3 })).toMatchObject({
      index: 2,
      reason: 'max-rounds',
      text: '3 rounds done; 2000 pages are left to pull',
    })
    expect(switchOf([8000], { ...LIMITS, maxRounds: 1 })).toMatchObject({ index: 0, reason: 'max-rounds' })
  })
})
