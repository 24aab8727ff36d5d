// Incremental migration (Luo et al., CLUSTER 2008, "IM"): a destination that still has the guest's memory from an earlier
// stay begins with it. Before `ready` it tells the hashes of its pages, and the source leaves out of the first round what is
// the same there. Nothing is taken on trust: what the copy holds is hashed now, under this session's seed, and the digest
// proves the result like that of any other migration. Both sessions call this.

import { THREAD_BLOCK } from '../guest/layout.ts'
import type { GuestMemory } from '../guest/memory.ts'
import { createCopyHashes } from '../kernels/copy-hashes.ts'
import type { Kernels } from '../kernels/kernels.ts'
import { COPY_HASHES, MAX_LANES } from '../limits.ts'
import type { MessageOf } from '../wire/messages.ts'
import type { Inbox } from './inbox.ts'
import { type Neighbourhood, type NeighbourLearner, tellNeighbours } from './neighbours.ts'
import type { Clock, ControlLink, PageDestination } from './ports.ts'
import { tellPart, unexpectedlyTold } from './telling.ts'

/** How a destination is to tell of the copy that its memory begins with. */
export interface StaleCopy {
  /** The session's, 0 ≤ seed < 2^64 (encoding/seed.ts). */
  readonly seed: bigint
  /** Put the pages into hash table and digest, too (R15). */
  readonly hash: boolean
}

interface Destination {
  readonly memory: GuestMemory
  readonly kernels: Kernels
  readonly clock: Clock
  /** Null: the memory is all zeros. */
  readonly copy: StaleCopy | null
  readonly neighbours: Neighbourhood | null
}

/**
 * Destination: tells of its copy and of its neighbours, as far as it has them, and then that it is ready. Returns of how many
 * neighbours. Rejects only for a closed clock.
 */
export async function sayReady(
  control: ControlLink,
  pages: PageDestination,
  destination: Destination,
): Promise<number> {
  if (destination.copy !== null) await tellCopy(control, destination, destination.copy)
  const told = await tellNeighbours(control, pages, destination)
  control.send({ type: 'ready' })
  return told
}

/**
 * Sends the hashes of all pages, in steps of 128 MiB, and begins hash table and digest with them. The free map is empty: in
 * a copy no page is known to be free.
 */
async function tellCopy(control: ControlLink, destination: Destination, { seed, hash }: StaleCopy): Promise<void> {
  const { memory, kernels, clock } = destination
  const { pageCount, hashes, scanHashes, threadBlocks } = memory.layout
  const digest = threadBlocks + MAX_LANES * THREAD_BLOCK.bytes + THREAD_BLOCK.digest
  const copy = createCopyHashes(memory, seed)
  for (let first = 0; first < pageCount; first += COPY_HASHES) {
    const count = Math.min(COPY_HASHES, pageCount - first)
    copy.tell(first, count, scanHashes)
    if (hash) kernels.hashRun(first, count, hashes, digest)
    const at = scanHashes + 8 * first
    await tellPart(control, clock, { type: 'copy', first, hashes: memory.controlBytes.slice(at, at + 8 * count) })
  }
}

/**
 * Source: waits for `ready`; true when the hashes of a copy came before it. They are in `scanHashes` then, which a guest
 * with cards needs in a pull only. Throws `unexpected-message` for a copy that is not of the whole guest in order, or that
 * comes although it may not. What comes of neighbours behind it is for the `learner`; null: nothing may.
 */
export async function learnCopy(
  inbox: Inbox,
  memory: GuestMemory,
  mayCome: boolean,
  learner: NeighbourLearner | null = null,
): Promise<boolean> {
  const { pageCount, scanHashes } = memory.layout
  let told = 0
  for (;;) {
    const message = await inbox.any(({ type }) => type === 'copy' || type === 'neighbour' || type === 'ready')
    if (message.type === 'ready') break
    if (message.type === 'neighbour') {
      if (learner === null) throw unexpectedlyTold('what other guests hold, which nobody asked for')
      learner.take(message)
      continue
    }
    const { first, hashes } = message as MessageOf<'copy'>
    const fits = mayCome && learner?.begun !== true && first === told && first + hashes.length / 8 <= pageCount
    if (!fits) throw unexpectedlyTold(`hashes of ${hashes.length / 8} pages from page ${first} on`)
    memory.controlBytes.set(hashes, scanHashes + 8 * first)
    told += hashes.length / 8
  }
  if (told !== 0 && told !== pageCount) throw unexpectedlyTold(`hashes of ${told} of ${pageCount} pages`)
  return told !== 0
}
