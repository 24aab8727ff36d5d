// Shows a migration while it runs: one redrawn line on a terminal, plain lines elsewhere. follow.ts feeds it.

import type { MigrationEvent, Progress } from '../events.ts'
import type { RoundReport } from '../migration/report.ts'
import { formatBytes, formatCount, formatMs, formatRate } from '../quantities.ts'
import type { Terminal } from './terminal.ts'

const REDRAW_MS = 80
const PLAIN_LINE_MS = 1000
const BAR_CELLS = 20

const STAGES: Record<string, string> = {
  prepare: 'preparing',
  reserve: 'reserving memory at the destination',
  iterate: 'sending memory while the guest runs',
  stop: 'guest stopped, sending the rest',
  commit: 'comparing digests and handing over',
  activate: 'starting the guest at the destination',
  pull: 'the guest runs there and pulls its memory',
}

/** In soft nobody stops, and the stages after the rounds are another thing. */
const SOFT_STAGES: Record<string, string> = {
  ...STAGES,
  stop: 'saying what the destination does not have yet, while the guest runs',
  commit: 'comparing digests, while the guest runs',
  activate: 'vCPUs go to the destination, one after the other',
  pull: 'all vCPUs run there, and the rest of the memory follows',
}

const stageText = (stage: string, soft: boolean): string => (soft ? SOFT_STAGES : STAGES)[stage] ?? stage

/** Draws events of one migration on a terminal. */
export class ProgressLine {
  readonly #terminal: Terminal
  #soft = false
  #drawn = false
  #lastMs = Number.NEGATIVE_INFINITY

  constructor(terminal: Terminal) {
    this.#terminal = terminal
  }

  show(event: MigrationEvent): void {
    if (event.type === 'progress') return this.#progress(event.progress)
    if (event.type === 'round') return this.#line(roundText(event.round))
    if (event.type !== 'stage') return
    this.#soft = event.movement === 'soft'
    // On a terminal the redrawn line names the stage; the short stages at the end would only flicker by.
    if (!this.#terminal.interactive) this.#line(stageText(event.stage, this.#soft))
  }

  /** Takes the redrawn line away. */
  clear(): void {
    if (this.#drawn) this.#terminal.error('\r\x1b[K')
    this.#drawn = false
  }

  #progress(progress: Progress): void {
    const now = performance.now()
    if (now - this.#lastMs < (this.#terminal.interactive ? REDRAW_MS : PLAIN_LINE_MS)) return
    this.#lastMs = now
    const text = progressText(progress, this.#soft)
    if (!this.#terminal.interactive) return this.#line(text)
    this.#terminal.error(`\r\x1b[K${text.slice(0, Math.max(20, this.#terminal.columns - 1))}`)
    this.#drawn = true
  }

  #line(text: string): void {
    this.clear()
    this.#terminal.error(`  ${text}\n`)
  }
}

/** One finished round in a line. */
export function roundText(round: RoundReport): string {
  const name = round.decision === 'final' ? 'final round' : `round ${round.index}`
  return `${name}: ${formatCount(round.sent)} pages, ${formatBytes(round.bytes)} in ${formatMs(round.ms)}; ${round.decision}`
}

/** Stage, share, rate, dirty rate, predicted downtime, trend and the reason in one line. */
export function progressText(progress: Progress, soft = false): string {
  if (progress.stage === 'pull') return pullText(progress)
  const share = progress.totalPages === 0 ? 0 : progress.cleanPages / progress.totalPages
  const parts = [
    barText(share),
    progress.stage === 'iterate' ? `round ${progress.round}` : stageText(progress.stage, soft),
    `${formatBytes(progress.bytesSent)} at ${formatRate(progress.bytesPerSecond)}`,
  ]
  // Nothing is known before the end of the first round.
  if (progress.dirtyPagesPerSecond > 0) {
    parts.push(`guest writes ${formatCount(progress.dirtyPagesPerSecond)} pages/s`)
  }
  if (progress.predictedDowntimeMs !== null) parts.push(`downtime ~${formatMs(progress.predictedDowntimeMs)}`)
  if (progress.trend !== 'unknown') parts.push(progress.trend)
  if (progress.reason !== '') parts.push(progress.reason)
  return parts.join(' · ')
}

/** The pull stage: how much is there, what is missing, at which rate it comes, and why it is paused if it is. */
function pullText(progress: Progress): string {
  const { totalPages, missingPages = totalPages - progress.cleanPages, faults } = progress
  const parts = [
    barText(totalPages === 0 ? 1 : 1 - missingPages / totalPages),
    'pull',
    `${formatCount(missingPages)} pages missing`,
    formatRate(progress.bytesPerSecond),
  ]
  if (faults !== undefined) parts.push(`${formatCount(faults)} fault${faults === 1 ? '' : 's'}`)
  if (progress.reason !== '') parts.push(progress.reason)
  return parts.join(' · ')
}

function barText(share: number): string {
  const within = Math.min(1, Math.max(0, share))
  const cells = Math.round(within * BAR_CELLS)
  return `${'█'.repeat(cells)}${'░'.repeat(BAR_CELLS - cells)} ${Math.floor(within * 100)}%`
}
