// The migration that a guest host is part of, and what others are told of it: operators by the status, the other host by
// the verdict (R18, R20).

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
import type { SourceSession } from '../migration/source-session.ts'
import type { GuestState, GuestStatus } from './host-port.ts'
import type { AgentAddress } from './peer-agent.ts'

/**
 * At most one at a time; it stays known after its end. `pull`: the guest runs before its memory is there. `keepCopy`: what is
 * left of it here becomes a kept copy.
 */
export type Current =
  | {
      role: 'source'
      id: string
      epoch: number
      peer: AgentAddress
      pull: boolean
      keepCopy: boolean
      session: SourceSession
    }
  | { role: 'destination'; id: string; epoch: number; peer: AgentAddress; pull: boolean; session: DestinationSession }

/** States in which an operator may have something to decide; what, says resolution.ts. */
export const IN_DOUBT: readonly GuestState[] = ['unreconciled', 'incoming', 'migrating', 'pulling', 'lost']

/** Who may run a guest in this state, as far as its host knows. A source serves pages of a guest that runs elsewhere. */
export function ownerOf(state: GuestState, current: Current | null): GuestStatus['owner'] {
  if (state === 'migrating' && current?.session.state === 'serving') return 'elsewhere'
  if (state === 'migrating' && current?.session.state === 'released') return 'undecided'
  if (state === 'unreconciled' || state === 'lost') return 'undecided'
  return state === 'incoming' || state === 'handed-over' || state === 'kept' ? 'elsewhere' : 'here'
}

/** What the end of its session at the source makes of the guest; `here`: it goes on. */
export function restOf(state: SourceState): 'handed-over' | 'lost' | 'here' {
  if (state === 'done' || state === 'abandoned') return 'handed-over'
  return state === 'lost' ? 'lost' : 'here'
}

/** As an operator sees it. `progress`: the latest of an outgoing one. */
export function viewOf(current: Current, progress: Progress | null): GuestStatus['migration'] {
  const { id, role, peer, session } = current
  const view = { id, role, peer: `${peer.host}:${peer.port}` }
  if (role === 'source') return { ...view, progress, paused: session.paused }
  const { puller } = session
  return { ...view, progress: puller?.progress() ?? null, paused: puller?.paused ?? null }
}

/** Why a guest whose memory was spread over two hosts can run no more, and what is left to do about it (R22). */
export function lossOf({ role }: Current, guest: string): NonNullable<GuestStatus['crash']> {
  const abandon = `give it up: godwit resolve ${guest} --abandon`
  if (role === 'destination') {
    const message = 'the source is gone with pages that had not come yet, or runs the guest again'
    return { code: 'lost', message, hint: abandon }
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

/** What the other side is told of one migration: by the live session, or by the record once it is over. */
export function verdictOf(current: Current | null, store: OwnershipStore, migration: string, epoch: number): Verdict {
  if (current?.id === migration && current.epoch === epoch) return verdictOfState(current.role, current.session.state)
  const { verdict } = verdictForDead(store.read(), migration)
  return verdict === 'dropped' ? 'unknown' : verdict
}
