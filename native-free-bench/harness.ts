// What every technique plugs into: the interface of a technique, repeated interleaved runs with warm-up, and the
// verdict over its figures. main.ts runs techniques through `runTechnique`; a technique measures through `Context`.

import { setTimeout as sleep } from 'node:timers/promises'
import { processorTime, stolenShare } from './machine.ts'
import { warmMemory } from './memory-warm-up.ts'
import { type Bound, judge, randomNumbers, type Summary, shuffled, summarize, type Verdict } from './statistics.ts'

/** A run during which more than this share of the processor was taken away is repeated. */
const MAX_STOLEN_SHARE = 0.06
const MAX_REPEATS = 3
/** A host that takes free memory back does so within a few seconds; a cold run waits this long first. */
const COLD_WAIT_MS = 5000

/** One figure of a technique. */
export interface Row {
  readonly name: string
  readonly unit: 'GB/s' | '×' | 'ms' | 's' | 'MiB' | 'ns' | 'CPU s/GiB' | 'rounds' | 'op/s' | 'yes'
  readonly higherIsBetter: boolean
  readonly samples: readonly number[]
  /** What the project asks of the median; without it the figure is information. */
  readonly required?: Bound
  /** What others report for the same, printed beside ours. */
  readonly published?: { readonly value: number; readonly by: string }
  /** True when the figure is the same on any machine (bytes, rounds): it decides even in a quick run. */
  readonly exact?: boolean
  readonly note?: string
}

export type Finished = Row & { readonly summary: Summary; readonly verdict: Verdict }

/** One way to do a thing, measured against the others of the same `repeat`. */
export interface Competitor {
  readonly name: string
  /** Memory that one run is about to touch, all processes together. */
  readonly warmBytes?: number
  /** One run; returns what it measured, by metric. */
  run(): Promise<Record<string, number>>
}

/** Samples by competitor and metric, in the order of the repetitions. */
export type Samples = Record<string, Record<string, number[]>>

export interface Context {
  readonly seed: number
  readonly quick: boolean
  readonly repetitions: number
  /** Says what is being done, on standard error. */
  log(line: string): void
  /** Runs every competitor once unmeasured, then `repetitions` times in pairs of a random order. */
  repeat(competitors: readonly Competitor[], repetitions?: number): Promise<Samples>
  /** One run of a competitor with memory as a user's first migration finds it: cold. */
  cold(competitor: Competitor): Promise<Record<string, number>>
}

export interface Technique {
  readonly name: string
  /** One sentence for `--list`. */
  readonly about: string
  run(context: Context): Promise<Row[]>
}

export interface Outcome {
  readonly technique: string
  readonly rows: readonly Finished[]
  readonly seconds: number
  /** Runs that were repeated because the processor was taken away. */
  readonly repeated: number
  /** Runs that were kept although it was. */
  readonly stolen: number
  readonly error?: string
}

export interface Options {
  readonly seed: number
  readonly quick: boolean
  readonly repetitions: number
  readonly log: (line: string) => void
}

/** The values of one metric of one competitor; throws when the technique never measured it. */
export function samplesOf(samples: Samples, competitor: string, metric: string): number[] {
  const found = samples[competitor]?.[metric]
  if (found === undefined) throw new Error(`${competitor} did not measure ${metric}`)
  return found
}

class Runs implements Context {
  readonly seed: number
  readonly quick: boolean
  readonly repetitions: number
  readonly log: (line: string) => void
  readonly #random: () => number
  repeated = 0
  stolen = 0

  constructor(options: Options) {
    this.seed = options.seed
    this.quick = options.quick
    this.repetitions = options.repetitions
    this.log = options.log
    this.#random = randomNumbers(options.seed)
  }

  async repeat(competitors: readonly Competitor[], repetitions = this.repetitions): Promise<Samples> {
    const samples: Samples = {}
    for (const competitor of competitors) {
      samples[competitor.name] = {}
      await this.#once(competitor)
    }
    for (let index = 0; index < repetitions; index++) {
      for (const competitor of shuffled(competitors, this.#random)) {
        const measured = await this.#undisturbed(competitor)
        const mine = samples[competitor.name] as Record<string, number[]>
        for (const [metric, value] of Object.entries(measured)) {
          mine[metric] ??= []
          mine[metric].push(value)
        }
      }
    }
    return samples
  }

  async cold(competitor: Competitor): Promise<Record<string, number>> {
    await sleep(COLD_WAIT_MS)
    return competitor.run()
  }

  async #once(competitor: Competitor): Promise<Record<string, number>> {
    if (competitor.warmBytes !== undefined) await warmMemory(competitor.warmBytes)
    return competitor.run()
  }

  async #undisturbed(competitor: Competitor): Promise<Record<string, number>> {
    for (let attempt = 0; ; attempt++) {
      if (competitor.warmBytes !== undefined) await warmMemory(competitor.warmBytes)
      const before = processorTime()
      const measured = await competitor.run()
      const share = stolenShare(before, processorTime())
      if (share <= MAX_STOLEN_SHARE) return measured
      if (attempt === MAX_REPEATS) {
        this.stolen++
        return measured
      }
      this.repeated++
      this.log(`${competitor.name}: ${(share * 100).toFixed(0)} % of the processor was taken away; again`)
    }
  }
}

/** Runs one technique; what it throws becomes its outcome's error. */
export async function runTechnique(technique: Technique, options: Options): Promise<Outcome> {
  const started = performance.now()
  const runs = new Runs(options)
  const outcome = (rows: readonly Finished[], error?: unknown): Outcome => ({
    technique: technique.name,
    rows,
    seconds: (performance.now() - started) / 1000,
    repeated: runs.repeated,
    stolen: runs.stolen,
    ...(error === undefined ? {} : { error: error instanceof Error ? error.message : String(error) }),
  })
  try {
    const rows = await technique.run(runs)
    return outcome(rows.map(finish))
  } catch (error) {
    return outcome([], error)
  }
}

function finish(row: Row): Finished {
  const summary = summarize(row.samples)
  return { ...row, summary, verdict: judge(summary.median, row.required) }
}

/** Whether an outcome fails the run: quick runs are too short for times, so only exact figures and errors count. */
export function fails(outcome: Outcome, quick: boolean): boolean {
  if (outcome.error !== undefined) return true
  return outcome.rows.some((row) => row.verdict === 'fail' && (!quick || row.exact === true))
}
