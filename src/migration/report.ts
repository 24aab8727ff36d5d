// MigrationReport, version 1: the one document every view is drawn from. Field names are fixed; add, never rename.
// Times are milliseconds with microsecond resolution, sizes bytes, rates per second, shares 0–1.

import { z } from 'zod'
import { serviceReportSchema } from './service-report.ts'
import { MOVEMENTS } from './settings.ts'

/** The stages of every movement. */
export const STAGES_BEFORE_PULL = ['prepare', 'reserve', 'iterate', 'stop', 'commit', 'activate'] as const
export const STAGES = [...STAGES_BEFORE_PULL, 'pull'] as const
export type Stage = (typeof STAGES)[number]
export const DOWNTIME_PARTS = ['handshake', 'lastRound', 'digest', 'commit', 'state', 'activate'] as const
export const STOP_REASONS = [
  'small-remainder',
  'downtime-target',
  'no-progress',
  'max-rounds',
  'max-factor',
  'requested',
] as const
export type StopReason = (typeof STOP_REASONS)[number]

const ms = z.number()
const bytes = z.number().nonnegative()
const pages = z.int().nonnegative()
const checks = z.strictObject({
  digest: z.boolean().optional(),
  audit: z.boolean().optional(),
  oracle: z.boolean().optional(),
  counters: z.boolean().optional(),
})

export const roundSchema = z.object({
  index: z.int().nonnegative(),
  dirty: pages,
  sent: pages,
  skipped: pages,
  bytes,
  ms,
  dirtyPagesPerSecond: z.number(),
  bytesPerSecond: z.number(),
  predictedDowntimeMs: z.number().optional(),
  decision: z.string(),
})
export type RoundReport = z.output<typeof roundSchema>

export const reportSchema = z.object({
  version: z.literal(1),
  id: z.string(),
  guest: z.object({
    name: z.string(),
    memoryBytes: bytes,
    pageBytes: z.literal(4096),
    vcpus: z.int(),
    program: z.string(),
    workload: z.string().optional(),
    content: z.string().optional(),
    pace: z.string().optional(),
    seed: z.int().optional(),
  }),
  source: z.string(),
  destination: z.string(),
  movement: z.enum(MOVEMENTS),
  settings: z.record(z.string(), z.unknown()),
  outcome: z.enum(['completed', 'cancelled', 'failed', 'unreconciled', 'lost']),
  owner: z.enum(['source', 'destination', 'nobody']),
  stopReason: z.enum(STOP_REASONS).optional(),
  error: z
    .object({
      code: z.string(),
      message: z.string(),
      hint: z.string().optional(),
      side: z.enum(['source', 'destination']),
    })
    .optional(),
  consistent: z.boolean().nullable(),
  checks,
  timeMs: z.object({
    total: ms,
    downtime: ms,
    vcpuDowntimes: z.array(ms),
    clockError: ms,
    stages: z.partialRecord(z.enum(STAGES), ms),
    downtimeParts: z.partialRecord(z.enum(DOWNTIME_PARTS), ms),
    downtimeTarget: ms.optional(),
    downtimePredicted: ms.optional(),
  }),
  bytes: z.object({ sent: bytes, received: bytes, inDowntime: bytes, control: bytes }),
  pages: z.object({
    total: pages,
    sent: pages,
    encodings: z.record(z.string(), z.object({ pages, bytes, cpuMs: z.number().optional() })),
    /** What `--encode adaptive` came to, in one line. */
    encodeVerdict: z.string().optional(),
    skipped: pages,
    free: pages,
    duplicateFactor: z.number(),
  }),
  rounds: z.array(roundSchema),
  faults: z
    .object({
      network: pages,
      localWait: pages,
      stallMs: ms,
      vcpuStallMs: z.array(ms),
      latencyUs: z.object({ p50: z.number(), p90: z.number(), p99: z.number(), max: z.number() }),
      histogram: z.array(z.int().nonnegative()),
    })
    .optional(),
  /** Pull phase: pages by how they came, cuts recovered from, and how long the destination depended on the source. */
  pull: z
    .object({
      pages,
      pushed: pages,
      asked: pages,
      skipped: pages,
      dropped: pages,
      recoveries: z.int().nonnegative(),
      residualDependencyMs: ms,
    })
    .optional(),
  /** Soft: each vCPU's crossing; pages by why they moved; how long both hosts ran vCPUs, and what each served meanwhile. */
  soft: z
    .object({
      dualServingMs: ms,
      crossingMs: z.array(ms),
      /** Pages that the destination did not have at the switch: push + pull + ahead − again, once everything is there. */
      staleAtSwitch: pages,
      moves: z.object({
        /** Given with data because nobody had asked yet, because somebody had, and sent in rounds before a vCPU crossed. */
        push: pages,
        pull: pages,
        ahead: pages,
        /** Of those three: written since the switch, or under way when the link was lost. */
        again: pages,
        withoutData: pages,
        returned: pages,
        pingPongPages: pages,
      }),
      recoveries: z.int().nonnegative(),
      servedBySource: z.int().nonnegative(),
      servedByDestination: z.int().nonnegative(),
    })
    .optional(),
  /** What clients of the guest saw, when somebody looked. */
  service: serviceReportSchema.optional(),
  slowdown: z.object({ stepsPerSecondBefore: z.number(), during: z.number(), after: z.number(), share: z.number() }),
  handshakes: z.object({ count: z.int(), totalMs: ms, maxMs: ms }),
  resources: z.object({ sourceCpuMs: ms, destinationCpuMs: ms, sourceRssPeak: bytes, destinationRssPeak: bytes }),
})

/** See `docs/operations.md` for how to read one. */
export type MigrationReport = z.output<typeof reportSchema>
