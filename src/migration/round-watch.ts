// Live progress inside a round: a first pass over a large guest takes seconds, and nobody should have to wait for its
// end to see that it moves.

import { publish } from '../events.ts'
import type { SourceContext } from './source-context.ts'

const INTERVAL_MS = 200

/** Publishes progress until the returned function is called. `sentBefore`: page records of earlier rounds. */
export function watchRound(context: SourceContext, round: number, sentBefore: number): () => void {
  const { clock, pages, id } = context
  const totalPages = context.memory.layout.pageCount
  const startedAt = clock.now()
  const ended = new AbortController()
  const watch = async (): Promise<never> => {
    for (;;) {
      await clock.sleep(INTERVAL_MS, ended.signal)
      const { pages: sent, bytes } = pages.progress()
      const bytesPerSecond = (bytes / Math.max(clock.now() - startedAt, 1)) * 1000
      publish({
        type: 'progress',
        migration: id,
        progress: {
          stage: 'iterate',
          round,
          workDone: sentBefore + sent,
          cleanPages: Math.min(totalPages, sentBefore + sent),
          totalPages,
          bytesSent: pages.bytes.sent,
          bytesPerSecond,
          dirtyPagesPerSecond: 0,
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
