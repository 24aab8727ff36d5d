// What the main thread and its transfer threads say to each other, on both sides.

import type { SharedForeignIndex } from '../../encoding/foreign-index.ts'
import type { Lz4Choice } from '../../encoding/lz4-backend.ts'
import type { EncodeMode } from '../../encoding/modes.ts'
import type { EncodingCounts } from '../../encoding/tally.ts'
import type { SharedVersions } from '../../encoding/version-store.ts'
import type { ErrorCode, Side } from '../../errors.ts'
import type { SharedGuestMemory } from '../../guest/memory.ts'
import type { Neighbour, PullOrder, RoundOrder } from '../ports.ts'

/** Proof that a connection belongs to this migration (R14). */
export interface ChannelIdentity {
  readonly migration: string
  readonly token: string
  readonly generation: number
}

export interface SourceThreadData extends ChannelIdentity {
  readonly memory: SharedGuestMemory
  readonly channel: number
  readonly host: string
  readonly portRange: readonly [number, number]
  readonly locked: { readonly lambda: number } | null
  readonly encode: EncodeMode
  readonly lz4: Lz4Choice
  /** The cache of deltas that all channels share; null: no deltas. */
  readonly versions: SharedVersions | null
  /** A bandwidth limit set on this channel, bytes per second. */
  readonly bytesPerSecond: number | null
  /** This is the urgent lane: it answers faults and does nothing else. */
  readonly urgent: boolean
}

export interface DestinationThreadData extends ChannelIdentity {
  /** Where pages are kept for the way back; null: nowhere. */
  readonly versions: SharedVersions | null
  /** The memory begins as a copy of the guest, of which this thread keeps its share of so many. */
  readonly copyParts: number | null
  readonly memory: SharedGuestMemory
  readonly channel: number
  readonly host: string
  readonly port: number
  readonly hash: boolean
  /** Pull phase of a locked guest: steps granted per page. */
  readonly locked: { readonly lambda: number } | null
  readonly urgent: boolean
}

/** One channel's share of a round. */
export interface ChannelRound {
  sent: number
  bytes: number
  encodings: EncodingCounts
  /** What the encode policy has come to, in one line. */
  verdict: string | null
}

export type PlainError = { code: ErrorCode; message: string; hint?: string; side?: Side }

export type ToSourceThread =
  | { type: 'share'; index: SharedForeignIndex }
  | { type: 'round'; order: RoundOrder }
  | { type: 'answer' }
  | { type: 'pull'; order: PullOrder }
  | { type: 'close' }
export type FromSourceThread =
  | { type: 'listening'; port: number }
  | { type: 'connected' }
  | { type: 'sent'; round: number; share: ChannelRound }
  | { type: 'notice'; text: string }
  | { type: 'failed'; error: PlainError }

/** `again`, to the urgent lane: the page came with a wrong hash (R10). */
export type ToDestinationThread =
  | { type: 'share'; neighbours: readonly Neighbour[] }
  | { type: 'proceed' }
  | { type: 'again'; page: number }
  | { type: 'close' }
export type FromDestinationThread =
  | { type: 'connected' }
  | { type: 'ended'; round: number; bytes: number; missing: readonly number[] }
  | { type: 'spoilt'; page: number }
  | { type: 'pulled' }
  | { type: 'failed'; error: PlainError }
