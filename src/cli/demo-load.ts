// The demo of a guest that serves: clients drive it before, while and after it moves, and the report says what they saw.

import type { MigrationReport } from '../migration/report.ts'
import { withService } from './service-summary.ts'
import { watchService } from './service-watch.ts'
import type { Terminal } from './terminal.ts'

/** How long the guest is driven before it moves, and at least after it. */
const BEFORE_MS = 2000
const AFTER_MS = 1000
/** 32 MiB of values: enough that a move takes a moment. */
const KEYS = 32_768
const VALUE_BYTES = 1000

export interface DemoLoad {
  /** The service port of the first agent, which forwards for as long as it lives. */
  readonly port: number
  /** Requests a second. */
  readonly rate: number
  readonly signal: AbortSignal
  readonly watched: Terminal | null
}

/** Runs `migrate` under load; what clients saw is added to the last of `reports`. */
export async function underLoad(
  { port, rate, signal, watched }: DemoLoad,
  reports: MigrationReport[],
  migrate: () => Promise<void>,
): Promise<void> {
  watched?.error(`  clients write ${KEYS} keys, then make ${rate} requests/s at port ${port}\n`)
  const load = { targets: [{ host: '127.0.0.1', port }], rate, keys: KEYS, valueBytes: VALUE_BYTES }
  const { service } = await watchService({ load, beforeMs: BEFORE_MS, afterMs: AFTER_MS, signal }, migrate)
  const last = reports.at(-1)
  if (last !== undefined) reports[reports.length - 1] = withService(last, service)
}
