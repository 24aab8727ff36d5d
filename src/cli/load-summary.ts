// A load in words: the line that is redrawn while it runs, and the table at the end. `godwit load` prints both; they
// compute nothing that the result does not say.

import type { LoadProgress, LoadResult, WindowResult } from '../load/result.ts'
import { formatCount, formatMs } from '../quantities.ts'
import { row } from './rows.ts'
import { serviceText } from './service-address.ts'

const ERRORS_SHOWN = 8

/** 0 exact and nothing failed, 1 something failed, 5 not exact. */
export function loadStatus({ exact, failed, disconnects }: LoadResult): number {
  if (!exact) return 5
  return failed + disconnects > 0 ? 1 : 0
}

export function loadProgressText(progress: LoadProgress): string {
  if (progress.elapsedMs < 0) return 'warming up'
  return [
    formatMs(progress.elapsedMs),
    progress.window,
    `${formatCount(progress.operationsPerSecond)}/s`,
    `p50 ${formatMs(progress.p50Ms)}`,
    `p99 ${formatMs(progress.p99Ms)}`,
    `longest gap ${formatMs(progress.longestGapMs)}`,
    `${formatCount(progress.failed)} failed`,
    ...(progress.disconnects === 0 ? [] : [`${formatCount(progress.disconnects)} disconnects`]),
  ].join(' · ')
}

export function summarizeLoad(result: LoadResult): string {
  const { settings, generator, counters } = result
  const lines = [
    headline(result),
    '',
    row('Load', loadText(result)),
    ...(isBehind(result) ? [row('Rate', rateText(result))] : []),
    row('Service', settings.targets.map(serviceText).join(', ')),
    row('Late', lateText(generator)),
    '',
    ...table(result.windows),
  ]
  const errors = Object.entries(result.errors).sort(([, a], [, b]) => b - a)
  if (errors.length > 0) lines.push('', ...errors.slice(0, ERRORS_SHOWN).map(([text, count]) => `  ${count} × ${text}`))
  if (errors.length > ERRORS_SHOWN) lines.push(`  and ${errors.length - ERRORS_SHOWN} other kinds of errors`)
  lines.push('', row('Counters', countersText(counters)))
  for (const { counter, read, least, most } of counters.examples) {
    const wanted = least === most ? `${least}` : `${least} to ${most}`
    lines.push(row('', `counter ${counter} is ${read}, and must be ${wanted}`))
  }
  return lines.join('\n')
}

function headline({ exact, failed, disconnects, longestGapMs, requests, counters }: LoadResult): string {
  const operations = `${formatCount(requests)} operations`
  // Nothing is known to be wrong, and nothing to be right.
  if (!exact && counters.lost + counters.doubled + counters.wrongReplies === 0) {
    return `${operations}; whether the service kept what it acknowledged could not be found out.`
  }
  if (!exact) return `${operations}, and the service did NOT keep what it acknowledged.`
  if (failed + disconnects > 0) {
    return `${operations}, ${formatCount(failed)} failed, ${formatCount(disconnects)} disconnects.`
  }
  return `${operations}, none failed; no connection waited longer than ${formatMs(longestGapMs)} for a reply.`
}

function loadText({ settings, durationMs }: LoadResult): string {
  const { rate, connections, writes, increments, keys, distribution, valueBytes, arrivals, seed } = settings
  const written = `${Math.round(writes * 100)} % writes, of which ${Math.round(increments * 100)} % increments`
  const keyed = `${formatCount(keys)} keys (${distribution}) with values of ${valueBytes} B`
  const opened = `${connections} connection${connections === 1 ? '' : 's'}`
  return `${formatCount(rate)}/s (${arrivals}) on ${opened} for ${formatMs(durationMs)}; ${written}; ${keyed}; seed ${seed}`
}

/** Fewer than this share of what was due is a rate that was not reached. */
const REACHED_SHARE = 0.9

const isBehind = ({ settings, operationsPerSecond, generator }: LoadResult): boolean =>
  generator.heldBack > 0 && operationsPerSecond < REACHED_SHARE * settings.rate

const rateText = ({ settings, operationsPerSecond }: LoadResult): string =>
  `NOT reached: ${formatCount(operationsPerSecond)} operations a second were answered of ${formatCount(settings.rate)} due`

function lateText({ latenessMs: { p50, p99 }, heldBack }: LoadResult['generator']): string {
  const held = heldBack === 0 ? '' : `; ${formatCount(heldBack)} operations waited for a connection to take them`
  return `the load itself, p50 ${formatMs(p50)}, p99 ${formatMs(p99)}${held}`
}

const COLUMNS = ['window', 'time', 'ops/s', 'failed', 'p50', 'p99', 'p99.9', 'longest', 'gap', 'silence'] as const

function table(windows: readonly WindowResult[]): string[] {
  const rows = windows.map(({ name, ms, operationsPerSecond, failed, latencyMs, longestGapMs, longestSilenceMs }) => [
    name,
    formatMs(ms),
    formatCount(operationsPerSecond),
    formatCount(failed),
    ...[latencyMs.p50, latencyMs.p99, latencyMs.p999, latencyMs.max, longestGapMs, longestSilenceMs].map(formatMs),
  ])
  const all = [[...COLUMNS], ...rows]
  const widths = COLUMNS.map((_, column) => Math.max(...all.map((cells) => (cells[column] as string).length)))
  return all.map((cells) => {
    const padded = cells.map((cell, column) => {
      const width = widths[column] as number
      return column === 0 ? cell.padEnd(width) : cell.padStart(width)
    })
    return `  ${padded.join('  ')}`
  })
}

function countersText({
  ok,
  counters,
  increments,
  unanswered,
  lost,
  doubled,
  unread,
  wrongReplies,
}: LoadResult['counters']): string {
  const checked = `${formatCount(increments)} increments of ${formatCount(counters)} counters`
  if (ok && unanswered === 0) return `exact: ${checked}`
  if (ok) return `within bounds: ${checked}; of some nobody knows whether they were done`
  const wrong = [
    ...(lost > 0 ? [`${lost} counters lost increments`] : []),
    ...(doubled > 0 ? [`${doubled} counted some twice`] : []),
    ...(unread > 0 ? [`${unread} could not be read`] : []),
    ...(wrongReplies > 0 ? [`${wrongReplies} replies cannot be right`] : []),
  ]
  return `NOT exact: ${checked}; ${wrong.join(', ')}`
}
