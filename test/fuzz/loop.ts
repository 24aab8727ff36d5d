// The greybox loop: mutate an input of the corpus, run it, keep it if it went somewhere new. New is a place of a kernel, a
// place reached about twice as often as ever before, or another outcome: outcomes are what guides it through TypeScript.

import { counts, places } from './instrument.ts'
import { Dice, mutate } from './mutate.ts'

/** What is fuzzed. */
export interface FuzzTarget {
  /** Inputs to begin with. */
  readonly seeds: readonly Uint8Array[]
  /** Largest input, bytes. */
  readonly most: number
  /**
   * Runs one input and says in a few words how it ended, such as the error's message. Throws when a rule was broken
   * that no input may break: a trap, a write outside the output, an error without a name.
   */
  run(input: Uint8Array): string
  /** Looks once more at everything; called now and then and at the end. Throws like `run`. */
  audit?(): void
}

export interface FuzzLimits {
  readonly seed: number
  readonly seconds?: number
  readonly executions?: number
}

export interface FuzzResult {
  executions: number
  seconds: number
  corpus: readonly Uint8Array[]
  /** Counters reached, and how many ways inputs ended. */
  reached: ReadonlySet<number>
  outcomes: ReadonlyMap<string, number>
  /** The input that broke a rule, and the error. */
  breach: { input: Uint8Array; error: unknown } | null
}

const AUDIT_EVERY = 20_000
/** A count as one of nine sizes: 1, 2, 3, 4–7, 8–15, 16–31, 32–127, 128 and more. */
const sizeOf = (count: number): number =>
  count < 4 ? count : count < 32 ? 34 - Math.clz32(count) + 1 : count < 128 ? 7 : 8

/** Fuzzes until a limit is reached or a rule broken. */
export function fuzz(target: FuzzTarget, limits: FuzzLimits): FuzzResult {
  const dice = new Dice(limits.seed)
  const seen = new Set<number>()
  const reached = new Set<number>()
  const outcomes = new Map<string, number>()
  const corpus: Uint8Array[] = []
  const result: FuzzResult = { executions: 0, seconds: 0, corpus, reached, outcomes, breach: null }
  const started = performance.now()

  /** Runs one input; whether it went somewhere new. */
  const isNew = (input: Uint8Array): boolean => {
    counts.fill(0, 0, places.length)
    result.executions++
    const outcome = target.run(input)
    let fresh = !outcomes.has(outcome)
    outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1)
    for (let place = 0; place < places.length; place++) {
      const count = counts[place] as number
      if (count === 0) continue
      const feature = place * 16 + sizeOf(count)
      if (seen.has(feature)) continue
      seen.add(feature)
      reached.add(place)
      fresh = true
    }
    return fresh
  }
  const over = (): boolean => {
    result.seconds = (performance.now() - started) / 1000
    return result.executions >= (limits.executions ?? Infinity) || result.seconds >= (limits.seconds ?? Infinity)
  }

  let input: Uint8Array = new Uint8Array(0)
  try {
    for (input of [new Uint8Array(0), ...target.seeds]) if (isNew(input) || corpus.length === 0) corpus.push(input)
    while (!over()) {
      // Half of the time one of the newest: they are where the unknown begins.
      const pool = dice.below(2) === 0 ? corpus.slice(-8) : corpus
      input = mutate(dice.of(pool), dice.of(corpus), dice, target.most)
      if (isNew(input)) corpus.push(input)
      if (result.executions % AUDIT_EVERY === 0) target.audit?.()
    }
    target.audit?.()
  } catch (error) {
    result.breach = { input, error }
  }
  return result
}
