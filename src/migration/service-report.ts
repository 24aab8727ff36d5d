// What clients saw of a migration: the section `service` of the report. `godwit load` measures it (docs/load.md defines
// every figure); the commands that drive a load beside a migration put it in.

import { z } from 'zod'

const ms = z.number().nonnegative()
const count = z.int().nonnegative()

/** Latencies, ms, from when each operation was due. */
export const percentilesSchema = z.object({ p50: ms, p90: ms, p99: ms, p999: ms, max: ms })

export const serviceReportSchema = z.object({
  /** Operations of all three windows, with and without a good reply; the latter alone; and connections lost. */
  requests: count,
  failed: count,
  disconnects: count,
  /** Errors by their text. */
  errors: z.record(z.string(), count),
  /** Service downtime: the longest gap that a connection saw during the migration. */
  longestGapMs: ms,
  /** The longest of a window of `calmMs` without migration, and what the migration's has in excess of it. */
  calmGapMs: ms,
  calmMs: ms,
  excessGapMs: ms,
  /** The longest time during the migration in which no connection at all had a reply. */
  longestSilenceMs: ms,
  duringWindowMs: ms,
  operationsPerSecond: z.object({ before: ms, during: ms, after: ms }),
  beforeMs: percentilesSchema,
  duringMs: percentilesSchema,
  afterMs: percentilesSchema,
  /** No counter lost or doubled an increment, and no reply was another one's. */
  exact: z.boolean(),
})

export type ServiceReport = z.output<typeof serviceReportSchema>
