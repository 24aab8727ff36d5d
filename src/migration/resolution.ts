// What an operator may decide about a guest in doubt (R21, R22): the pure rule behind `godwit resolve`. The guest process
// asks the peer first and puts its answer in here; a peer that may run the guest is never overruled while it answers.

import { GodwitError } from '../errors.ts'
import type { DestinationState, SourceState } from './commit-machine.ts'
import type { Verdict } from './ownership-record.ts'

/**
 * What an operator decides about a guest in doubt. `status`: nothing, only tell. `take`: it runs here (R21). `abandon`: it
 * ends here, its memory is given up. `take-stale`: it runs at the source again as it was at the switch; what it did since
 * is lost (R22).
 */
export type Resolution = 'status' | 'take' | 'abandon' | 'take-stale'

type Role = 'source' | 'destination'
type State = SourceState | DestinationState

/**
 * Null when this side, whose session is in `state`, may do `what`; else why not. `answer` is the peer's to "what of this
 * migration?", `peerIsDead` the operator's word, which counts only while the peer is unreachable. `pull`: a movement in
 * which the guest runs before its memory is there; `soft`: one in which both hosts run parts of it (R29). Codes:
 * `guest-not-running` (nothing to decide in this state), `lost` (no whole guest here), `unreachable` (say that the peer is
 * dead), `owner-elsewhere` (the peer answers).
 */
export function mayResolve(
  role: Role,
  state: State,
  what: Resolution,
  answer: Verdict | 'unreachable',
  peerIsDead: boolean,
  pull = false,
  soft = false,
): GodwitError | null {
  if (state === 'offered' && what !== 'status') return nothingHasLeft()
  switch (what) {
    case 'status':
      return null
    case 'take':
      if (isShared(state) || (soft && state === 'lost')) return spread(role, state)
      return wholeGuestHere(role, state, pull || soft) ?? peerLetsTake(role, answer, peerIsDead, pull)
    case 'abandon':
      if (state === 'lost') return null
      if (isShared(state)) return peerIsGone(what, answer, peerIsDead)
      return inPullPhase(role, state, what, pull) ?? peerIsGone(what, answer, peerIsDead)
    case 'take-stale':
      if (soft) return spread(role, state)
      if (role === 'destination') {
        return new GodwitError('lost', 'the guest as it was at the switch is at its source, not here', {
          hint: 'at the agent of the source: godwit resolve GUEST --take-stale',
        })
      }
      return inPullPhase(role, state, what, pull) ?? peerIsGone(what, answer, peerIsDead)
  }
}

const isShared = (state: State): boolean => state === 'shared' || state === 'retired'

/** The source still has all of it, runs it, and is free to say so. */
const nothingHasLeft = (): GodwitError =>
  new GodwitError('guest-not-running', 'nothing of the guest has left its source, where it runs', {
    hint: 'to call the migration off: godwit cancel',
  })

/** R29: neither host has a whole guest, of any moment. */
function spread(role: Role, state: State): GodwitError {
  const giveUp = 'to give up what is here: godwit resolve GUEST --abandon'
  // It may have all of it, which its session alone knows: then it goes on.
  const callOff = role === 'source' && state === 'shared' ? 'to call the migration off: godwit cancel GUEST; ' : ''
  return new GodwitError('lost', 'both hosts run parts of the guest, or did', { hint: `${callOff}${giveUp}` })
}

/** A source in doubt and a prepared destination have all of it; once it runs in the pull phase, neither has. */
function wholeGuestHere(role: Role, state: State, pull: boolean): GodwitError | null {
  if (state === 'serving' || (state === 'lost' && role === 'source')) {
    return new GodwitError('lost', 'the guest has run at the other host: here it is only as it was at the switch', {
      hint: 'to run it as it was then, and lose what it did since: godwit resolve GUEST --take-stale',
    })
  }
  if (state === 'pulling' || state === 'lost') {
    return new GodwitError('lost', 'part of the memory of the guest is not here', {
      hint: 'to give it up: godwit resolve GUEST --abandon',
    })
  }
  if (state !== (role === 'source' ? 'released' : 'incoming')) return nothingToResolve(role, state)
  if (role === 'source' || !pull) return null
  return new GodwitError('lost', 'the guest has not run here and part of its memory is not here', {
    hint: 'to forget it: godwit stop GUEST --force',
  })
}

/** R21: the peer has said that it never will run it, or it is dead for good. One that has not decided may still decide. */
function peerLetsTake(
  role: Role,
  answer: Verdict | 'unreachable',
  peerIsDead: boolean,
  pull: boolean,
): GodwitError | null {
  if (answer === (role === 'source' ? 'dropped' : 'released')) return null
  // It was told to run the guest, and nobody can say whether it did: what is here may be old.
  if (pull && (answer === 'lost' || (answer === 'unreachable' && peerIsDead))) {
    return new GodwitError('lost', 'the guest may have run at the other host: here it is as it was at the switch', {
      hint: `to run it as it was then: godwit resolve GUEST --take-stale${answer === 'lost' ? '' : ' --peer-is-dead'}`,
    })
  }
  if (answer === 'unreachable') return peerIsDead ? null : silent(pull ? 'take-stale' : 'take')
  return mayRunThere()
}

function peerIsGone(
  what: 'abandon' | 'take-stale',
  answer: Verdict | 'unreachable',
  peerIsDead: boolean,
): GodwitError | null {
  if (answer === 'lost') return null
  if (answer === 'unreachable') return peerIsDead ? null : silent(what)
  return mayRunThere()
}

function inPullPhase(role: Role, state: State, what: Resolution, pull: boolean): GodwitError | null {
  const phase: readonly State[] = role === 'source' ? ['serving', 'lost'] : ['pulling', 'lost']
  // A source that has released may have missed the word that the pull phase began.
  if (phase.includes(state) || (state === 'released' && pull)) return null
  if (state === 'released' || state === 'incoming') {
    return new GodwitError('guest-not-running', `--${what} is for a guest that ran before its memory was there`, {
      hint: 'this one is whole or never ran: godwit resolve GUEST --take, or godwit stop GUEST --force',
    })
  }
  return nothingToResolve(role, state)
}

const nothingToResolve = (role: Role, state: State): GodwitError =>
  new GodwitError('guest-not-running', `the ${role} is ${state}: nothing to resolve`, {
    hint: 'see where the guest is: godwit show GUEST',
  })

const silent = (what: Resolution): GodwitError =>
  new GodwitError('unreachable', 'the other host does not answer and may run the guest', {
    hint: `when it is dead for good: godwit resolve GUEST --${what} --peer-is-dead`,
  })

const mayRunThere = (): GodwitError =>
  new GodwitError('owner-elsewhere', 'the other host answers and may run the guest', {
    hint: 'both hosts settle it by themselves as long as they reach each other; look again: godwit resolve GUEST',
  })
