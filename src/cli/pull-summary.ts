// The pull phase of a report in words: how long the guest depended on its source, how its pages came, what waiting for
// them cost, and how the waits were spread. summary.ts prints it for post-copy and hybrid.

import type { MigrationReport } from '../migration/report.ts'
import { formatCount, formatMs } from '../quantities.ts'
import { row } from './rows.ts'

const LEVELS = '▁▂▃▄▅▆▇█'
const STALLS_SHOWN = 8

/** Rows of the pull phase; none for movements without one. */
export function pullLines(report: MigrationReport): string[] {
  return [...pulledLines(report), ...faultLines(report)]
}

function pulledLines({ pull, source }: MigrationReport): string[] {
  if (pull === undefined) return []
  const waited = `${formatMs(pull.residualDependencyMs)} until its last page was there: so long it depended on ${source}`
  const counts = [`${formatCount(pull.pages)} pages: ${formatCount(pull.pushed)} pushed`]
  counts.push(`${formatCount(pull.asked)} asked for`)
  if (pull.skipped > 0) counts.push(`${formatCount(pull.skipped)} not needed`)
  if (pull.dropped > 0) counts.push(`${formatCount(pull.dropped)} dropped`)
  const lines = [row('pull', waited), row('', counts.join(', '))]
  if (pull.recoveries > 0) {
    lines.push(
      row('', `the link was lost and recovered ${pull.recoveries === 1 ? 'once' : `${pull.recoveries} times`}`),
    )
  }
  return lines
}

function faultLines({ faults, guest }: MigrationReport): string[] {
  if (faults === undefined) return []
  const { network, localWait, stallMs, vcpuStallMs, latencyUs, histogram } = faults
  const texts = [`${formatCount(network)} asked over the network`]
  if (localWait > 0) texts.push(`${formatCount(localWait)} waited for a page on its way`)
  const lines = [row('faults', texts.join(', '))]
  if (network + localWait === 0) return lines
  if (vcpuStallMs.length > 1) lines.push(row('stalled', `${formatMs(stallMs)}: ${stallsText(vcpuStallMs)}`))
  else lines.push(row('stalled', `${formatMs(stallMs)} of ${guest.vcpus} vCPU${guest.vcpus === 1 ? '' : 's'}`))
  const percentiles = Object.entries(latencyUs).map(([name, us]) => `${name} ${formatMs(us / 1000)}`)
  lines.push(row('latency', percentiles.join(', ')))
  const bars = histogramText(histogram)
  if (bars !== '') lines.push(row('', bars))
  return lines
}

/** What each vCPU waited; of many only the least and the most. */
function stallsText(vcpuStallMs: readonly number[]): string {
  if (vcpuStallMs.length <= STALLS_SHOWN) return vcpuStallMs.map((ms, i) => `vCPU ${i} ${formatMs(ms)}`).join(' + ')
  const [least, most] = [Math.min(...vcpuStallMs), Math.max(...vcpuStallMs)]
  return `each of ${vcpuStallMs.length} vCPUs from ${formatMs(least)} to ${formatMs(most)}`
}

/** A log2 histogram of µs as one line: a bar each doubling, between the bounds of the first and the last one used. */
export function histogramText(histogram: readonly number[]): string {
  const first = histogram.findIndex((count) => count > 0)
  if (first < 0) return ''
  const last = histogram.findLastIndex((count) => count > 0)
  const used = histogram.slice(first, last + 1)
  const most = Math.max(...used)
  const bars = used.map((count) => (count === 0 ? '·' : LEVELS[Math.ceil((count / most) * LEVELS.length) - 1]))
  const bound = (power: number): string => formatMs(2 ** power / 1000)
  return `${bound(first)} ${bars.join('')} ${bound(last + 1)} (a bar each doubling; the highest: ${formatCount(most)})`
}
