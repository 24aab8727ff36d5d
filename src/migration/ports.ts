// What the two sessions of a migration need from the world: a clock, a control channel, page transfer, the vCPUs and
// the ownership record. Real threads and sockets implement these for hosts; the simulation implements them on a
// virtual clock in one thread. The sessions themselves know neither.

import type { SharedForeignIndex } from '../encoding/foreign-index.ts'
import type { EncodingCounts } from '../encoding/tally.ts'
import type { GodwitError } from '../errors.ts'
import type { VcpuState } from '../guest/vcpus-port.ts'
import type { ControlMessage } from '../wire/messages.ts'
import type { PushOrderName } from './settings.ts'

export interface Clock {
  /** Monotonic milliseconds with sub-millisecond resolution. */
  now(): number
  /** Monotonic nanoseconds, for stamps that cross to the other host. */
  nowNs(): bigint
  /** Resolves after `ms`; rejects with the signal's reason when aborted. */
  sleep(ms: number, signal?: AbortSignal): Promise<void>
}

/** One established control connection. Order is kept; a message sent is either delivered or the link is lost. */
export interface ControlLink {
  send(message: ControlMessage): void
  /** Resolves when what was sent so far has left for the kernel, or never will because the link has ended. */
  flushed(): Promise<void>
  /** The next message; rejects with `link-lost`, `peer-silent` or a protocol error, and does so for ever after. */
  receive(): Promise<ControlMessage>
  /** Sends what is queued, then closes. Idempotent. */
  close(): void
  /** Bytes at the socket so far. */
  readonly bytes: { sent: number; received: number }
  /** Smallest ping round trip so far, ms (0 when none), and the peer's clock minus ours, ns. */
  readonly roundTripMs: number
  readonly clockOffsetNs: bigint
}

export interface RoundOrder {
  readonly round: number
  /** Skip pages that are marked in the current card table (Clark's to_skip); false in the last round. */
  readonly skip: boolean
  /** Hash every page sent and keep the digest. */
  readonly hash: boolean
  /** False: no page refers to another or to what was sent of it before, so none can miss anything (default true). */
  readonly refer?: boolean
  /**
   * The destination began with a stale copy of the guest whose hashes are here: pages of the first round that are the same
   * there do not travel, but free ones do (R17; default false).
   */
  readonly copy?: boolean
  /** The guest is paused: send as fast as the limit allows. */
  readonly final: boolean
}

export interface RoundSent {
  readonly sent: number
  readonly skipped: number
  /** Pages of the first round that did not travel because they are free (R17). */
  readonly free: number
  /** Bytes of page frames at the sockets. */
  readonly bytes: number
  readonly encodings: EncodingCounts
  /** What the encode policy has come to, in one line; null: it had nothing to decide. */
  readonly verdict: string | null
}

export interface PullOrder {
  readonly push: PushOrderName
}

/** Pages of the pull phase so far, by why they were sent; `skipped`: the destination needed them no more. */
export interface PullCounts {
  readonly pushed: number
  readonly asked: number
  readonly skipped: number
  readonly zeroPages: number
}

/** Another guest of the destination's agent, whose pages may be referred to. */
export interface Neighbour {
  /** Its page socket. */
  readonly path: string
  readonly pages: number
}

/** The sending half: n channels that drain the `toSend` bitmap of the guest's control memory. */
export interface PageSource {
  /** Sends the pages of `toSend`, then ROUND_END on every channel. Rejects on the first channel that fails. */
  sendRound(order: RoundOrder): Promise<RoundSent>
  /** What other guests at the destination hold, for pages of the first round to refer to; before that round. */
  share(index: SharedForeignIndex): void
  /** The urgent lane begins to answer faults with pages of `toSend`. */
  answer(): void
  /** Begins to push the pages of `toSend`, and to answer faults if that has not begun. */
  pull(order: PullOrder): void
  /** Counts of the pull phase; they end with the threads. */
  readonly pullCounts: PullCounts
  /** Bytes per second for all channels together; null: no limit. */
  setBandwidth(bytesPerSecond: number | null): void
  /** Work done so far by all threads, all rounds: monotonic. */
  progress(): { pages: number; bytes: number }
  readonly bytes: { sent: number; received: number; control: number }
  /** Rejects with the first failure of a channel, also between rounds; never resolves. */
  readonly failed: Promise<never>
  /** Ends the threads, closes the sockets; idempotent. */
  close(): Promise<void>
}

