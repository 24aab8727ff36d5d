// What the core of the exchange needs of its surroundings: the pages and the link at its side, and whoever runs the vCPUs.
// The exchange thread puts shared memory, a socket and the main thread in their place, the explorer a model of each.

import type { VcpuState } from '../../guest/vcpus-port.ts'
import type { Crossing, GiveTable, RunsTable } from '../../wire/exchange-frames.ts'

/** What of a GIVE is not in its tables; known to the pages alone. */
export type Contents = Uint8Array

/** The pages of one side. */
export interface ExchangePages {
  readonly pageCount: number
  readonly vcpus: number
  isMine(page: number): boolean
  /** Sees which pages vCPUs here wait for: what came before this is known to `isAwaited` until it is called again. */
  lookAtWaiters(): void
  /** R6: a vCPU here waits for the page, or has not yet made the access that it waited for. */
  isAwaited(page: number): boolean
  /** The other side's copy is not what is here. Certain only once nobody writes the page any more. */
  isStale(page: number): boolean
  /** It goes with its data. Whether it was stale at the switch, and this is the first time since. */
  takeOfSwitch(page: number): boolean
  /** The vCPU that used the page last, plus 1; 0: none. */
  homeOf(page: number): number
  /** How often it was written, as far as anybody counted. */
  heatOf(page: number): number
  /** R28: it came a moment ago. */
  cameLately(page: number): boolean
  generationOf(page: number): number
  setGeneration(page: number, generation: number): void
  /** R11, first step. False: it was not ours. */
  takeAway(page: number): boolean
  /** It was taken away and is ours again. `stale`: the other side does not have what is here. */
  bringBack(page: number, stale: boolean): void
  /**
   * R11, first step, for what crosses with a vCPU: the clean pages with that home that are ours and that nobody waits for.
   * Returns them as spans (page-runs.ts).
   */
  takeHome(home: number): Uint32Array
  /** Nobody writes these pages any more: which of them the other side has, as spans, and which are stale after all. */
  splitStale(spans: Uint32Array): { readonly inside: Uint32Array; readonly outside: number[] }
  /** Makes runs of the spans, with this home, each page in its next generation. */
  raise(spans: Uint32Array, home: number): Uint32Array
  /**
   * The first page of the runs that is ours, set in `leaving` (null: none is), or whose generation is not just below its run's;
   * −1: there is none.
   */
  firstRefused(runs: Uint32Array, leaving: Uint8Array | null): number
  /** `arrive` for every page of the runs. */
  arriveRuns(runs: Uint32Array): void
  /** The first page from `page` on that is ours; `pageCount` if there is none. */
  nextMine(page: number): number
  /** Fills in what the tables say about content: seal, free, and zero or raw unless it goes without data. */
  seal(table: GiveTable): void
  /** Puts the content of a GIVE where it belongs and checks the seals (R10). Returns the first page that is wrong, or −1. */
  place(table: GiveTable, contents: Contents): number
  /** It has come: same bytes at both sides, and vCPUs here may have it. */
  arrive(page: number, generation: number, home: number): void
  /** Sum of the digest terms of all pages of the runs, below 2^64; 0 where no hashes are kept. */
  sumOf(runs: Uint32Array): bigint
  /** Pages that vCPUs asked for since the last call, `into.length` at most. Returns how many. */
  takeAsks(into: Uint32Array): number
  /** After a cut whoever waits asks again. */
  forgetAsks(): void
  /** Pages that came before a handshake began may be taken without a fence when it has ended (R8). */
  handshakeBegins(): void
  handshakeEnds(): void
  /** Whether a handshake would serve such pages. */
  readonly unpublished: boolean
}

/** The way to the other side, while a link is in force. Order is kept. */
export interface ExchangeLink {
  /** Returns the bytes of the frame. */
  give(table: GiveTable): number
  runs(table: RunsTable): number
  cross(crossing: Crossing): void
  ask(pages: Uint32Array, count: number): void
  applied(count: number): void
  /** The peer reads on; false: enough of ours waits already. */
  readonly open: boolean
}

/** What must be known of pushes under way; push-window.ts. */
export interface Window {
  sent(bytes: number, now: number): void
  acked(now: number): void
  fault(): void
  room(): boolean
  batchPages(): number
}

export interface ExchangeHost {
  now(): number
  /** Asks for a handshake (R11): `quiet` is called when nobody writes what was taken away any more, `unquiet` when it fails. */
  revoke(): void
  /** The bandwidth limit leaves room for pages that nobody asked for. */
  mayPush(): boolean
  window(): Window
  /** The other side has the vCPU. */
  crossed(vcpu: number): void
  /** It never got there and is ours again. */
  cancelled(vcpu: number): void
  arrived(vcpu: number, state: VcpuState): void
  /** Nothing is ours, nothing is in flight. */
  drained(): void
  count(what: ExchangeCounter, more: number): void
}

/**
 * Pages: given with data because pushed, because asked for; without data; received; received again; those that did so once; asked
 * for here; given with data that had been sent since the switch, or were not stale then.
 */
export type ExchangeCounter =
  | 'pushed'
  | 'asked'
  | 'withoutData'
  | 'received'
  | 'returned'
  | 'pingPong'
  | 'asks'
  | 'again'
