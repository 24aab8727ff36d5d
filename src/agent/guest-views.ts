// A guest's status as the API shows it. Called by agent.ts.

import type { GuestStatus } from '../guest-process/host-port.ts'
import type { GuestView } from './schemas.ts'

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
