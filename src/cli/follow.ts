// Follows a migration to its report: by the event stream, and by asking when the stream ends early (an agent may be
// restarted while its guest's migration goes on). `migrate` and `demo` use it.

import { setTimeout as sleep } from 'node:timers/promises'
import { GodwitError } from '../errors.ts'
import type { MigrationEvent } from '../events.ts'
import type { MigrationReport } from '../migration/report.ts'
import type { AgentClient } from './agent-client.ts'
import { ProgressLine } from './progress-line.ts'
import type { Terminal } from './terminal.ts'

const ASK_AGAIN_MS = 100
const GIVE_UP_AFTER_MS = 30_000

/** The migration's report. Rejects with `unreachable` when the agent stays away, or with AbortError by `signal`. */
export async function follow(
  client: AgentClient,
  id: string,
  terminal: Terminal | null,
  signal: AbortSignal,
  onEvent: (event: MigrationEvent) => void = () => {},
): Promise<MigrationReport> {
  const progress = terminal === null ? null : new ProgressLine(terminal)
  const show = (event: MigrationEvent): void => {
    onEvent(event)
    progress?.show(event)
  }
  try {
    return (await reportFromStream(client, id, show, signal)) ?? (await askForReport(client, id, signal))
  } finally {
    progress?.clear()
  }
}

async function reportFromStream(
  client: AgentClient,
  id: string,
  show: (event: MigrationEvent) => void,
  signal: AbortSignal,
): Promise<MigrationReport | null> {
  try {
    for await (const event of client.events(id, signal)) {
      if (event.type === 'report') return event.report
      show(event)
    }
    signal.throwIfAborted()
  } catch (error) {
    signal.throwIfAborted()
    if (error instanceof GodwitError && !['unreachable', 'too-many-migrations'].includes(error.code)) throw error
  }
  return null
}

async function askForReport(client: AgentClient, id: string, signal: AbortSignal): Promise<MigrationReport> {
  let answeredAt = performance.now()
  for (;;) {
    try {
      const { report } = await client.migration(id)
      if (report !== null) return report
      answeredAt = performance.now()
    } catch (error) {
      const away = error instanceof GodwitError && error.code === 'unreachable'
      if (!away || performance.now() - answeredAt > GIVE_UP_AFTER_MS) throw error
    }
    await sleep(ASK_AGAIN_MS, undefined, { signal })
  }
}
