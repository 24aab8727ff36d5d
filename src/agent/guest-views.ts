// A guest's status and a migration as the API shows them. Called by agent.ts.

import type { GuestStatus } from '../guest-process/host-port.ts'
import type { MigrationReport } from '../migration/report.ts'
import type { Departure } from './departures.ts'
import type { GuestView, MigrationView } from './schemas.ts'

/** `servicePort`: where clients of the guest are served at this agent; null: nowhere. */
export function viewOf({ config, migration, ...status }: GuestStatus, servicePort: number | null): GuestView {
  const progress = migration?.progress ?? null
  return {
    ...status,
    name: config.name,
    id: config.id,
    config,
    servicePort,
    migration: migration === null ? null : { ...migration, progress: progress === null ? null : { ...progress } },
  }
}

/** What is known of a migration: that it is under way from here, its report, or what a guest here says of it. */
export function migrationView(
  id: string,
  departure: Departure | undefined,
  report: MigrationReport | null,
  guests: readonly GuestView[],
): MigrationView | null {
  if (departure !== undefined) {
    const { entry, peer, progress } = departure
    return { id, guest: entry.config.name, role: 'source', peer, state: 'running', progress, report: null }
  }
  if (report !== null) {
    const { guest, destination } = report
    return { id, guest: guest.name, role: 'source', peer: destination, state: 'ended', progress: null, report }
  }
  for (const { name, state, migration } of guests) {
    if (migration?.id !== id) continue
    const running = state === 'incoming' || state === 'migrating' || state === 'pulling' || state === 'shared'
    const { role, peer, progress } = migration
    return { id, guest: name, role, peer, state: running ? 'running' : 'ended', progress, report: null }
  }
  return null
}
