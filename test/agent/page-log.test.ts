// The page log: runs of one table, and the tables of several hosts put together, against a page-by-page model.

import fc from 'fast-check'
import { expect, test } from 'vitest'
import { pageLog } from '../../src/agent/page-log.ts'
import type { PagesView } from '../../src/agent/service-view.ts'
import { ownerByPresence, type PageOwner, pageRuns } from '../../src/guest/page-runs.ts'
import { PRESENCE } from '../../src/guest/presence.ts'
import { seeded } from '../kernels/memory-fixture.ts'

/** What the other side says of it. */
const otherSide = (owner: PageOwner): PageOwner => (owner === 'here' ? 'there' : owner === 'there' ? 'here' : owner)

const anyOwners = fc.array(fc.constantFrom<PageOwner>('here', 'there', 'in-flight'), { minLength: 1, maxLength: 60 })

const tableOf = (owners: readonly PageOwner[], epoch: number): PagesView => ({
  epoch,
  revision: 0,
  pageCount: owners.length,
  runs: pageRuns(owners.length, (page) => owners[page] as PageOwner),
})

test('runs cover every page once, and neighbours differ', () => {
  fc.assert(
    fc.property(anyOwners, (owners) => {
      const { runs } = tableOf(owners, 1)
      expect(runs.flatMap(({ count, owner }) => Array.from({ length: count }, () => owner))).toEqual(owners)
      expect(
        runs.every(({ first }, index) => first === runs.slice(0, index).reduce((sum, run) => sum + run.count, 0)),
      ).toBe(true)
      expect(runs.every((run, index) => run.owner !== runs[index + 1]?.owner)).toBe(true)
    }),
    seeded(300),
  )
})

test("two hosts' tables are one map: the newer epoch decides", () => {
  fc.assert(
    fc.property(anyOwners, (owners) => {
      const newer = { host: 'new', table: tableOf(owners, 2) }
      const older = { host: 'old', table: tableOf(owners.map(otherSide), 1) }
      const log = pageLog([older, newer])
      expect(log).toMatchObject({ epoch: 2, pageCount: owners.length })
      const hosts = log.runs.flatMap(({ count, host }) => Array.from({ length: count }, () => host))
      expect(hosts).toEqual(owners.map((owner) => (owner === 'here' ? 'new' : owner === 'there' ? 'old' : null)))
      expect(log.runs.every((run, index) => run.host !== log.runs[index + 1]?.host)).toBe(true)
    }),
    seeded(300),
  )
})

test('one host, none, and a source that says nothing of what it gave', () => {
  expect(pageLog([])).toEqual({ epoch: 0, revision: 0, pageCount: 0, runs: [] })
  const here = { host: 'a', table: tableOf(['here', 'here'], 3) }
  expect(pageLog([here]).runs).toEqual([{ first: 0, count: 2, host: 'a' }])
  // Both say "there", while the guest belongs to nobody yet.
  const there = (host: string) => ({ host, table: tableOf(['there'], 1) })
  expect(pageLog([there('a')]).runs).toEqual([{ first: 0, count: 1, host: null }])
})

test('presence at the side that pulls', () => {
  const { absent, requested, installing, installed, local, present } = PRESENCE
  expect([absent, requested, installing, installed, local, present].map(ownerByPresence)).toEqual([
    'there',
    'there',
    'in-flight',
    'here',
    'here',
    'here',
  ])
})
