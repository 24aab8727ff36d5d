// Collects what a migration measured and turns it into a MigrationReport. The source session calls it as things
// happen; it owns the stage clock, so stages add up to the total by construction.

import { addCounts, type EncodingCounts } from '../encoding/tally.ts'
import type { GodwitError, Side } from '../errors.ts'
import { publish } from '../events.ts'
import type { GuestConfig } from '../guest/config.ts'
import { PAGE_BYTES } from '../limits.ts'
import type { RoundSent } from './ports.ts'
import { type MigrationReport, type RoundReport, reportSchema, type Stage, type StopReason } from './report.ts'
import { type MigrationSettings, pulls } from './settings.ts'

export interface ReportHead {
  readonly id: string
  readonly guest: GuestConfig
  /** The agents' names; the destination's is known once it has answered the reservation. */
  readonly names: { readonly source: string; readonly destination: string }
  readonly settings: MigrationSettings
}

type Mutable<T> = { -readonly [K in keyof T]: T[K] }

/** Facts that are set once, when known; everything has a harmless default, so a failed attempt reports too. */
export interface ReportFacts {
  outcome: MigrationReport['outcome']
  owner: MigrationReport['owner']
  stopReason: StopReason | undefined
  downtimeMs: number
  vcpuDowntimesMs: number[]
  clockErrorMs: number
  downtimeParts: MigrationReport['timeMs']['downtimeParts']
  downtimePredictedMs: number | undefined
  bytes: Mutable<MigrationReport['bytes']>
  checks: MigrationReport['checks']
  slowdown: { before: number; during: number; after: number }
  handshakes: MigrationReport['handshakes']
  resources: MigrationReport['resources']
  /** Post-copy and hybrid: reported once the switch is behind us. */
  pull: NonNullable<MigrationReport['pull']>
  faults: MigrationReport['faults']
  /** Soft: reported once the destination shares. */
  soft: NonNullable<MigrationReport['soft']> | undefined
  /** Zero pages of the pull phase. */
  pulledZeroPages: number
}

export class ReportBuilder {
  readonly facts: ReportFacts = {
    outcome: 'failed',
    owner: 'source',
    stopReason: undefined,
    downtimeMs: 0,
    vcpuDowntimesMs: [],
    clockErrorMs: 0,
    downtimeParts: {},
    downtimePredictedMs: undefined,
    bytes: { sent: 0, received: 0, inDowntime: 0, control: 0 },
    checks: {},
    slowdown: { before: 0, during: 0, after: 0 },
    handshakes: { count: 0, totalMs: 0, maxMs: 0 },
    resources: { sourceCpuMs: 0, destinationCpuMs: 0, sourceRssPeak: 0, destinationRssPeak: 0 },
    pull: { pages: 0, pushed: 0, asked: 0, skipped: 0, dropped: 0, recoveries: 0, residualDependencyMs: 0 },
    faults: undefined,
    soft: undefined,
    pulledZeroPages: 0,
  }
  readonly rounds: RoundReport[] = []
  readonly #head: ReportHead
  readonly #now: () => number
  readonly #startedAt: number
  readonly #stages: Partial<Record<Stage, number>> = {}
  readonly #encodings: EncodingCounts = { zero: { pages: 0, bytes: 0 }, raw: { pages: 0, bytes: 0 } }
  #verdict: string | null = null
  #freePages = 0
  #stage: Stage = 'prepare'
  #stageStartedAt: number
  #endedAt: number | null = null
  #error: GodwitError | undefined
  #errorSide: Side = 'source'

  constructor(head: ReportHead, now: () => number) {
    this.#head = head
    this.#now = now
    this.#startedAt = now()
    this.#stageStartedAt = this.#startedAt
    publish({ type: 'stage', migration: head.id, stage: 'prepare', movement: head.settings.movement, at: 0 })
  }

  get stage(): Stage {
    return this.#stage
  }

