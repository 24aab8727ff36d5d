// The demo of a guest that serves: clients drive it before, while and after it moves, and the report says what they saw.

import type { MigrationReport } from '../migration/report.ts'
import { formatCount } from '../quantities.ts'
import type { Operations } from './load-options.ts'
import { withService } from './service-summary.ts'
import { watchService } from './service-watch.ts'
import type { Terminal } from './terminal.ts'

/** How long the guest is driven before it moves, and at least after it. */
const BEFORE_MS = 2000
const AFTER_MS = 1000

export interface DemoLoad extends Operations {
  /** The service port of the first agent, which forwards for as long as it lives. */
  readonly port: number
  readonly signal: AbortSignal
  readonly watched: Terminal | null
}

/** Runs `migrate` under load; what clients saw is added to the last of `reports`. */
export async function underLoad(
  { port, signal, watched, ...operations }: DemoLoad,
  reports: MigrationReport[],
  migrate: () => Promise<void>,
): Promise<void> {
  const { keys, rate } = operations
  watched?.error(
    `  clients write ${formatCount(keys)} keys, then make ${formatCount(rate)} requests/s at port ${port}\n`,
  )
  const load = { targets: [{ host: '127.0.0.1', port }], ...operations }
  const { service } = await watchService({ load, beforeMs: BEFORE_MS, afterMs: AFTER_MS, signal }, migrate)
  const last = reports.at(-1)
  if (last !== undefined) reports[reports.length - 1] = withService(last, service)
}
