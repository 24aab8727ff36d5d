// The ownership table of a guest as its process knows it, for the page log: computed when somebody asks, from what the
// movement under way keeps anyway. main.ts answers with it.

import type { GuestMemory } from '../guest/memory.ts'
import { ownerByPresence, type PageOwner, type PageRun, pageRuns } from '../guest/page-runs.ts'
import type { Presence } from '../guest/presence.ts'
import { isOurs, presenceOf } from '../guest/sharing.ts'
import { EXCHANGE_CHANNEL, PAGE_BYTES } from '../limits.ts'
import { countOf } from '../migration/transfer/thread-counters.ts'
import type { GuestHostPort } from './host-port.ts'

export interface PageTable {
  readonly epoch: number
  /** Goes up with every change of a table that both sides keep; 0: only one side has one. */
  readonly revision: number
  readonly pageCount: number
  readonly runs: readonly PageRun[]
}

/** Moves of pages that this side has taken part in. */
function movesOf(memory: GuestMemory): number {
  const counters = ['exchangePushed', 'exchangeAsked', 'exchangeWithoutData', 'exchangeReceived'] as const
  return counters.reduce((sum, counter) => sum + countOf(memory, EXCHANGE_CHANNEL, counter), 0)
}

/** Pages of a guest that is pulled lie at two hosts, and the puller's table is the truth (R23); else one host has all. */
export function pageTable(host: GuestHostPort): PageTable {
  const { state, owner, epoch, config } = host.status()
  const pageCount = config.memoryBytes / PAGE_BYTES
  const whole = (who: PageOwner): PageRun[] => pageRuns(pageCount, () => who)
  const { memory } = host
  if (state === 'pulling' && owner === 'here' && memory !== undefined) {
    const table = memory.controlBytes.subarray(memory.layout.presence, memory.layout.presence + pageCount)
    return {
      epoch,
      revision: 0,
      pageCount,
      runs: pageRuns(pageCount, (page) => ownerByPresence(table[page] as Presence)),
    }
  }
  if (owner === 'both' && memory !== undefined) {
    const table = presenceOf(memory)
    // What is in flight is neither side's (R25): the log finds that nobody has it.
    const runs = pageRuns(pageCount, (page) => (isOurs(table[page] as number) ? 'here' : 'there'))
    return { epoch, revision: movesOf(memory), pageCount, runs }
  }
  return { epoch, revision: 0, pageCount, runs: whole(owner === 'here' ? 'here' : 'there') }
}
