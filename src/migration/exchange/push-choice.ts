// Which pages are pushed next (R28): those of vCPUs that have left, which miss the hottest of them first, all in one pass over the
// guest; or everything, in several passes, those written least first, the hottest last. Never one that a vCPU here waits for,
// nor one that came a moment ago. Pure; core.ts asks it.

import { PUSH_LOOK_PAGES, PUSH_RUN_PAGES } from '../../limits.ts'
import type { ExchangePages } from './sides.ts'

/** Homes as a table of one byte each (home 0: used by none); everything; or nothing. */
export type PushWhat = readonly number[] | 'everything' | null

/** Writes at most: one pass each, then round again with the last. */
const HEATS = [0, 1, 3, Number.POSITIVE_INFINITY] as const
/** After a pass that found nothing. */
const REST_MS = 5

/** Plain data: the explorer copies it. */
export interface PushState {
  what: PushWhat
  cursor: number
  heat: number
  /** Whether it was told that nothing is left. */
  drained: boolean
  /** Of the pass under way: wanted pages that are ours, chosen or not; pages chosen; and whether any came, or came back, meanwhile. */
  mine: number
  chosen: number
  disturbed: boolean
  restUntil: number
}

export const noPush = (): PushState => ({
  what: null,
  cursor: 0,
  heat: 0,
  drained: false,
  mine: 0,
  chosen: 0,
  disturbed: false,
  restUntil: Number.NEGATIVE_INFINITY,
})

export function beginPush(state: PushState, what: PushWhat): void {
  const heat = what === 'everything' ? 0 : HEATS.length - 1
  Object.assign(state, noPush(), { what, heat })
}

/**
 * Whether there is anything to look for. A side that had nothing left to give pushes on what comes all the same: the other side
 * may have given it before it knew.
 */
export function isPushing(state: PushState): boolean {
  if (state.what === 'everything' && state.drained && state.disturbed) state.drained = false
  return state.what !== null && !(state.what === 'everything' && state.drained)
}

const wanted = (what: PushWhat, home: number): boolean => what === 'everything' || (what !== null && what[home] === 1)

/**
 * Takes pages away and lists them in ascending order; at most `dataPages` of them seem to need their data. The second
 * answer: a whole pass has just found nothing wanted that is ours.
 */
export function choosePush(
  state: PushState,
  pages: ExchangePages,
  dataPages: number,
  now: number,
): { readonly list: number[]; readonly nothingLeft: boolean } {
  const list: number[] = []
  const { what } = state
  if (what === null || now < state.restUntil) return { list, nothingLeft: false }
  let withData = 0
  let looks = PUSH_LOOK_PAGES
  for (;;) {
    // What is not ours costs no look: at the end little is, wherever it lies.
    let page = pages.nextMine(state.cursor)
    while (page < pages.pageCount && looks > 0 && withData < dataPages && list.length < PUSH_RUN_PAGES) {
      looks--
      if (isChosen(state, what, pages, page)) {
        if (pages.isStale(page)) withData++
        list.push(page)
      }
      page = pages.nextMine(page + 1)
    }
    state.cursor = page
    if (page < pages.pageCount) break
    state.chosen += list.length
    const pass = endPass(state, now)
    // A pass that chose nothing costs no turn: the next one takes hotter pages.
    if (pass !== 'next' || list.length > 0) return { list, nothingLeft: pass === 'nothing-left' }
  }
  state.chosen += list.length
  return { list, nothingLeft: false }
}

/** Takes the page away if it is its turn. */
function isChosen(state: PushState, what: PushWhat, pages: ExchangePages, page: number): boolean {
  if (!wanted(what, pages.homeOf(page))) return false
  state.mine++
  if (pages.heatOf(page) > (HEATS[state.heat] as number)) return false
  return !pages.cameLately(page) && !pages.isAwaited(page) && pages.takeAway(page)
}

function endPass(state: PushState, now: number): 'nothing-left' | 'next' | 'rest' {
  const nothingLeft = state.mine === 0 && !state.disturbed
  const last = state.heat === HEATS.length - 1
  const rests = last && state.chosen === 0
  // Nothing wanted is here: what is under way decides, and tells by itself.
  if (rests && state.mine > 0) state.restUntil = now + REST_MS
  if (!last) state.heat++
  state.cursor = 0
  state.mine = 0
  state.chosen = 0
  state.disturbed = false
  if (nothingLeft) return 'nothing-left'
  return rests ? 'rest' : 'next'
}
