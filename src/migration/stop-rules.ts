// When pre-copy stops and the guest is paused. Two policies behind one interface: Xen's rules (Clark et al., NSDI
// 2005, and Xen's save code) and the modern downtime target (QEMU's `pending ≤ bandwidth × limit`, with fixed costs
// included). A policy is told about each round and answers with a decision and its reason; no clock, no I/O.

import { MAX_FACTOR, PAGE_BYTES, SMALL_REMAINDER_PAGES } from '../limits.ts'
import type { StopReason } from './report.ts'
import type { StopRuleName } from './settings.ts'

/** What a round showed. Rates are measured with the placement at the destination (R12). */
export interface RoundObservation {
  readonly index: number
  readonly sentPages: number
  readonly skippedPages: number
  /** Pages harvested after the round: what the next one would have to send. */
  readonly remainingPages: number
  /** Page records of all rounds so far. */
  readonly totalSentPages: number
  readonly pageCount: number
  readonly bytesPerSecond: number
  /** Average bytes of a record in this round, headers included. */
  readonly bytesPerPage: number
  /** Costs of a switchover that do not depend on the remainder: handshake, digest, commit round trips. */
  readonly fixedMs: number
  /** False while an adaptive rate limit is still below its maximum. */
  readonly atMaxRate: boolean
}

export interface StopDecision {
  readonly stop: boolean
  readonly reason?: StopReason
  /** For people and for the report. */
  readonly text: string
  readonly predictedDowntimeMs: number
}

export interface StopRule {
  /** What to do if the round ended like this. Changes nothing: it may be asked again with newer figures. */
  decide(round: RoundObservation): StopDecision
  /** The round ended like this: once a round, after the decision that counts. */
  note(round: RoundObservation): void
}

export interface StopLimits {
  readonly maxRounds: number
  readonly downtimeTargetMs: number
}

/** Time the remainder needs on the measured link, plus the fixed costs, ms. */
export function predictDowntimeMs(round: RoundObservation): number {
  if (round.remainingPages === 0) return round.fixedMs
  const bytes = round.remainingPages * Math.max(round.bytesPerPage, 1)
  return (bytes / Math.max(round.bytesPerSecond, 1)) * 1000 + round.fixedMs
}

/**
 * Xen's four rules, in Xen's order: no progress, round limit, small remainder, max factor. "Sent more than last time"
 * counts skipped pages too, or skipping would fire it by itself (techniques.md §1, pitfall a).
 */
export class XenStopRule implements StopRule {
  readonly #limits: StopLimits
  #lastPages = Number.POSITIVE_INFINITY

  constructor(limits: StopLimits) {
    this.#limits = limits
  }

  decide(round: RoundObservation): StopDecision {
    const pages = round.sentPages + round.skippedPages
    const grew = pages > this.#lastPages && round.atMaxRate
    const predictedDowntimeMs = predictDowntimeMs(round)
    const stop = (reason: StopReason, text: string): StopDecision => ({ stop: true, reason, text, predictedDowntimeMs })
    if (grew) return stop('no-progress', 'this round had more pages than the last one')
    if (round.index + 1 >= this.#limits.maxRounds) return stop('max-rounds', `${round.index + 1} rounds done`)
    if (pages < SMALL_REMAINDER_PAGES || round.remainingPages < SMALL_REMAINDER_PAGES) {
      return stop('small-remainder', `${round.remainingPages} pages are left`)
    }
    if (round.totalSentPages > MAX_FACTOR * round.pageCount) {
      return stop('max-factor', `more than ${MAX_FACTOR} times the memory was sent`)
    }
    return { stop: false, text: `${round.remainingPages} pages are left`, predictedDowntimeMs }
  }

  note(round: RoundObservation): void {
    this.#lastPages = round.sentPages + round.skippedPages
  }
}

/** Rounds without a smaller remainder after which the target rule gives up waiting for one. */
const PATIENCE_ROUNDS = 5

/** Stops when the rest fits the downtime target; gives up on no progress, on the round limit and on Xen's factor. */
export class TargetStopRule implements StopRule {
  readonly #limits: StopLimits
  #bestPages = Number.POSITIVE_INFINITY
  #roundsSinceBest = 0

  constructor(limits: StopLimits) {
    this.#limits = limits
  }

  decide(round: RoundObservation): StopDecision {
    const predictedDowntimeMs = predictDowntimeMs(round)
    const target = this.#limits.downtimeTargetMs
    const stop = (reason: StopReason, text: string): StopDecision => ({ stop: true, reason, text, predictedDowntimeMs })
    const roundsSinceBest = this.#since(round)
    const predicted = `${predictedDowntimeMs.toFixed(1)} ms predicted for ${round.remainingPages} pages`
    if (round.remainingPages === 0) return stop('small-remainder', 'nothing is left')
    if (predictedDowntimeMs <= target) return stop('downtime-target', `${predicted}, target ${target} ms`)
    if (round.index + 1 >= this.#limits.maxRounds)
      return stop('max-rounds', `${round.index + 1} rounds done; ${predicted}`)
    if (roundsSinceBest >= PATIENCE_ROUNDS) {
      return stop('no-progress', `no smaller remainder for ${PATIENCE_ROUNDS} rounds; ${predicted}`)
    }
    if (round.totalSentPages > MAX_FACTOR * round.pageCount) {
      return stop('max-factor', `more than ${MAX_FACTOR} times the memory was sent; ${predicted}`)
    }
    return { stop: false, text: `${predicted}, target ${target} ms`, predictedDowntimeMs }
  }

  note(round: RoundObservation): void {
    this.#roundsSinceBest = this.#since(round)
    this.#bestPages = Math.min(this.#bestPages, round.remainingPages)
  }

  #since(round: RoundObservation): number {
    return round.remainingPages < this.#bestPages ? 0 : this.#roundsSinceBest + 1
  }
}

export const stopRules: Record<StopRuleName, (limits: StopLimits) => StopRule> = {
  xen: (limits) => new XenStopRule(limits),
  target: (limits) => new TargetStopRule(limits),
}

/** Bytes a raw page record takes when nothing better is known. */
export const RAW_RECORD_BYTES = PAGE_BYTES + 16
