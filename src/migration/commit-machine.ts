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
// Post-copy and hybrid (R22) go through the pull phase: the guest runs at the destination, the source serves its pages.
//
//   source        released ──active-pulling──► serving ──complete──► done
//                     └────────────┬──────────────┘ (complete may come first)
//                                  ├──peer-lost──► lost ──┬──take-stale──► reclaimed (as it was at the switch)
//                                  └──────────────────────┴──abandon─────► abandoned
//
//   destination   incoming ──commit-pulling──► pulling ──complete──► owner ──done──► settled
//                                                 └─peer-lost, not-released──► lost ──abandon──► abandoned
//
// Soft (R25–R29) goes through a time in which both hosts may run vCPUs, each of them on one; the guest is no host's then.
//
//   source        running ──share──► offered ──sharing──► shared ──gone──► retired ──complete──► done
//                                       └─give-up,           ├──home──► aborted (everything came back)
//                                         peer-dropped       └──peer-lost──► lost ──abandon──► abandoned
//                                              └──► aborted
//
//   destination   incoming ──commit-sharing──► shared ──retired──► owner ──done──► settled
//                                                ├──not-released──► dropped (everything went back)
//                                                └──peer-lost──► lost ──abandon──► abandoned
//
// Rules: R18 (attempts), R19 (giving up), R20 (dead process), R21 (the lower epoch parks), R22 (pull phase), R24 (cancel).
// An illegal transition throws `unexpected-message`.

import { GodwitError } from '../errors.ts'

export type SourceState =
  | 'running'
  | 'paused'
  | 'released'
  | 'serving'
  | 'offered'
  | 'shared'
  | 'retired'
  | 'done'
  | 'aborted'
  | 'reclaimed'
  | 'lost'
  | 'abandoned'
/**
 * active: the guest runs at the destination and is whole there. active-pulling: it runs there, pages are missing.
 * complete: the last page is there. peer-dropped, peer-lost: the word of the destination's agent. take-stale, abandon:
 * the operator's, who answers for it that the destination does not run (resolution.ts). Soft: share: the destination is
 * prepared. sharing: it has recorded it. gone: it owns every page and vCPU. home: everything is the source's again.
 */
export type SourceEvent =
  | 'stop'
  | 'give-up'
  | 'cut'
  | 'prepared'
  | 'ask'
  | 'active'
  | 'active-pulling'
  | 'complete'
  | 'share'
  | 'sharing'
  | 'gone'
  | 'home'
  | 'peer-dropped'
  | 'peer-lost'
  | 'take-stale'
  | 'abandon'
export type SourceAction =
  | 'pause'
  | 'resume'
  | 'record-aborted'
  | 'record-released'
  | 'record-reclaimed'
  | 'record-done'
  | 'record-lost'
  | 'record-shared'
  | 'stop'
  | 'send-retired'
  | 'send-commit'
  | 'send-not-released'
  | 'send-done'
  | 'await-redial'

export type DestinationState =
  | 'receiving'
  | 'incoming'
  | 'pulling'
  | 'shared'
  | 'owner'
  | 'settled'
  | 'dropped'
  | 'lost'
  | 'abandoned'
/** commit-pulling: a commit of a movement that pulls. complete: the last page is in. peer-lost: the source's agent's word. */
export type DestinationEvent =
  | 'proven'
  | 'cut'
  | 'abort'
  | 'commit'
  | 'commit-pulling'
  | 'commit-sharing'
  | 'retired'
  | 'complete'
  | 'not-released'
  | 'done'
  | 'peer-lost'
  | 'abandon'
