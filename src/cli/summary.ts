// A MigrationReport in words: what moved, how long the guest stood still, what crossed the network, and what proves
// that nothing was lost. `migrate` and `demo` print it; it computes nothing that the report does not say.

import { GodwitError } from '../errors.ts'
import type { MigrationReport } from '../migration/report.ts'
import { formatBytes, formatCount, formatMs, formatRate } from '../quantities.ts'
import { pullLines } from './pull-summary.ts'
import { row } from './rows.ts'
import { serviceLines } from './service-summary.ts'
import { softLines } from './soft-summary.ts'

const STOP_REASONS: Record<string, string> = {
  'small-remainder': 'few pages were left',
  'downtime-target': 'the rest fitted into the downtime target',
  'no-progress': 'the guest wrote as fast as the link carries; waiting would not have helped',
  'max-rounds': 'the limit of rounds was reached',
  'max-factor': 'three times its memory had been sent',
  requested: 'the movement asks for it',
}
const ROUNDS_SHOWN = 12

/** 0 completed and consistent, 1 failed or cancelled, 3 unreconciled, 4 lost, 5 inconsistent. */
export function exitStatus(report: MigrationReport): number {
  if (report.outcome === 'unreconciled') return 3
  if (report.outcome === 'lost') return 4
  if (report.outcome !== 'completed') return 1
  return report.consistent === false ? 5 : 0
}

/** True when every check that ran passed, null when none ran. */
export function consistentOf(checks: MigrationReport['checks']): boolean | null {
  const ran = Object.values(checks).filter((check) => check !== undefined)
  return ran.length === 0 ? null : ran.every(Boolean)
}

/** The whole summary, several lines. */
export function summarize(report: MigrationReport): string {
  const lines = [headline(report), '']
  lines.push(...guestLines(report))
  if (report.outcome === 'completed') lines.push(...timeLines(report))
  lines.push(...byteLines(report), ...pullLines(report), ...softLines(report), ...serviceLines(report))
  if (report.rounds.length > 0) lines.push('', ...roundLines(report))
  lines.push('', ...proofLines(report))
  return lines.join('\n')
}

/** One line for one of many hops. */
export function summarizeShortly(report: MigrationReport): string {
  return [
    `${report.source} → ${report.destination}`,
    report.outcome,
    `downtime ${formatMs(report.timeMs.downtime)}`,
    `total ${formatMs(report.timeMs.total)}`,
    `${formatBytes(report.bytes.sent)} sent`,
    report.consistent === null ? 'not checked' : report.consistent ? 'consistent' : 'INCONSISTENT',
  ].join(' · ')
}

function headline(report: MigrationReport): string {
  const { guest, source, destination } = report
  switch (report.outcome) {
    case 'completed':
      return report.consistent === false
        ? `Guest ${guest.name} moved from ${source} to ${destination}, but its memory did NOT pass every check.`
        : `Guest ${guest.name} moved from ${source} to ${destination} ${stillness(report)}.`
    case 'cancelled':
      return `The migration of ${guest.name} was cancelled; the guest goes on at ${source}.`
    case 'failed':
      return `The migration of ${guest.name} failed${why(report)}; ${whereIs(report)}.`
    case 'unreconciled':
      return `It is not known who owns guest ${guest.name}${why(report)}; it runs nowhere until both hosts agree (godwit resolve).`
    case 'lost':
      return `Guest ${guest.name} is lost${why(report)}.`
  }
}

function stillness({ movement, guest, timeMs }: MigrationReport): string {
  const downtime = formatMs(timeMs.downtime)
  if (movement !== 'soft' || guest.vcpus === 1) return `and stood still for ${downtime}`
  return `vCPU by vCPU, none of which stood still for more than ${downtime}`
}

function why(report: MigrationReport): string {
  return report.error === undefined ? '' : `: ${report.error.message} (${report.error.code})`
}

function whereIs(report: MigrationReport): string {
  if (report.owner === 'nobody') return 'it runs nowhere'
  return `the guest is at ${report.owner === 'source' ? report.source : report.destination}`
}

function guestLines({ guest, movement, settings }: MigrationReport): string[] {
  const what = [formatBytes(guest.memoryBytes), `${guest.vcpus} vCPU${guest.vcpus === 1 ? '' : 's'}`]
  what.push([guest.program, guest.workload, guest.content].filter((word) => word !== undefined).join(' '))
  if (guest.pace !== undefined) what.push(`pace ${guest.pace}`)
  const how: string[] = [movement]
  if (typeof settings.channels === 'number')
    how.push(`${settings.channels} channel${settings.channels === 1 ? '' : 's'}`)
  how.push(typeof settings.bandwidth === 'number' ? `held to ${formatRate(settings.bandwidth)}` : 'no bandwidth limit')
  return [row('guest', what.join(', ')), row('how', how.join(', '))]
}

