// What the engine publishes on node:diagnostics_channel. Report, progress, event stream and logs subscribe;
// the engine imports none of them.

import { channel } from 'node:diagnostics_channel'
import type { RoundReport, Stage } from './migration/report.ts'
import type { Movement } from './migration/settings.ts'

/** Live figures of a migration; `workDone` never runs backwards. */
export interface Progress {
  stage: Stage
  round: number
  /** Page records sent so far, all rounds. */
  workDone: number
  /** Pages of the guest that are clean at the destination now. */
  cleanPages: number
  totalPages: number
  bytesSent: number
  bytesPerSecond: number
  dirtyPagesPerSecond: number
  predictedDowntimeMs: number | null
  /** `converging`, `stable` or `diverging`, by the last rounds. */
  trend: 'converging' | 'stable' | 'diverging' | 'unknown'
  /** Milliseconds to completion: lowest and highest guess, null when it will not converge. */
  etaMs: [number, number] | null
  /** Pull phase: pages still missing at the destination, and faults answered so far. */
  missingPages?: number
  faults?: number
  /** One plain sentence. */
  reason: string
}

export type MigrationEvent =
  | { type: 'stage'; migration: string; stage: Stage; movement?: Movement; at: number }
  | { type: 'round'; migration: string; round: RoundReport }
  | { type: 'progress'; migration: string; progress: Progress }
  | { type: 'ended'; migration: string; outcome: string }

const migrationChannel = channel('godwit:migration')

/** Publishes one event; costs nothing while nobody listens. */
export function publish(event: MigrationEvent): void {
  if (migrationChannel.hasSubscribers) migrationChannel.publish(event)
}

/** Subscribes to the events of one migration (or all, with null). Returns the way to stop. */
export function onMigrationEvent(migration: string | null, listener: (event: MigrationEvent) => void): () => void {
  const receive = (message: unknown): void => {
    const event = message as MigrationEvent
    if (migration === null || event.migration === migration) listener(event)
  }
  migrationChannel.subscribe(receive)
  return () => migrationChannel.unsubscribe(receive)
}