export type DestinationAction =
  | 'record-incoming'
  | 'record-pulling'
  | 'record-shared'
  | 'send-sharing'
  | 'record-owner'
  | 'record-dropped'
  | 'record-lost'
  | 'send-prepared'
  | 'send-active'
  | 'send-complete'
  | 'run'
  | 'stop'
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
      if (event === 'share') return to('offered', 'record-shared', 'send-commit')
      if (event === 'give-up' || event === 'cut') return to('aborted', 'record-aborted', 'resume')
      break
    case 'paused':
      if (event === 'prepared') return to('released', 'record-released', 'send-commit')
      if (event === 'give-up' || event === 'cut') return to('aborted', 'record-aborted', 'resume')
      if (event === 'ask') return to('released', 'record-released', 'send-commit')
      break
    case 'offered':
      if (event === 'ask' || event === 'prepared') return to('offered', 'send-commit')
      if (event === 'sharing') return to('shared')
      if (event === 'cut') return to('offered', 'await-redial')
      // Nothing has left: it is all here, and the destination may forget it.
      if (event === 'give-up') return to('aborted', 'record-aborted', 'send-not-released')
      if (event === 'peer-dropped' || event === 'peer-lost') return to('aborted', 'record-aborted')
      break
    case 'shared':
      if (event === 'ask') return to('shared', 'send-commit')
      if (event === 'sharing') return to('shared')
      if (event === 'cut') return to('shared', 'await-redial')
      if (event === 'gone') return to('retired', 'send-retired')
      if (event === 'home') return to('aborted', 'record-aborted', 'send-not-released')
      if (event === 'abandon') return to('abandoned', 'record-lost', 'stop')
      if (event === 'peer-dropped' || event === 'peer-lost') return to('lost', 'record-lost', 'stop')
      break
    case 'retired':
      if (event === 'sharing') return to('retired', 'send-retired')
      if (event === 'cut') return to('retired', 'await-redial')
      if (event === 'give-up') return to('retired') // R24: too late
      if (event === 'complete') return to('done', 'record-done', 'send-done')
      if (event === 'abandon') return to('abandoned', 'record-lost', 'stop')
      if (event === 'peer-dropped' || event === 'peer-lost') return to('lost', 'record-lost', 'stop')
      break
    case 'released':
      if (event === 'ask' || event === 'prepared') return to('released', 'send-commit')
      if (event === 'active') return to('done', 'record-done', 'send-done')
      if (event === 'cut') return to('released', 'await-redial')
      if (event === 'give-up') return to('released')
      if (event === 'peer-dropped') return to('reclaimed', 'record-reclaimed', 'resume')
      // That it runs is no news for the record, which says `released`: only `done` lets the memory go.
      if (event === 'active-pulling') return to('serving')
      return pullPhase(state, event)
    case 'serving':
      if (event === 'active-pulling') return to('serving')
      // No destination that runs asks. To answer one that does harms nobody, to throw would cost the only good copy.
      if (event === 'ask') return to('serving', 'send-commit')
      if (event === 'cut') return to('serving', 'await-redial')
      if (event === 'give-up') return to('serving') // R24: too late
      // It said that it runs: what its agent takes for a guest that never ran is one that did, and is gone.
      if (event === 'peer-dropped') return to('lost', 'record-lost')
      return pullPhase(state, event)
    case 'lost':
      if (event === 'take-stale') return to('reclaimed', 'record-reclaimed', 'resume')
      if (event === 'abandon') return to('abandoned', 'record-lost')
      if (event === 'cut' || event === 'give-up' || event === 'peer-lost' || event === 'peer-dropped') return to('lost')
      break
    case 'abandoned':
      // It has every page after all. Any other word finds no page server: this host's agent says `lost`.
      if (event === 'complete') return to('abandoned', 'send-done')
      if (event !== 'stop' && event !== 'take-stale') return to('abandoned')
      break
    case 'done':
      if (event === 'active' || event === 'ask') return to('done', 'send-done')
      if (event === 'active-pulling' || event === 'complete') return to('done', 'send-done')
      if (event === 'cut' || event === 'give-up' || event === 'prepared') return to('done')
      break
    case 'aborted':
      if (event === 'ask' || event === 'prepared' || event === 'sharing') return to('aborted', 'send-not-released')
      if (event === 'cut' || event === 'give-up' || event === 'peer-dropped' || event === 'peer-lost')
        return to('aborted')
      break
    case 'reclaimed':
      if (event === 'ask' || event === 'prepared') return to('reclaimed', 'send-not-released')
      // R21: the operator was wrong about it. Its epoch is the lower one: whatever it says, it is told to stop.
      if (event === 'active' || event === 'active-pulling' || event === 'complete')
        return to('reclaimed', 'send-not-released')
      if (event === 'cut' || event === 'give-up' || event === 'peer-dropped' || event === 'peer-lost')
        return to('reclaimed')
      break
  }
  throw illegalAtSource(state, event)
}