function timeLines({ movement, guest, timeMs, stopReason, slowdown }: MigrationReport): string[] {
  const target = timeMs.downtimeTarget === undefined ? '' : ` (target ${formatMs(timeMs.downtimeTarget)}`
  const predicted = timeMs.downtimePredicted === undefined ? '' : `predicted ${formatMs(timeMs.downtimePredicted)}`
  const compared =
    target === '' ? (predicted === '' ? '' : ` (${predicted})`) : `${target}${predicted && `, ${predicted}`})`
  const othersRan = movement === 'soft' && guest.vcpus > 1
  const what = othersRan ? 'the longest crossing of one vCPU; others ran' : 'no vCPU ran for so long'
  const lines = [row('downtime', `${formatMs(timeMs.downtime)}${compared}: ${what}`)]
  const parts = Object.entries(timeMs.downtimeParts).filter(([, ms]) => ms > 0)
  if (parts.length > 0) lines.push(row('', parts.map(([name, ms]) => `${words(name)} ${formatMs(ms)}`).join(' + ')))
  const stages = Object.entries(timeMs.stages).map(([name, ms]) => `${name} ${formatMs(ms)}`)
  lines.push(row('total', `${formatMs(timeMs.total)}: ${stages.join(' + ')}`))
  if (stopReason !== undefined) lines.push(row('stopped', `because ${STOP_REASONS[stopReason] ?? stopReason}`))
  if (slowdown.stepsPerSecondBefore > 0) {
    const [before, during] = [formatCount(slowdown.stepsPerSecondBefore), formatCount(slowdown.during)]
    lines.push(row('speed', `the guest made ${before} steps/s before and ${during} steps/s during the migration`))
  }
  return lines
}

const words = (camelCase: string): string => camelCase.replaceAll(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`)

function byteLines({ bytes, pages, guest }: MigrationReport): string[] {
  const share = guest.memoryBytes === 0 ? 0 : bytes.sent / guest.memoryBytes
  const kept = pages.encodings.kept?.pages ?? 0
  const lines = [
    row(
      'network',
      `${formatBytes(bytes.sent)} sent, ${share.toFixed(2)} times the memory; ${formatBytes(bytes.inDowntime)} while the guest stood still`,
    ),
  ]
  const zero = pages.encodings.zero?.pages ?? 0
  const texts = [`${formatCount(pages.sent)} page records for ${formatCount(pages.total)} pages`]
  if (zero > 0) texts.push(`${formatCount(zero)} all-zero without content`)
  if (pages.free > 0) texts.push(`${formatCount(pages.free)} free and not sent`)
  if (pages.skipped > 0) texts.push(`${formatCount(pages.skipped)} left out because they were dirty again`)
  lines.push(row('pages', texts.join('; ')))
  if (kept > 0) lines.push(row('kept copy', `${shareText(kept / pages.total)} of the pages were there already`))
  const ways = Object.entries(pages.encodings).filter(([name]) => name !== 'zero' && name !== 'raw')
  const each = ways.map(([name, one]) => `${name} ${formatCount(one.pages)} (${formatBytes(one.bytes)})`)
  if (each.length > 0) lines.push(row('encoded', each.join(', ')))
  if (pages.encodeVerdict !== undefined) lines.push(row(each.length > 0 ? '' : 'encoded', pages.encodeVerdict))
  return lines
}

const shareText = (share: number): string => `${(100 * share).toFixed(share < 0.1 || share > 0.99 ? 1 : 0)} %`

function roundLines({ rounds }: MigrationReport): string[] {
  const head = ['round', 'dirty', 'sent', 'bytes', 'time', 'rate', 'decision']
  const cut = rounds.length > ROUNDS_SHOWN
  const shown = cut ? [...rounds.slice(0, ROUNDS_SHOWN / 2), ...rounds.slice(-ROUNDS_SHOWN / 2)] : rounds
  const table = shown.map((round) => [
    round.decision === 'final' ? 'final' : String(round.index),
    formatCount(round.dirty),
    formatCount(round.sent),
    formatBytes(round.bytes),
    formatMs(round.ms),
    formatRate(round.bytesPerSecond),
    round.decision === 'final' ? 'guest stood still' : round.decision,
  ])
  const last = head.length - 1
  const widths = head.map((name, i) => Math.max(name.length, ...table.map((cells) => cells[i]?.length ?? 0)))
  const format = (cells: string[]): string =>
    `  ${cells.map((cell, i) => (i === last ? cell : cell.padStart(widths[i] ?? 0))).join('  ')}`
  const lines = [format(head), ...table.map(format)]
  if (cut) lines.splice(1 + ROUNDS_SHOWN / 2, 0, `  … ${rounds.length - ROUNDS_SHOWN} more rounds …`)
  return lines
}

const CHECKS: Record<string, [passed: string, failed: string]> = {
  digest: ['both hosts have the same digest of all memory', 'the digests of the two hosts DIFFER'],
  audit: ['no write at the source escaped the tracking', 'a page CHANGED at the source without being tracked'],
  oracle: [
    'a separate process replayed the guest: every byte is equal',
    'the guest differs from its replay in a separate process',
  ],
  counters: ['every counter of the guest is right', 'a counter of the guest is WRONG'],
}

function proofLines(report: MigrationReport): string[] {
  const lines = Object.entries(report.checks)
    .filter(([, passed]) => passed !== undefined)
    .map(([name, passed]) => row(name, `${passed ? '✔' : '✘'} ${CHECKS[name]?.[passed ? 0 : 1] ?? name}`))
  const verdict = report.consistent === null ? 'not checked' : report.consistent ? 'yes' : 'NO'
  lines.push(row('consistent', verdict))
  if (report.error !== undefined && report.outcome === 'completed') {
    lines.push(row('error', `${report.error.message} (${report.error.code})`))
  }
  if (report.error?.hint !== undefined) lines.push(row('hint', report.error.hint))
  return lines
}

/** A report of a demo whose oracle could not run: the migration itself may have been fine. */
export function withoutOracle(report: MigrationReport, thrown: unknown): MigrationReport {
  const { code, message, hint } = GodwitError.from(thrown, 'oracle-failed')
  const side = report.owner === 'source' ? 'source' : 'destination'
  const reason = hint === undefined ? {} : { hint }
  return {
    ...report,
    outcome: 'failed',
    error: { code, message: `the oracle could not run: ${message}`, ...reason, side },
  }
}
