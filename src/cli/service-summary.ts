// What clients saw of a migration, in words, and how it gets into a report. summary.ts prints it for reports that have it.

import type { MigrationReport } from '../migration/report.ts'
import type { ServiceReport } from '../migration/service-report.ts'
import { formatCount, formatMs } from '../quantities.ts'
import { row } from './rows.ts'

/** Rows of the service; none when nobody looked. */
export function serviceLines({ service }: MigrationReport): string[] {
  if (service === undefined) return []
  const { longestGapMs, calmGapMs, excessGapMs, beforeMs, duringMs, afterMs } = service
  const percentiles = [beforeMs, duringMs, afterMs].map(({ p50, p99 }) => `${formatMs(p50)} / ${formatMs(p99)}`)
  const [before, during, after] = percentiles
  const lines = [
    row(
      'service',
      `no client waited longer than ${formatMs(longestGapMs)} for a reply (${formatMs(calmGapMs)} without migration)`,
    ),
    row('', `${formatMs(excessGapMs)} of it are the migration's`),
    row('', `latency p50 / p99: ${before} before, ${during} during, ${after} after`),
    row(
      '',
      `${formatCount(service.requests)} requests, ${formatCount(service.failed)} failed, ${formatCount(service.disconnects)} disconnects`,
    ),
  ]
  return [
    ...lines,
    ...Object.entries(service.errors).map(([text, count]) => row('', `${formatCount(count)} × ${text}`)),
  ]
}

/** The report with what clients saw; exactness is one of its checks. */
export function withService(report: MigrationReport, service: ServiceReport): MigrationReport {
  const checks = { ...report.checks, counters: service.exact }
  return { ...report, service, checks, consistent: Object.values(checks).every((passed) => passed !== false) }
}
