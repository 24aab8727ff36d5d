// Pages that the destination could not make from a reference, over real threads and sockets: they come with a later
// round, in the pause too; a destination that never has enough, or speaks nonsense, ends the attempt with a name.

import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { GuestMemory } from '../../src/guest/memory.ts'
import type * as pageSet from '../../src/guest/page-set.ts'
import type { RoundPlaced } from '../../src/migration/ports.ts'
import { type DialOptions, ThreadedPageDestination } from '../../src/migration/transfer/destination-transfer.ts'
import { Journey } from '../support/journey.ts'

const wrong = vi.hoisted(() => ({ bytes: 0 }))
vi.mock('../../src/guest/page-set.ts', async (original) => {
  const real = await original<typeof pageSet>()
  const bitmapOf = (pages: readonly number[], pageCount: number): Uint8Array =>
    Buffer.concat([real.bitmapOf(pages, pageCount), new Uint8Array(wrong.bytes)])
  return { ...real, bitmapOf }
})

/** Pages that the destination says it misses of a round; it has damaged them before. */
let misses: (round: number) => readonly number[]
let claims: [round: number, pages: number][]
let destinationMemory: GuestMemory | null
let journey: Journey

beforeEach(() => {
  misses = () => []
  claims = []
  destinationMemory = null
  wrong.bytes = 0
  const { dial } = ThreadedPageDestination
  vi.spyOn(ThreadedPageDestination, 'dial').mockImplementation((options: DialOptions) => {
    destinationMemory = options.memory
    return dial.call(ThreadedPageDestination, options)
  })
  const { placed } = ThreadedPageDestination.prototype
  vi.spyOn(ThreadedPageDestination.prototype, 'placed').mockImplementation(async function (
    this: ThreadedPageDestination,
    round: number,
  ): Promise<RoundPlaced> {
    const { bytes, missing: truly } = await placed.call(this, round)
    const missing = [...truly, ...misses(round)]
    claims.push([round, missing.length])
    const memory = destinationMemory as GuestMemory
    // What is not sent again shows at the latest when the guest is replayed.
    for (const page of missing) memory.bytes.fill(0xee, page * 4096, (page + 1) * 4096)
    return { bytes, missing }
  })
})
afterEach(async () => {
  await journey.close()
  vi.restoreAllMocks()
})

test.each([1, 3])('the last round is repeated for what it missed, %i channels', async (channels) => {
  journey = await Journey.begin()
  // Stop-and-copy: the first round is the last.
  misses = (round) => (round === 0 ? [3, 700, 701, 4095] : [])
  const report = await journey.move({ movement: 'stop-and-copy', channels, encode: 'adaptive' })
  expect(claims).toEqual([
    [0, 4],
    [1, 0],
  ])
  expect(report.rounds.map(({ sent, decision }) => [sent, decision])).toEqual([
    [4096, 'final'],
    [4, 'final'],
  ])
  await journey.expectArrived(report)
})

test('pre-copy brings what a round missed with a later one', async () => {
  journey = await Journey.begin({ options: { workload: 'idle', content: 'dup' } })
  misses = (round) => (round < 2 ? [round, 9, 4000] : [])
  const report = await journey.move({ encode: 'dedup', channels: 2 })
  expect(report.rounds.length).toBeGreaterThan(2)
  await journey.expectArrived(report)
})

test('hybrid names what was missing absent, and it is pulled', async () => {
  journey = await Journey.begin()
  misses = () => [5, 1234]
  const report = await journey.move({ movement: 'hybrid', maxRounds: 2 })
  expect(report.pull?.pages).toBeGreaterThanOrEqual(2)
  await journey.expectArrived(report)
})

test('a destination that misses pages for ever is told so, and the guest stays', async () => {
  journey = await Journey.begin()
  misses = () => [5]
  const report = await journey.move({ encode: 'dedup', maxRounds: 3 })
  expect(report).toMatchObject({ outcome: 'failed', error: { code: 'bad-message', side: 'destination' } })
  // Rounds while it ran, the last one, and the one without references.
  expect(report.rounds.length).toBeLessThanOrEqual(5)
  await journey.expectStayed(report)
  // All of the attempt is forgotten: the next one, with the same cache and index, arrives.
  misses = () => []
  await journey.expectArrived(await journey.move({ encode: 'adaptive', bandwidth: 40_000_000 }))
})

test.each(['pre-copy', 'stop-and-copy'] as const)('a bitmap of another length ends %s', async (movement) => {
  journey = await Journey.begin()
  misses = () => [5]
  wrong.bytes = 1
  const report = await journey.move({ movement })
  expect(report).toMatchObject({ outcome: 'failed', error: { code: 'bad-message', side: 'destination' } })
  await journey.expectStayed(report)
})