/** A round at the destination: bytes of its page frames, and the pages that are to be sent once more (R13). */
export interface RoundPlaced {
  readonly bytes: number
  readonly missing: readonly number[]
}

/** The receiving half. */
export interface PageDestination {
  /** Resolves when every channel has ended `round` and its pages are placed; channels go on with the next (R12). */
  placed(round: number): Promise<RoundPlaced>
  /** The guests here that the source was told of, in that order; before it is told that all is ready. */
  share(neighbours: readonly Neighbour[]): void
  /** Pull phase: resolves when a lane has installed the last missing page. */
  readonly pulled: Promise<void>
  /** Pages that came although they had been written here. */
  readonly dropped: number
  /** Rejects with the first failure of a lane; never resolves. */
  readonly failed: Promise<never>
  close(): Promise<void>
}

/** Moves of pages on the exchange, at this side, and its bytes. */
export interface ExchangeCounts {
  /** Given with data: nobody had asked, or somebody had. */
  readonly pushed: number
  readonly asked: number
  /** Given although the other side had the same bytes. */
  readonly withoutData: number
  /** Pages that came; those of them that had been here before; and how many different ones these were. */
  readonly received: number
  readonly returned: number
  readonly pingPong: number
  /** Pages that vCPUs here asked for. */
  readonly asks: number
  /** Of those given with data: pages that had been sent since the switch, or were not stale then. */
  readonly again: number
  readonly sentBytes: number
  readonly receivedBytes: number
}

/** Soft, phase 2: the connection on which pages and vCPUs change their owner, in both directions (R25, R26). */
export interface PageExchange {
  /** Source: the port it listens at. */
  readonly port: number
  /**
   * Brings a link up, the first or one after a cut: accepts or dials a connection of this generation; both say what they
   * have, and what was in flight is settled. Rejects when it fails or `signal` aborts.
   */
  link(generation: number, host: string | null, signal: AbortSignal): Promise<void>
  /** Called when the link in force has failed; pages and vCPUs stay as they are until the next one. */
  onCut(listener: (error: GodwitError) => void): void
  /**
   * Resolves, with `exchange-broken`, when the exchange has failed by itself: no link comes up any more, and what is in flight
   * has no owner that anybody knows of.
   */
  readonly broken: Promise<GodwitError>
  /**
   * The vCPU is held at a step boundary: its clean pages and the vCPU go in one write. Resolves when the peer has it.
   * `cancelled`: there is no link, or it was cut before that write, or after a cut it turned out that the vCPU is ours; or the
   * exchange had failed before.
   */
  cross(vcpu: number, state: VcpuState): Promise<void>
  /** A vCPU came: it is held, and may run from this state on. */
  onArrived(listener: (vcpu: number, state: VcpuState) => void): void
  /** Pages that these vCPUs used last are pushed; 'everything': all that is ours. null: only asks are answered. */
  push(what: { readonly homes: readonly number[] } | 'everything' | null): void
  /** Resolves when nothing of what the last `push` asked for is ours any more, and nothing is in flight. */
  drained(): Promise<void>
  readonly counts: ExchangeCounts
  /** Of pushes, with everything else that leaves counted in; answers wait for nothing. */
  setBandwidth(bytesPerSecond: number | null): void
  /** Ends the thread, closes the socket; idempotent. */
  close(): Promise<void>
}

export type { HandshakeTime, Vcpus } from '../guest/vcpus-port.ts'
