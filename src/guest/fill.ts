// First content of a fresh guest: the program's `fill` over all pages, in ranges, on two short-lived threads.
// Called by vcpus.ts for a guest that is created here, and by the replay of the oracle.

import { Worker } from 'node:worker_threads'
import { GodwitError } from '../errors.ts'
import { workerUrl } from '../worker-url.ts'
import type { GuestConfig } from './config.ts'
import type { FillThreadData } from './fill-thread.ts'
import type { GuestMemory } from './memory.ts'

/** Memory bandwidth is used up by two threads. */
const FILL_THREADS = 2
/** Below this a thread costs more than it saves. */
const MIN_PAGES_PER_THREAD = 4096

/** Fills the guest. Throws `program-invalid` with the reason when the program's `fill` throws. */
export async function fillGuest(memory: GuestMemory, config: GuestConfig, programUrl: string): Promise<void> {
  const { pageCount } = memory.layout
  const threads = Math.min(FILL_THREADS, Math.ceil(pageCount / MIN_PAGES_PER_THREAD))
  const share = Math.ceil(pageCount / threads)
  const ranges = Array.from({ length: threads }, (_, index) => index * share)
  await Promise.all(
    ranges.map((firstPage) =>
      fillRange({
        memory: memory.shared,
        config,
        programUrl,
        firstPage,
        pageCount: Math.min(share, pageCount - firstPage),
      }),
    ),
  )
}

async function fillRange(data: FillThreadData): Promise<void> {
  const worker = new Worker(workerUrl(import.meta.url, './fill-thread'), { workerData: data, name: 'fill' })
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  let failure: unknown = null
  worker.on('error', (error) => {
    failure = error
  })
  worker.on('exit', (code) => {
    if (failure === null && code === 0) resolve()
    else {
      const reason = failure instanceof Error ? failure.message : `its fill ended with ${code}`
      reject(new GodwitError('program-invalid', `program ${data.config.program}: ${reason}`, { cause: failure }))
    }
  })
  await promise
}
