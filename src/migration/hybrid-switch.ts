// When hybrid leaves pre-copy for the pull. Another round pays as long as the remainder shrinks, because what is sent now
// nobody has to wait for; once it does not, the rest is pulled. As KubeVirt's stall detector does, the rule waits for a
// local minimum, and the longer it has waited the less good a one has to be. Same shape as the rules of stop-rules.ts.

import type { StopReason } from './report.ts'
import {
  predictDowntimeMs,
  type RoundObservation,
  type StopDecision,
  type StopLimits,
  type StopRule,
} from './stop-rules.ts'

/** A remainder smaller by this share is an improvement. */
const IMPROVEMENT = 0.05
/** Rounds without an improvement after which pre-copy counts as stalled. */
const STALLED_ROUNDS = 2
/** How far above the best remainder a stalled round may end for the switch; doubles with each further round. */
const NEAR_BEST = 0.04

/**
 * Stops when the remainder fits the downtime target, when it no longer shrinks, and at the round limit. Only a stop for
 * the target predicts a pause with the remainder in it: after the others the remainder is pulled while the guest runs.
 */
export class HybridSwitchRule implements StopRule {
  readonly #limits: StopLimits
  #bestPages = Number.POSITIVE_INFINITY
  /** The remainder that the next improvement is measured against, and the rounds since it. */
  #improvedPages = Number.POSITIVE_INFINITY
  #stalledRounds = 0

  constructor(limits: StopLimits) {
    this.#limits = limits
  }

  decide(round: RoundObservation): StopDecision {
    const { remainingPages, fixedMs } = round
    const predictedDowntimeMs = predictDowntimeMs(round)
    const stop = (reason: StopReason, text: string, ms = fixedMs): StopDecision => ({
      stop: true,
      reason,
      text,
      predictedDowntimeMs: ms,
    })
    const predicted = `${predictedDowntimeMs.toFixed(1)} ms predicted for ${remainingPages} pages`
    const target = `target ${this.#limits.downtimeTargetMs} ms`
    if (remainingPages === 0) return stop('small-remainder', 'nothing is left')
    if (predictedDowntimeMs <= this.#limits.downtimeTargetMs) {
      return stop('downtime-target', `${predicted}, ${target}`, predictedDowntimeMs)
    }
    if (round.index + 1 >= this.#limits.maxRounds) {
      return stop('max-rounds', `${round.index + 1} rounds done; ${remainingPages} pages are left to pull`)
    }
    const stalled = this.#stalledAfter(remainingPages)
    if (stalled < STALLED_ROUNDS) return { stop: false, text: `${predicted}, ${target}`, predictedDowntimeMs }
    const best = Math.min(this.#bestPages, remainingPages)
    const tolerance = NEAR_BEST * 2 ** (stalled - STALLED_ROUNDS)
    const stall = `the remainder has not shrunk for ${stalled} rounds`
    if (remainingPages > best * (1 + tolerance)) {
      const text = `${stall}; ${remainingPages} pages are more than ${percent(tolerance)} above the best, ${best}`
      return { stop: false, text, predictedDowntimeMs }
    }
    return stop('no-progress', `${stall}; ${remainingPages} pages are left to pull`)
  }

  note({ remainingPages }: RoundObservation): void {
    this.#stalledRounds = this.#stalledAfter(remainingPages)
    if (this.#stalledRounds === 0) this.#improvedPages = remainingPages
    this.#bestPages = Math.min(this.#bestPages, remainingPages)
  }

  /** Rounds without an improvement if this one leaves so many pages. */
  #stalledAfter(remainingPages: number): number {
    const improved = remainingPages <= this.#improvedPages * (1 - IMPROVEMENT)
    return improved ? 0 : this.#stalledRounds + 1
  }
}

const percent = (share: number): string => `${Math.round(share * 100)} %`
