// What a destination session needs from its host process: links to the source, the guest's memory and vCPUs, the ownership
// record. Real sockets and threads implement it for hosts; the simulation does on a virtual clock.

import type { GuestMemory } from '../guest/memory.ts'
import type { Kernels } from '../kernels/kernels.ts'
import type { StaleCopy } from './kept-copy.ts'
import type { Neighbourhood } from './neighbours.ts'
import type { OwnershipStore, Verdict } from './ownership-record.ts'
import type { Clock, ControlLink, PageDestination, PageExchange, Vcpus } from './ports.ts'

export interface DestinationWorld {
  readonly id: string
  readonly epoch: number
  readonly guestId: string
  readonly source: string
  readonly memory: GuestMemory
  readonly kernels: Kernels
  readonly vcpus: Vcpus
  /** Requests of clients that were answered here so far. */
  served(): number
  readonly clock: Clock
  readonly store: OwnershipStore
  /** The memory begins as a stale copy of the guest; null: as zeros. */
  readonly copy: StaleCopy | null
  /** Other guests here whose pages the source may refer to; null: none. */
  readonly neighbours: Neighbourhood | null
  /** Dials control and data channels and shows the token. */
  connect(): Promise<{ control: ControlLink; pages: PageDestination }>
  /** Dials the control channel once more, after a cut behind PREPARED; `via`: at another host. */
  redial(via: string | null): Promise<ControlLink>
  /** Pull phase: dials the lanes of a new generation (R23). */
  dialLanes(generation: number, via: string | null): Promise<PageDestination>
  /** Soft: the page exchange with the source; null: another movement. */
  readonly exchange: ((quiet: () => Promise<void>) => Promise<PageExchange>) | null
  /** The host at which the source is dialled. */
  readonly sourceHost: string
  /** What the source's agent says; `unknown` when it cannot be asked. */
  askPeerAgent(): Promise<Verdict>
  usage(): { cpuMs: number; rssPeak: number }
}
