// The report of a migration whose guest process could not write one: it died, or refused before it began. Everything
// that was not measured is zero.

import type { GodwitError } from '../errors.ts'
import type { GuestConfig } from '../guest/config.ts'
import { PAGE_BYTES } from '../limits.ts'
import type { MigrationReport } from '../migration/report.ts'
import { paceText } from '../migration/report-builder.ts'
import { type MigrationOptions, settingsSchema } from '../migration/settings.ts'

export interface StubFacts {
  readonly id: string
  readonly guest: GuestConfig
  readonly source: string
  readonly destination: string
  readonly settings: MigrationOptions
  readonly outcome: MigrationReport['outcome']
  readonly owner: MigrationReport['owner']
  readonly error: GodwitError
  readonly totalMs: number
}

/** Builds such a report. */
export function stubReport(facts: StubFacts): MigrationReport {
  const settings = settingsSchema.parse(facts.settings)
  const { guest, error } = facts
  const { workload, content } = guest.options
  return {
    version: 1,
    id: facts.id,
    guest: {
      name: guest.name,
      memoryBytes: guest.memoryBytes,
      pageBytes: PAGE_BYTES,
      vcpus: guest.vcpus,
      program: guest.program,
      ...(typeof workload === 'string' ? { workload } : {}),
      ...(typeof content === 'string' ? { content } : {}),
      pace: paceText(guest),
      seed: guest.seed,
    },
    source: facts.source,
    destination: facts.destination,
    movement: settings.movement,
    settings,
    outcome: facts.outcome,
    owner: facts.owner,
    error: {
      code: error.code,
      message: error.message,
      ...(error.hint === undefined ? {} : { hint: error.hint }),
      side: error.side ?? 'source',
    },
    consistent: null,
    checks: {},
    timeMs: {
      total: facts.totalMs,
      downtime: 0,
      vcpuDowntimes: [],
      clockError: 0,
      stages: {},
      downtimeParts: {},
      downtimeTarget: settings.downtimeTarget,
    },
    bytes: { sent: 0, received: 0, inDowntime: 0, control: 0 },
    pages: {
      total: guest.memoryBytes / PAGE_BYTES,
      sent: 0,
      encodings: {},
      skipped: 0,
      free: 0,
      duplicateFactor: 0,
    },
    rounds: [],
    slowdown: { stepsPerSecondBefore: 0, during: 0, after: 0, share: 0 },
    handshakes: { count: 0, totalMs: 0, maxMs: 0 },
    resources: { sourceCpuMs: 0, destinationCpuMs: 0, sourceRssPeak: 0, destinationRssPeak: 0 },
  }
}
