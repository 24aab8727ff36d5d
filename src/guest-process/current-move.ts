// The migration that a guest host is part of, and what others are told of it: operators by the status, the other host by
// the verdict (R18, R20).

import type { GodwitError } from '../errors.ts'
import type { Progress } from '../events.ts'
import type { SourceState } from '../migration/commit-machine.ts'
import type { DestinationSession } from '../migration/destination-session.ts'
import {
  type OwnershipRecord,
  type OwnershipStore,
  type Verdict,
  verdictForDead,
  verdictOfState,
} from '../migration/ownership-record.ts'
import { type MigrationSettings, pulls, shares } from '../migration/settings.ts'
import type { SourceSession } from '../migration/source-session.ts'
import type { GuestState, GuestStatus } from './host-port.ts'
import type { AgentAddress } from './peer-agent.ts'

/**
 * At most one at a time; it stays known after its end. `pull`: the guest runs before its memory is there. `soft`: both hosts run
 * parts of it. `keepCopy`: what is
 * left of it here becomes a kept copy.
 */
export type Current =
  | {
      role: 'source'
      id: string
      epoch: number
      peer: AgentAddress
      pull: boolean
      soft: boolean
      keepCopy: boolean
      session: SourceSession
    }
  | {
      role: 'destination'
      id: string
      epoch: number
      peer: AgentAddress
      pull: boolean
      soft: boolean
      session: DestinationSession
    }

/** States in which an operator may have something to decide; what, says resolution.ts. */
export const IN_DOUBT: readonly GuestState[] = ['unreconciled', 'incoming', 'migrating', 'pulling', 'shared', 'lost']

/** What the movement makes of the guest meanwhile. */
export const kindOf = ({ movement }: MigrationSettings): { pull: boolean; soft: boolean } => ({
  pull: pulls(movement),
  soft: shares(movement),
})

/** States of a guest that is moving already. */
export const ON_THE_WAY: readonly GuestState[] = ['migrating', 'incoming', 'pulling', 'shared']

/** Where it stands, as its status says it. */
export function standingOf(
  state: GuestState,
  current: Current | null,
  progress: Progress | null,
): Pick<GuestStatus, 'owner' | 'migration'> {
  return { owner: ownerOf(state, current), migration: current === null ? null : viewOf(current, progress) }
}

/** Why it runs no more, if so. */
export function crashOf(
  state: GuestState,
  current: Current | null,
  guest: string,
  crashed: GodwitError | null,
): Pick<GuestStatus, 'crash'> {
  const crash = state === 'lost' && current !== null ? lossOf(current, guest) : crashed?.toJSON()
  return crash === undefined ? {} : { crash }
}

/** Who may run a guest in this state, as far as its host knows. A source serves pages of a guest that runs elsewhere. */
function ownerOf(state: GuestState, current: Current | null): GuestStatus['owner'] {
  if (state === 'migrating' && current?.session.state === 'serving') return 'elsewhere'
  if (state === 'migrating' && current?.session.state === 'released') return 'undecided'
  // R29: each of its vCPUs has one.
  if (state === 'shared' || (state === 'migrating' && current?.session.state === 'shared')) return 'both'
  if (state === 'migrating' && current?.session.state === 'retired') return 'elsewhere'
  if (state === 'unreconciled' || state === 'lost') return 'undecided'
  return state === 'incoming' || state === 'handed-over' || state === 'kept' ? 'elsewhere' : 'here'
}

/** What the end of its session at the source makes of the guest; `here`: it goes on. */
export function restOf(state: SourceState): 'handed-over' | 'lost' | 'here' {
  if (state === 'done' || state === 'abandoned') return 'handed-over'
  return state === 'lost' ? 'lost' : 'here'
}

/** As an operator sees it. `progress`: the latest of an outgoing one. */
function viewOf(current: Current, progress: Progress | null): GuestStatus['migration'] {
  const { id, role, peer, session } = current
  const view = { id, role, peer: `${peer.host}:${peer.port}` }
  if (role === 'source') return { ...view, progress, paused: session.paused }
  const { puller, sharingPaused } = session
  return { ...view, progress: puller?.progress() ?? null, paused: puller?.paused ?? sharingPaused }
}

/** Why a guest whose memory was spread over two hosts can run no more, and what is left to do about it (R22). */
function lossOf({ role, soft }: Current, guest: string): NonNullable<GuestStatus['crash']> {
  const abandon = `give it up: godwit resolve ${guest} --abandon`
  if (soft)
    return { code: 'lost', message: 'both hosts ran parts of the guest, and one of the parts is gone', hint: abandon }
  if (role === 'destination') {
    const message = 'the source is gone with pages that had not come yet, or runs the guest again'
    const hint = `${abandon}; or at its source, as it was at the switch: godwit resolve ${guest} --take-stale`
    return { code: 'lost', message, hint }
  }
  const message = 'the destination is gone with what the guest did since the switch'
  const hint = `${abandon}; or run it as it was at the switch: godwit resolve ${guest} --take-stale`
  return { code: 'lost', message, hint }
}

/** Of a guest that its operator took, at `epoch`: what the other host is told when it asks after all. */
export function takenRecord(
  record: OwnershipRecord | null,
  guest: string,
  epoch: number,
  role: Current['role'],
): OwnershipRecord {
  const empty = { migration: null, role: null, peer: null }
  // The source never let it go, the destination has it.
  const state = role === 'source' ? 'aborted' : 'owner'
  return { ...(record ?? { version: 1, guest, ...empty }), epoch, state }
}

/**
 * What the other side is told of one migration: by the live session, or by the record once it is over. What holds of a record
 * only because its process is dead, and would be written as such, is no word of one that lives (R20).
 */
export function verdictOf(current: Current | null, store: OwnershipStore, migration: string, epoch: number): Verdict {
  if (current?.id === migration && current.epoch === epoch) return verdictOfState(current.role, current.session.state)
  const { verdict, write } = verdictForDead(store.read(migration), migration)
  return verdict === 'dropped' || write !== null ? 'unknown' : verdict
}
