// A short-lived thread that fills one range of a fresh guest's pages; started by fill.ts.

import { parentPort, workerData } from 'node:worker_threads'
import type { GuestConfig } from './config.ts'
import { GuestMemory, type SharedGuestMemory } from './memory.ts'
import type { ProgramModule } from './program.ts'

export interface FillThreadData {
  readonly memory: SharedGuestMemory
  readonly config: GuestConfig
  readonly programUrl: string
  readonly firstPage: number
  readonly pageCount: number
}

if (parentPort !== null) {
  const { memory, config, programUrl, firstPage, pageCount } = workerData as FillThreadData
  const module = (await import(programUrl)) as Partial<ProgramModule>
  const { vcpus, memoryBytes, options, seed } = config
  const { bytes, free } = new GuestMemory(memory)
  module.fill?.({ vcpus, memoryBytes, options, seed, bytes, free, firstPage, pageCount })
}
