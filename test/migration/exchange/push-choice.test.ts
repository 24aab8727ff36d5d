// Which pages go first: of a vCPU that has left all at once, of everything else the hottest last.

import { expect, test } from 'vitest'
import { beginPush, choosePush, noPush, type PushWhat } from '../../../src/migration/exchange/push-choice.ts'
import type { ExchangePages } from '../../../src/migration/exchange/sides.ts'

/** Six stale pages, all ours: homes and heats by page. */
const HOMES = [1, 2, 1, 2, 1, 0]
const HEATS = [200, 0, 0, 2, 1, 5]

/** The pages that each turn chooses, until nothing is left. */
function turns(what: PushWhat, dataPages = 100): number[][] {
  const gone = new Set<number>()
  const nextMine = (from: number): number => {
    for (let page = from; page < HOMES.length; page++) if (!gone.has(page)) return page
    return HOMES.length
  }
  const pages = {
    pageCount: HOMES.length,
    nextMine,
    homeOf: (page: number) => HOMES[page],
    heatOf: (page: number) => HEATS[page],
    isStale: () => true,
    isAwaited: () => false,
    cameLately: () => false,
    takeAway: (page: number) => gone.size < gone.add(page).size,
  } as unknown as ExchangePages
  const state = noPush()
  beginPush(state, what)
  const chosen: number[][] = []
  for (let turn = 0; turn < 20; turn++) {
    const { list, nothingLeft } = choosePush(state, pages, dataPages, 0)
    if (nothingLeft) return chosen
    if (list.length > 0) chosen.push(list)
  }
  throw new Error('it never ended')
}

test('a vCPU that has left gets what it wrote most with the first turn', () => {
  expect(turns([0, 1, 0])).toEqual([[0, 2, 4]])
})

test('of everything the hottest go last', () => {
  expect(turns('everything')).toEqual([[1, 2], [4], [3], [0, 5]])
})

test('no turn takes more with data than it may', () => {
  expect(turns([0, 1, 1], 2)).toEqual([[0, 1], [2, 3], [4]])
})
