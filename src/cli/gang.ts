// Several guests that move together: one after the other, so that each has the whole link, and all in one gang, so that those
// behind refer to what those before have brought. `godwit migrate` with several names.

import { randomBytes } from 'node:crypto'
import { GodwitError } from '../errors.ts'
import type { MigrationReport } from '../migration/report.ts'
import type { MigrationOptions } from '../migration/settings.ts'
import { formatBytes, formatCount, formatMs } from '../quantities.ts'
import { exitStatus, summarize } from './summary.ts'
import type { Terminal } from './terminal.ts'

export interface GangWorld {
  /** Moves one guest; its report, or, when it was detached from, the id of its migration. */
  move(name: string, settings: MigrationOptions): Promise<MigrationReport | string>
  /** Whether the operator wants no further guest to begin. */
  ended(): boolean
  readonly terminal: Terminal
  readonly json: boolean
  /** The destination, as the operator wrote it. */
  readonly to: string
}

/** Moves the guests until one does not get there; returns the worst exit status. Throws what not even the first can do. */
export async function moveGang(
  names: readonly string[],
  settings: MigrationOptions,
  { move, ended, terminal, json, to }: GangWorld,
): Promise<number> {
  const gang = randomBytes(16).toString('hex')
  const reports: MigrationReport[] = []
  let status = 0
  let detached: string | null = null
  let failure: GodwitError | null = null
  for (const name of names) {
    if (ended()) break
    const moved = await move(name, { ...settings, gang }).catch((thrown: unknown) => GodwitError.from(thrown))
    if (moved instanceof GodwitError && reports.length === 0) throw moved
    if (moved instanceof GodwitError) failure = moved
    else if (typeof moved === 'string') detached = moved
    else {
      reports.push(moved)
      if (!json) terminal.out(`${summarize(moved)}\n`)
      status = Math.max(status, exitStatus(moved))
    }
    const got = typeof moved === 'object' && !(moved instanceof GodwitError) && moved.outcome === 'completed'
    if (!got) break
  }
  const rest = names.slice(reports.length + (detached === null ? 0 : 1))
  if (json) {
    const error = failure === null ? {} : { error: failure.toJSON() }
    terminal.out(JSON.stringify({ gang, reports, ...(detached === null ? {} : { detached }), ...error }))
  } else terminal.out(closingLine(reports, names.length))
  if (failure !== null) terminal.error(`godwit: ${rest[0]}: ${failure.message} (${failure.code})\n`)
  if (failure?.hint !== undefined) terminal.error(`  hint: ${failure.hint}\n`)
  const stayed = rest.slice(failure === null ? 0 : 1)
  if (reports.length < names.length || status !== 0) sayWhere(terminal, to, reports, stayed)
  return Math.max(status, reports.length === names.length ? 0 : 1)
}

/** All of them in one line. */
export function closingLine(reports: readonly MigrationReport[], wanted: number): string {
  const sum = (of: (report: MigrationReport) => number): number => reports.reduce((all, one) => all + of(one), 0)
  const moved = reports.filter(({ outcome }) => outcome === 'completed').length
  return [
    moved === wanted ? `${wanted} guests moved` : `${moved} of ${wanted} guests moved`,
    `${formatBytes(sum(({ bytes }) => bytes.sent))} sent`,
    formatMs(sum(({ timeMs }) => timeMs.total)),
    `${formatCount(sum(({ pages }) => pages.encodings.shared?.pages ?? 0))} pages were there already`,
  ].join(' · ')
}

/** What became of which guest, when not all have moved. */
function sayWhere(
  terminal: Terminal,
  to: string,
  reports: readonly MigrationReport[],
  notBegun: readonly string[],
): void {
  const named = (which: (report: MigrationReport) => boolean): string =>
    reports
      .filter(which)
      .map(({ guest }) => guest.name)
      .join(', ')
  const moved = named(({ outcome }) => outcome === 'completed')
  const others = named(({ outcome }) => outcome !== 'completed')
  if (moved !== '') terminal.error(`  moved to ${to}: ${moved}\n`)
  if (others !== '') terminal.error(`  not moved, see above: ${others}\n`)
  if (notBegun.length > 0) terminal.error(`  not begun, where they were: ${notBegun.join(', ')}\n`)
}
