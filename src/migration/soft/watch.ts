// What a soft migration shows of itself while both hosts serve: which vCPUs have crossed and how many pages are still here.

import { publish } from '../../events.ts'
import { isOurs, presenceOf } from '../../guest/sharing.ts'
import type { PageExchange } from '../ports.ts'
import type { SourceContext } from '../source-context.ts'

const PROGRESS_MS = 200

export interface SharingView {
  /** vCPUs that have crossed. */
  readonly crossed: number
  /** Why the exchange stands still; null: it does not. */
  readonly paused: string | null
  readonly returning: boolean
}

/** Publishes progress until the signal aborts; never rejects. */
export async function watchSharing(
  context: SourceContext,
  exchange: PageExchange,
  view: () => SharingView,
  signal: AbortSignal,
): Promise<void> {
  const { id, memory, clock, report } = context
  const { pageCount, vcpus } = memory.layout
  let before = { at: clock.now(), bytes: 0 }
  try {
    for (;;) {
      await clock.sleep(PROGRESS_MS, signal)
      const { crossed, paused, returning } = view()
      const { sentBytes, pushed, asked, withoutData } = exchange.counts
      const now = { at: clock.now(), bytes: sentBytes }
      const bytesPerSecond = ((now.bytes - before.bytes) / Math.max(now.at - before.at, 1)) * 1000
      before = now
      let here = 0
      for (const state of presenceOf(memory)) if (isOurs(state)) here++
      const what = returning ? `coming home, ${pageCount - here} pages to come` : `${here} pages to go`
      publish({
        type: 'progress',
        migration: id,
        progress: {
          stage: report.stage,
          round: 0,
          workDone: report.sentPages + pushed + asked + withoutData,
          cleanPages: pageCount - here,
          totalPages: pageCount,
          bytesSent: sentBytes,
          bytesPerSecond,
          dirtyPagesPerSecond: 0,
          predictedDowntimeMs: null,
          trend: 'unknown',
          etaMs: null,
          reason: paused === null ? `${crossed} of ${vcpus} vCPUs have crossed, ${what}` : `paused: ${paused}`,
        },
      })
    }
  } catch {
    // Over.
  }
}
