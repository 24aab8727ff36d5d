// All that one side of the exchange knows beside its pages, as plain data, which the explorer copies. Changed by core.ts.

import type { VcpuState } from '../../guest/vcpus-port.ts'
import { freshLedger, type LedgerState } from './ledger.ts'
import { hasPageIn } from './page-runs.ts'
import { noPush, type PushState } from './push-choice.ts'
import type { ExchangePages } from './sides.ts'

/** Where a vCPU is: here, at the other side, or on its way there and undecided. */
export const PLACE = { there: 0, here: 1, leaving: 2 } as const

export interface Departure {
  readonly vcpu: number
  readonly state: VcpuState
}

/** Pages that were taken away and wait for the handshake. */
export interface Batch {
  readonly asked: number[]
  readonly pushed: number[]
  /** Clean pages that cross with the vCPU, as spans; null: no vCPU crosses. */
  readonly home: Uint32Array | null
  readonly departure: Departure | null
}

export interface CoreState {
  ledger: LedgerState
  /** A link is in force, and both sides know what the other has. */
  linked: boolean
  /** 1: the page was taken away here and is not known to be at the other side. */
  leaving: Uint8Array
  /** Pages that the peer asked for, and a mark for each. */
  owed: number[]
  owedMarks: Uint8Array
  revoking: Batch | null
  /** Pages that vCPUs here asked for while they were being taken away. */
  early: number[]
  departures: Departure[]
  places: Uint8Array
  vcpuGenerations: Uint32Array
  push: PushState
  /** The last batch answered asks alone although a vCPU waited to cross. */
  yielded: boolean
}

export function freshCore(pages: ExchangePages, ownsAll: boolean): CoreState {
  return {
    ledger: freshLedger(),
    linked: false,
    leaving: new Uint8Array(pages.pageCount),
    owed: [],
    owedMarks: new Uint8Array(pages.pageCount),
    revoking: null,
    early: [],
    departures: [],
    places: new Uint8Array(pages.vcpus).fill(ownsAll ? PLACE.here : PLACE.there),
    vcpuGenerations: new Uint32Array(pages.vcpus).fill(ownsAll ? 1 : 0),
    push: noPush(),
    yielded: false,
  }
}

export const inBatch = ({ asked, pushed, home }: Batch, page: number): boolean =>
  asked.includes(page) || pushed.includes(page) || (home !== null && hasPageIn(home, page))
