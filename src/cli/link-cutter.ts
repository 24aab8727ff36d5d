// `godwit demo --chaos cut:N`: watches one migration and cuts its link N times while the guest pulls its memory. The
// plan (cut-plan.ts) says when, the relay (chaos-relay.ts) does it.

import type { MigrationEvent } from '../events.ts'
import { PAGE_BYTES } from '../limits.ts'
import type { ChaosRelay } from './chaos-relay.ts'
import { CutPlan } from './cut-plan.ts'
import type { Terminal } from './terminal.ts'

export class LinkCutter {
  readonly #relay: ChaosRelay
  readonly #plan: CutPlan
  readonly #cuts: number
  readonly #watched: Terminal | null

  constructor(relay: ChaosRelay, cuts: number, memoryBytes: number, watched: Terminal | null) {
    this.#relay = relay
    this.#plan = new CutPlan(cuts, memoryBytes / PAGE_BYTES)
    this.#cuts = cuts
    this.#watched = watched
    relay.onForwarded = (bytes) => this.#cutIf(this.#plan.forwarded(bytes))
  }

  /** Events of the migration. */
  observe(event: MigrationEvent): void {
    if (event.type === 'stage' && event.stage === 'pull') this.#plan.pullBegan()
    if (event.type !== 'progress') return
    const { missingPages, totalPages, cleanPages } = event.progress
    this.#cutIf(this.#plan.missing(missingPages ?? totalPages - cleanPages))
  }

  /** A pull that was over too soon has not shown what was asked for. */
  warnOfMissingCuts(terminal: Terminal): void {
    const { made } = this.#plan
    if (made === this.#cuts) return
    const tally = `${made} of ${this.#cuts}`
    terminal.error(`cuts made before the pull was over: ${tally}; --memory or a lower --bandwidth makes it longer\n`)
  }

  #cutIf(due: boolean): void {
    if (!due) return
    this.#relay.cut()
    if (this.#watched === null) return
    const home = this.#watched.interactive ? '\r\x1b[K' : ''
    this.#watched.error(`${home}  the link is cut (${this.#plan.made} of ${this.#cuts})\n`)
  }
}
