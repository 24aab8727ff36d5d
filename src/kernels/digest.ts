// The running digest of guest memory (R15), read and reset as a whole. Each thread adds to a slot of its own, so that no
// page costs an atomic; source and destination sum the slots while no thread is hashing. Sessions import it from
// kernels.ts.

import type { THREAD_BLOCK } from '../guest/layout.ts'
import type { GuestMemory } from '../guest/memory.ts'
import { MAX_LANES } from '../limits.ts'

/** Every lane's thread and the main thread. */
const THREADS = MAX_LANES + 1
/** Spelled out because this folder takes only types from the layout; its type makes the compiler compare the two. */
const DIGEST_OFFSET: typeof THREAD_BLOCK.digest = 0

/** Index of a thread's slot in `controlLongs`. */
function slotOf(memory: GuestMemory, thread: number): number {
  const { threadBlocks, staging } = memory.layout
  const blockBytes = (staging - threadBlocks) / THREADS
  return (threadBlocks + thread * blockBytes + DIGEST_OFFSET) / 8
}

/** The digest: sum of the slots of all thread blocks, 0 ≤ digest < 2^64. Only while no thread hashes. */
export function digestTotal(memory: GuestMemory): bigint {
  let total = 0n
  for (let thread = 0; thread < THREADS; thread++) total += memory.controlLongs[slotOf(memory, thread)] ?? 0n
  return BigInt.asUintN(64, total)
}

/** Zeroes the slots and the page-hash table: the digest of a guest of which nothing was hashed yet. */
export function resetDigest(memory: GuestMemory): void {
  for (let thread = 0; thread < THREADS; thread++) memory.controlLongs[slotOf(memory, thread)] = 0n
  const { hashes, pageCount } = memory.layout
  memory.controlLongs.fill(0n, hashes / 8, hashes / 8 + pageCount)
}
