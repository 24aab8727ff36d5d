// A load from outside in a thread of its own: what the command line, the demo and tests start. run.ts is what runs there.

import { Worker } from 'node:worker_threads'
import { GodwitError } from '../errors.ts'
import { workerUrl } from '../worker-url.ts'
import { type LoadOptions, loadSettings } from './options.ts'
import type { LoadProgress, LoadResult } from './result.ts'
import type { FromThread, LoadThreadData, ToThread } from './thread-messages.ts'

export interface Load {
  /** Its keys are there and its clock runs. Rejects with `unreachable` or `load-refused`. */
  readonly ready: Promise<void>
  /** What it came to, when its time is over or after `stop`. Rejects with what went wrong. */
  readonly done: Promise<LoadResult>
  /** A new window begins; only once it is ready. */
  mark(name: string): void
  /** Sends no more, waits for the replies under way and resolves as `done` does. */
  stop(): Promise<LoadResult>
  /** Ends it at once, without a result and with its keys left behind. */
  kill(): Promise<void>
}

export interface StartOptions {
  /** Name of the window before the first mark. */
  readonly window?: string
  readonly onProgress?: (progress: LoadProgress) => void
}

/** Starts a load. Throws `usage` for options that are none. */
export function startLoad(options: LoadOptions, { window = 'all', onProgress }: StartOptions = {}): Load {
  const workerData: LoadThreadData = { settings: loadSettings(options), window }
  const worker = new Worker(workerUrl(import.meta.url, './thread'), { workerData, name: 'load' })
  const ready = Promise.withResolvers<void>()
  const done = Promise.withResolvers<LoadResult>()
  const fail = (error: unknown): void => {
    ready.reject(error)
    done.reject(error)
  }
  // Whoever waits for one of the two hears of it; nobody has to wait for both.
  for (const { promise } of [ready, done]) (promise as Promise<unknown>).catch(() => {})
  worker.on('message', (message: FromThread) => {
    if (message.type === 'ready') ready.resolve()
    else if (message.type === 'progress') onProgress?.(message.progress)
    else if (message.type === 'failed') fail(GodwitError.from(message.error))
    else {
      ready.resolve()
      done.resolve(message.result)
    }
  })
  worker.once('error', fail)
  worker.once('exit', () => fail(new GodwitError('cancelled', 'the load was ended')))
  const tell = (message: ToThread): void => worker.postMessage(message)
  return {
    ready: ready.promise,
    done: done.promise,
    mark: (name) => tell({ type: 'mark', name }),
    stop: () => {
      tell({ type: 'stop' })
      return done.promise
    },
    kill: async () => void (await worker.terminate()),
  }
}