const illegalAtSource = (state: SourceState, event: SourceEvent): GodwitError =>
  new GodwitError('unexpected-message', `the source, ${state}, cannot take '${event}'`, { side: 'source' })

/** What ends the pull phase, whether the source has heard already that it began or not. */
function pullPhase(state: 'released' | 'serving', event: SourceEvent): Transition<SourceState, SourceAction> {
  if (event === 'complete') return to('done', 'record-done', 'send-done')
  if (event === 'peer-lost') return to('lost', 'record-lost')
  if (event === 'take-stale') return to('reclaimed', 'record-reclaimed', 'resume')
  if (event === 'abandon') return to('abandoned', 'record-lost')
  throw illegalAtSource(state, event)
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
      if (event === 'peer-lost') return to('dropped', 'discard')
      break
    case 'incoming':
      if (event === 'commit') return to('owner', 'record-owner', 'run', 'send-active')
      if (event === 'commit-pulling') return to('pulling', 'record-pulling', 'run', 'send-active')
      if (event === 'commit-sharing') return to('shared', 'record-shared', 'send-sharing')
      if (event === 'not-released') return to('dropped', 'record-dropped', 'discard')
      // The source died with the pages that were still to come; nothing ran here.
      if (event === 'peer-lost') return to('dropped', 'record-dropped', 'discard')
      // R18: after PREPARED nothing but "not released" frees it; an abort is a hint to ask, like a cut.
      if (event === 'cut' || event === 'abort') return to('incoming', 'redial')
      break
    case 'shared':
      if (event === 'commit-sharing') return to('shared', 'send-sharing')
      if (event === 'retired') return to('owner', 'record-owner', 'send-complete')
      if (event === 'not-released') return to('dropped', 'record-dropped', 'discard')
      if (event === 'cut') return to('shared', 'redial')
      if (event === 'peer-lost') return to('lost', 'record-lost', 'stop')
      if (event === 'abandon') return to('abandoned', 'record-lost', 'stop', 'discard')
      break
    case 'pulling':
      if (event === 'commit' || event === 'commit-pulling') return to('pulling', 'send-active')
      if (event === 'complete') return to('owner', 'record-owner', 'send-complete')
      if (event === 'cut') return to('pulling', 'redial')
      // R21, R22: the pages are gone with the source, or it runs again under a higher epoch.
      if (event === 'peer-lost' || event === 'not-released') return to('lost', 'record-lost', 'stop')
      if (event === 'abandon') return to('abandoned', 'record-lost', 'stop', 'discard')
      break
    case 'owner':
      if (event === 'commit' || event === 'commit-pulling') return to('owner', 'send-active')
      if (event === 'retired' || event === 'commit-sharing') return to('owner', 'send-complete')
      if (event === 'cut') return to('owner', 'redial')
      if (event === 'done') return to('settled')
      // Everything was here when the source died: nobody is left who could say `done`.
      if (event === 'peer-lost') return to('settled')
      // R21: the source was made to run again by its operator; the lower epoch parks.
      if (event === 'not-released') return to('lost', 'record-lost', 'stop')
      break
    case 'settled':
      if (event === 'commit' || event === 'cut' || event === 'done') return to('settled')
      break
    case 'dropped':
      if (event === 'cut' || event === 'abort' || event === 'not-released' || event === 'peer-lost')
        return to('dropped')
      break
    case 'lost':
      if (event === 'abandon') return to('abandoned', 'record-lost', 'discard')
      if (event !== 'proven' && event !== 'complete') return to('lost')
      break
    case 'abandoned':
      if (event !== 'proven' && event !== 'complete') return to('abandoned')
      break
  }
  throw new GodwitError('unexpected-message', `the destination, ${state}, cannot take '${event}'`, {
    side: 'destination',
  })
}

/**
 * True while this side's vCPUs may run, all of them. Never true on both sides at once: the explorer's main invariant. While
 * both are `shared` each vCPU has a side of its own (R26), which the exchange keeps.
 */
export const sourceMayRun = (state: SourceState): boolean =>
  state === 'running' || state === 'offered' || state === 'aborted' || state === 'reclaimed'
export const destinationMayRun = (state: DestinationState): boolean =>
  state === 'pulling' || state === 'owner' || state === 'settled'
