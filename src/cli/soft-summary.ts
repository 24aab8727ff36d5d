// The time in which both hosts served, of a report, in words: how long, how the vCPUs crossed, why pages moved, and what each
// host served meanwhile. summary.ts prints it for soft.

import type { MigrationReport } from '../migration/report.ts'
import { formatCount, formatMs } from '../quantities.ts'
import { row } from './rows.ts'

/** Rows of a soft migration; none for other movements. */
export function softLines({ soft, source, destination, outcome }: MigrationReport): string[] {
  if (soft === undefined) return []
  const { dualServingMs, crossingMs, staleAtSwitch, moves, recoveries, servedBySource, servedByDestination } = soft
  const lines = [row('both serve', `for ${formatMs(dualServingMs)} each host ran some of the vCPUs`)]
  if (crossingMs.length > 0) {
    lines.push(row('crossings', crossingMs.map((ms, vcpu) => `vCPU ${vcpu} ${formatMs(ms)}`).join(', ')))
  }
  const counts = [`${formatCount(moves.withoutData)} without data`, `${formatCount(moves.push)} pushed`]
  counts.push(`${formatCount(moves.pull)} asked for`)
  if (moves.ahead > 0) counts.push(`${formatCount(moves.ahead)} sent ahead`)
  if (moves.returned > 0) counts.push(`${formatCount(moves.returned)} came back`)
  if (moves.pingPongPages > 0) counts.push(`${formatCount(moves.pingPongPages)} pages went to and fro`)
  lines.push(row('moves', counts.join(', ')))
  const again = moves.again > 0 ? `; ${formatCount(moves.again)} of the moves sent others, or again` : ''
  lines.push(row('', `${formatCount(staleAtSwitch)} pages were not there at the switch${again}`))
  if (recoveries > 0) {
    lines.push(row('', `the link was lost and recovered ${recoveries === 1 ? 'once' : `${recoveries} times`}`))
  }
  if (servedBySource + servedByDestination > 0) {
    const [here, there] = [formatCount(servedBySource), formatCount(servedByDestination)]
    // A destination that has nothing any more does not say what it served.
    const also = outcome === 'completed' ? ` and ${there} by ${destination}` : ''
    lines.push(row('served', `${here} requests by ${source}${also} meanwhile`))
  }
  return lines
}
