// Service downtime of a migration: a load runs before it, while it runs and after it, and what clients saw becomes the section
// `service` of the report. Whoever starts the guest and migrates it calls this with the addresses that clients use.

import { setTimeout as sleep } from 'node:timers/promises'
import { startLoad } from '../load/load.ts'
import type { LoadOptions } from '../load/options.ts'
import type { LoadProgress, LoadResult } from '../load/result.ts'
import { SERVICE_WINDOWS, serviceOf } from '../load/service.ts'
import type { ServiceReport } from '../migration/service-report.ts'

/** The window after is as long as the migration was, so that an equal window without migration exists, but no longer than this. */
const LONGEST_AFTER_MS = 60_000

export interface ServiceWatchOptions {
  /** `targets`: one gateway, or the service addresses of both agents; connections are dealt out to them. */
  readonly load: LoadOptions
  readonly beforeMs: number
  /** At least; as long as the migration when that is longer. */
  readonly afterMs: number
  readonly signal: AbortSignal
  readonly onProgress?: (progress: LoadProgress) => void
}

export interface Watched<T> {
  /** What `migrate` resolved with. */
  readonly value: T
  readonly service: ServiceReport
  readonly load: LoadResult
}

/** Runs `migrate` under load. Rejects with what it rejects with, with what the load does, or with AbortError by `signal`. */
export async function watchService<T>(options: ServiceWatchOptions, migrate: () => Promise<T>): Promise<Watched<T>> {
  const { beforeMs, afterMs, signal, onProgress } = options
  const [before, during, after] = SERVICE_WINDOWS
  const load = startLoad(options.load, { window: before, ...(onProgress === undefined ? {} : { onProgress }) })
  const aborted = (): void => void load.kill()
  signal.addEventListener('abort', aborted, { once: true })
  // A load that fails ends the wait for whatever else is under way.
  const failed = load.done.then(() => new Promise<never>(() => {}))
  failed.catch(() => {})
  const unlessFailed = <R>(waited: Promise<R>): Promise<R> => Promise.race([waited, failed])
  try {
    signal.throwIfAborted()
    await load.ready
    await unlessFailed(sleep(beforeMs, undefined, { signal }))
    load.mark(during)
    const startedMs = performance.now()
    const value = await unlessFailed(migrate())
    load.mark(after)
    const tookMs = performance.now() - startedMs
    await unlessFailed(sleep(Math.max(afterMs, Math.min(tookMs, LONGEST_AFTER_MS)), undefined, { signal }))
    const result = await load.stop()
    return { value, service: serviceOf(result), load: result }
  } catch (error) {
    signal.throwIfAborted()
    throw error
  } finally {
    signal.removeEventListener('abort', aborted)
    await load.kill()
  }
}
