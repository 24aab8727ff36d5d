// Live progress inside a round: a first pass over a large guest takes seconds, and nobody should have to wait for its
// end to see that it moves.

import { publish } from '../events.ts'
import type { SourceContext } from './source-context.ts'

const INTERVAL_MS = 200

/** What is known when a round begins. */
export interface RoundBegin {
  readonly round: number
  /** Page records of earlier rounds. */
  readonly sentBefore: number
  /** Pages to send in this round. */
  readonly dirty: number
  /** In the round before; 0 in the first. */
  readonly dirtyPagesPerSecond: number
}

/** Publishes progress until the returned function is called. */
export function watchRound(context: SourceContext, begin: RoundBegin): () => void {
  const { round, sentBefore, dirty, dirtyPagesPerSecond } = begin
  const { clock, pages, id } = context
  const totalPages = context.memory.layout.pageCount
  const startedAt = clock.now()
  const before = pages.progress()
  const ended = new AbortController()
  const watch = async (): Promise<never> => {
    for (;;) {
      await clock.sleep(INTERVAL_MS, ended.signal)
      const now = pages.progress()
      const sent = now.pages - before.pages
      const bytesPerSecond = ((now.bytes - before.bytes) / Math.max(clock.now() - startedAt, 1)) * 1000
      publish({
        type: 'progress',
        migration: id,
        progress: {
          stage: 'iterate',
          round,
          workDone: sentBefore + sent,
          cleanPages: totalPages - dirty + Math.min(sent, dirty),
          totalPages,
          bytesSent: pages.bytes.sent,
          bytesPerSecond,
          dirtyPagesPerSecond,
          predictedDowntimeMs: null,
          trend: 'unknown',
          etaMs: null,
          reason: `round ${round}: ${Math.round(bytesPerSecond / 1e6)} MB/s`,
        },
      })
    }
  }
  watch().catch(() => {})
  return () => ended.abort(new Error('the round is over'))
}