  /** Ends the current stage and begins the next. */
  enter(stage: Stage): void {
    const now = this.#now()
    this.#stages[this.#stage] = (this.#stages[this.#stage] ?? 0) + now - this.#stageStartedAt
    this.#stage = stage
    this.#stageStartedAt = now
    const { id, settings } = this.#head
    publish({ type: 'stage', migration: id, stage, movement: settings.movement, at: now - this.#startedAt })
  }

  /** Takes in one round. */
  round(report: RoundReport, sent: RoundSent): void {
    this.rounds.push(report)
    this.#freePages += sent.free
    addCounts(this.#encodings, sent.encodings)
    this.#verdict = sent.verdict ?? this.#verdict
    publish({ type: 'round', migration: this.#head.id, round: report })
  }

  /** Free pages that are not sent in the pull phase either. */
  leftOut(pages: number): void {
    this.#freePages += pages
  }

  /** Page records of all rounds so far. */
  get sentPages(): number {
    return this.rounds.reduce((sum, round) => sum + round.sent, 0)
  }

  #withPulled(pulled: number): EncodingCounts {
    const zeroPages = this.facts.pulledZeroPages
    const rawPages = pulled - zeroPages
    const counts = structuredClone(this.#encodings)
    addCounts(counts, { zero: { pages: zeroPages, bytes: 0 }, raw: { pages: rawPages, bytes: rawPages * PAGE_BYTES } })
    return counts
  }

  /** Stops the clock: the memory at the source is discarded, or the attempt is over. */
  stopClock(): void {
    if (this.#endedAt !== null) return
    this.#endedAt = this.#now()
    this.#stages[this.#stage] = (this.#stages[this.#stage] ?? 0) + this.#endedAt - this.#stageStartedAt
  }

  fail(error: GodwitError, outcome: MigrationReport['outcome']): void {
    this.#error = error
    this.#errorSide = error.side ?? 'source'
    this.facts.outcome = outcome
  }

  /** The report as of now; checked against its own schema. */
  build(): MigrationReport {
    this.stopClock()
    const { id, guest, settings } = this.#head
    const facts = this.facts
    const pageCount = guest.memoryBytes / PAGE_BYTES
    const pulled = facts.pull.pushed + facts.pull.asked + (facts.soft?.moves.push ?? 0) + (facts.soft?.moves.pull ?? 0)
    const sent = this.sentPages + pulled
    const checks = Object.values(facts.checks)
    const { before, during, after } = facts.slowdown
    const error = this.#error
    const report: MigrationReport = {
      version: 1,
      id,
      guest: {
        name: guest.name,
        memoryBytes: guest.memoryBytes,
        pageBytes: 4096,
        vcpus: guest.vcpus,
        program: guest.program,
        ...(typeof guest.options.workload === 'string' ? { workload: guest.options.workload } : {}),
        ...(typeof guest.options.content === 'string' ? { content: guest.options.content } : {}),
        pace: paceText(guest),
        seed: guest.seed,
      },
      source: this.#head.names.source,
      destination: this.#head.names.destination,
      movement: settings.movement,
      settings: { ...settings },
      outcome: facts.outcome,
      owner: facts.owner,
      ...(facts.stopReason === undefined ? {} : { stopReason: facts.stopReason }),
      ...(error === undefined
        ? {}
        : {
            error: {
              code: error.code,
              message: error.message,
              ...(error.hint === undefined ? {} : { hint: error.hint }),
              side: this.#errorSide,
            },
          }),
      consistent: checks.length === 0 ? null : checks.every((check) => check !== false),
      checks: facts.checks,
      timeMs: {
        total: (this.#endedAt ?? this.#now()) - this.#startedAt,
        downtime: facts.downtimeMs,
        vcpuDowntimes: facts.vcpuDowntimesMs,
        clockError: facts.clockErrorMs,
        stages: { ...this.#stages },
        downtimeParts: facts.downtimeParts,
        downtimeTarget: settings.downtimeTarget,
        ...(facts.downtimePredictedMs === undefined ? {} : { downtimePredicted: facts.downtimePredictedMs }),
      },
      bytes: facts.bytes,
      pages: {
        total: pageCount,
        sent,
        encodings: this.#withPulled(pulled),
        ...(this.#verdict === null ? {} : { encodeVerdict: this.#verdict }),
        skipped: this.rounds.reduce((sum, round) => sum + round.skipped, 0),
        free: this.#freePages,
        duplicateFactor: sent / pageCount,
      },
      rounds: this.rounds,
      slowdown: {
        stepsPerSecondBefore: before,
        during,
        after,
        share: before > 0 ? Math.min(1, Math.max(0, 1 - during / before)) : 0,
      },
      ...(pulls(settings.movement) ? { pull: facts.pull } : {}),
      ...(facts.soft === undefined ? {} : { soft: facts.soft }),
      ...(facts.faults === undefined ? {} : { faults: facts.faults }),
      handshakes: facts.handshakes,
      resources: facts.resources,
    }
    const checked = reportSchema.safeParse(report)
    if (checked.success) return checked.data
    // A figure that cannot be must not lose what the migration came to.
    const { path, message } = checked.error.issues[0] ?? { path: [], message: '' }
    return { ...report, error: { code: 'internal', message: `report: ${path.join('.')}: ${message}`, side: 'source' } }
  }
}

/** The pace as an operator writes it. */
export function paceText(guest: GuestConfig): string {
  const { pace } = guest
  if (pace.kind === 'locked') return pace.lambda === null ? 'locked' : `locked:${pace.lambda}`
  return pace.perSecond === null ? 'free:max' : `free:${pace.perSecond}/s`
}
