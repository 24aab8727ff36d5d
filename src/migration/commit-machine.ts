// Who may run the guest: the two-phase commit as pure transition functions, one for each side. The sessions drive
// them with real events and carry out the actions; test/explore/commit.test.ts visits every interleaving.
//
//   source        running ──stop──► paused ──prepared──► released ──active──► done
//                    │                 │                    └─peer-dropped──► reclaimed (runs again, new epoch)
//                    └────give-up, cut─┴──► aborted (runs again)
//
//   destination   receiving ──proven──► incoming ──commit──► owner ──done──► settled
//                    └──cut, abort──► dropped ◄──not-released──┘(incoming only)
//
// Rules: R18 (attempts), R19 (giving up), R20 (dead process). An illegal transition throws `internal`.

import { GodwitError } from '../errors.ts'

export type SourceState = 'running' | 'paused' | 'released' | 'done' | 'aborted' | 'reclaimed'
export type SourceEvent = 'stop' | 'give-up' | 'cut' | 'prepared' | 'ask' | 'active' | 'peer-dropped'
export type SourceAction =
  | 'pause'
  | 'resume'
  | 'record-aborted'
  | 'record-released'
  | 'record-reclaimed'
  | 'record-done'
  | 'send-commit'
  | 'send-not-released'
  | 'send-done'
  | 'await-redial'

export type DestinationState = 'receiving' | 'incoming' | 'owner' | 'settled' | 'dropped'
export type DestinationEvent = 'proven' | 'cut' | 'abort' | 'commit' | 'not-released' | 'done'
export type DestinationAction =
  | 'record-incoming'
  | 'record-owner'
  | 'record-dropped'
  | 'send-prepared'
  | 'send-active'
  | 'run'
  | 'discard'
  | 'redial'

export interface Transition<State, Action> {
  readonly state: State
  /** Carried out in this order; a record is on disk before the message behind it leaves (R21). */
  readonly actions: readonly Action[]
}

const to = <State, Action>(state: State, ...actions: Action[]): Transition<State, Action> => ({ state, actions })

/** What the source does on an event. Messages that come late or twice change nothing. */
export function sourceTransition(state: SourceState, event: SourceEvent): Transition<SourceState, SourceAction> {
  switch (state) {
    case 'running':
      if (event === 'stop') return to('paused', 'pause')
      if (event === 'give-up' || event === 'cut') return to('aborted', 'record-aborted', 'resume')
      break
    case 'paused':
      if (event === 'prepared') return to('released', 'record-released', 'send-commit')
      if (event === 'give-up' || event === 'cut') return to('aborted', 'record-aborted', 'resume')
      if (event === 'ask') return to('released', 'record-released', 'send-commit')
      break
    case 'released':
      if (event === 'ask' || event === 'prepared') return to('released', 'send-commit')
      if (event === 'active') return to('done', 'record-done', 'send-done')
      if (event === 'cut') return to('released', 'await-redial')
      if (event === 'give-up') return to('released')
      if (event === 'peer-dropped') return to('reclaimed', 'record-reclaimed', 'resume')
      break
    case 'done':
      if (event === 'active' || event === 'ask') return to('done', 'send-done')
      if (event === 'cut' || event === 'give-up' || event === 'prepared') return to('done')
      break
    case 'aborted':
      if (event === 'ask' || event === 'prepared') return to('aborted', 'send-not-released')
      if (event === 'cut' || event === 'give-up' || event === 'peer-dropped') return to('aborted')
      break
    case 'reclaimed':
      if (event === 'ask' || event === 'prepared') return to('reclaimed', 'send-not-released')
      if (event === 'cut' || event === 'give-up' || event === 'peer-dropped') return to('reclaimed')
      break
  }
  throw new GodwitError('unexpected-message', `the source, ${state}, cannot take '${event}'`, { side: 'source' })
}

/** What the destination does on an event. */
export function destinationTransition(
  state: DestinationState,
  event: DestinationEvent,
): Transition<DestinationState, DestinationAction> {
  switch (state) {
    case 'receiving':
      if (event === 'proven') return to('incoming', 'record-incoming', 'send-prepared')
      if (event === 'cut' || event === 'abort' || event === 'not-released') return to('dropped', 'discard')
      break
    case 'incoming':
      if (event === 'commit') return to('owner', 'record-owner', 'run', 'send-active')
      if (event === 'not-released') return to('dropped', 'record-dropped', 'discard')
      // R18: after PREPARED nothing but "not released" frees it; an abort is a hint to ask, like a cut.
      if (event === 'cut' || event === 'abort') return to('incoming', 'redial')
      break
    case 'owner':
      if (event === 'commit') return to('owner', 'send-active')
      if (event === 'cut') return to('owner', 'redial')
      if (event === 'done') return to('settled')
      break
    case 'settled':
      if (event === 'commit' || event === 'cut' || event === 'done') return to('settled')
      break
    case 'dropped':
      if (event === 'cut' || event === 'abort' || event === 'not-released') return to('dropped')
      break
  }
  throw new GodwitError('unexpected-message', `the destination, ${state}, cannot take '${event}'`, {
    side: 'destination',
  })
}

/** True while this side's vCPUs may run. Never true on both sides at once: the explorer's main invariant. */
export const sourceMayRun = (state: SourceState): boolean =>
  state === 'running' || state === 'aborted' || state === 'reclaimed'
export const destinationMayRun = (state: DestinationState): boolean => state === 'owner' || state === 'settled'
