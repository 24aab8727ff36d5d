// What the two kinds of lane of the pull phase share: the thread's socket and its place in shared memory. A lane is a
// thread with one connection; source-thread.ts owns both and makes the lane that it was started as.

import type { GuestMemory } from '../../guest/memory.ts'
import type { Kernels } from '../../kernels/kernels.ts'
import type { Batch } from './batch.ts'

export interface Lane {
  readonly memory: GuestMemory
  readonly kernels: Kernels
  readonly channel: number
  /** Writes a batch; resolves when the kernel has taken it. `paced`: within the bandwidth limit. */
  send(batch: Batch, paced: boolean): Promise<void>
  fail(thrown: unknown): void
}
