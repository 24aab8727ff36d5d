// Makes the memory of an incoming guest resident while the reservation is still under way.

import { Worker } from 'node:worker_threads'
import { workerUrl } from '../worker-url.ts'
import type { GuestMemory } from './memory.ts'

/** Resolves when every page is resident; about 0.2 s a GiB on a thread of its own. Only for memory that is all zero. */
export function touchPages(memory: GuestMemory): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const worker = new Worker(workerUrl(import.meta.url, './touch-thread'), { workerData: { pages: memory.pages } })
  worker.once('error', reject)
  worker.once('exit', () => resolve())
  return promise
}
