// The ownership table of a guest as its process knows it, for the page log: computed when somebody asks, from what the
// movement under way keeps anyway. main.ts answers with it. A movement that shares pages (R25) puts its own table here.

import { ownerByPresence, type PageOwner, type PageRun, pageRuns } from '../guest/page-runs.ts'
import type { Presence } from '../guest/presence.ts'
import { PAGE_BYTES } from '../limits.ts'
import type { GuestHostPort } from './host-port.ts'

export interface PageTable {
  readonly epoch: number
  /** Goes up with every change of a table that both sides keep; 0: only one side has one. */
  readonly revision: number
  readonly pageCount: number
  readonly runs: readonly PageRun[]
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
  return { epoch, revision: 0, pageCount, runs: whole(owner === 'here' ? 'here' : 'there') }
}
