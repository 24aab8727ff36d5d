// What the stages of a source session share: the world, the settings, the report under construction, and the one way
// in which anything can be interrupted (cancel, time-out, crash, lost link).

import type { GuestConfig } from '../guest/config.ts'
import type { GuestMemory } from '../guest/memory.ts'
import type { Kernels } from '../kernels/kernels.ts'
import type { MessageOf } from '../wire/messages.ts'
import type { OwnershipStore, Verdict } from './ownership-record.ts'
import type { Clock, ControlLink, PageExchange, PageSource, Vcpus } from './ports.ts'
import type { ReportBuilder } from './report-builder.ts'
import type { RoundBegin } from './round-watch.ts'
import type { MigrationSettings } from './settings.ts'

/** What a source session needs from its host process. */
export interface SourceWorld {
  readonly id: string
  /** Epoch of this attempt: one above the guest's. */
  readonly epoch: number
  readonly guest: GuestConfig
  readonly memory: GuestMemory
  readonly kernels: Kernels
  readonly vcpus: Vcpus
  /** Requests of clients that were answered here so far. */
  served(): number
  readonly clock: Clock
  readonly store: OwnershipStore
  readonly settings: MigrationSettings
  readonly names: { source: string; destination: string }
  /** Listens for control and data channels. */
  prepare(): Promise<void>
  /** Asks the destination's agent; resolves once control and data channels are connected. */
  reserve(signal: AbortSignal): Promise<{ control: ControlLink; pages: PageSource; sameHost: boolean }>
  /** The next control connection of this migration, after a cut behind the commit point. */
  redialled(signal: AbortSignal): Promise<ControlLink>
  /** Pull phase: listens for the lanes of a new generation, at the ports of the first (R23). */
  openLanes(generation: number): Promise<{ pages: PageSource; connected: Promise<void> }>
  /** Soft: the page exchange with the destination, which listens since `prepare`; null: another movement. */
  exchange(quiet: () => Promise<void>): PageExchange | null
  /** What the destination's agent says of this migration; `unknown` when it cannot be asked. */
  askPeerAgent(): Promise<Verdict>
  /** CPU time and peak memory of this process so far. */
  usage(): { cpuMs: number; rssPeak: number }
  /** Lets the event loop turn. */
  breathe(): Promise<void>
  /** Rejects when the guest crashes. */
  readonly crashed: Promise<never>
}

export interface SourceContext extends SourceWorld {
  readonly report: ReportBuilder
  readonly pages: PageSource
  readonly control: ControlLink
  readonly hashing: boolean
  /** The destination began with a stale copy of the guest, and has told its hashes. */
  readonly copy: boolean
  slowestHandshakeMs: number
  /** Resolves when the destination says that a round is placed. */
  placed(round: number): Promise<MessageOf<'placed'>>
  /** The promise, or the first interruption, whichever comes first. */
  orInterrupt<T>(promise: Promise<T>): Promise<T>
  /** Costs of a switchover that do not depend on the remainder, measured so far, ms. */
  fixedMs(): number
  /** Both hosts have the same clock. */
  sameHost(): boolean
  stopRequested(): boolean
  /** Publishes live progress while a round is under way; the returned function ends it. */
  watchProgress(begin: RoundBegin): () => void
}
