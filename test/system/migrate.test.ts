// Whole migrations between two hosts over real sockets and threads: every workload arrives byte for byte, proven by
// digest, audit and replay.

import { setTimeout as wait } from 'node:timers/promises'
import { afterEach, describe, expect, test } from 'vitest'
import { onMigrationEvent } from '../../src/events.ts'
import type { GuestConfig } from '../../src/guest/config.ts'
import { MIB } from '../support/config.ts'
import { Journey } from '../support/journey.ts'

let journey: Journey | undefined

afterEach(async () => {
  await journey?.close()
  journey = undefined
})

async function begin(over: Partial<GuestConfig> = {}): Promise<Journey> {
  await journey?.close()
  journey = await Journey.begin(over)
  return journey
}

describe.each(['idle', 'web', 'hot', 'diab', 'sparse', 'phased', 'local', 'free'])('workload %s', (workload) => {
  test.each([
    { movement: 'stop-and-copy' as const, channels: 1 },
    { movement: 'pre-copy' as const, channels: 2 },
  ])('$movement over $channels channels arrives byte for byte', async ({ movement, channels }) => {
    const { move, expectArrived } = bound(await begin({ options: { workload, content: 'mix' } }))
    const report = await move({ movement, channels })
    expect(report.checks).toEqual({ digest: true, audit: true })
    await expectArrived(report)
  })
})

const bound = (from: Journey) => ({
  move: from.move.bind(from),
  expectArrived: from.expectArrived.bind(from),
  expectStayed: from.expectStayed.bind(from),
})

// Its replay takes as long as all its vCPUs ran, one after the other: on a busy machine half a minute.
test('a flat-out guest with four vCPUs arrives byte for byte', { timeout: 90_000 }, async () => {
  const going = await begin({
    vcpus: 4,
    pace: { kind: 'free', perSecond: null },
    options: { workload: 'hot', content: 'random' },
  })
  await going.expectArrived(await going.move({ channels: 4 }))
})

test('stages add up to the total and parts to the downtime', async () => {
  const { timeMs } = await (await begin()).move()
  const sum = (parts: Record<string, number | undefined>): number =>
    Object.values(parts).reduce<number>((total, each) => total + (each ?? 0), 0)
  expect(Math.abs(sum(timeMs.stages) - timeMs.total)).toBeLessThan(0.01 * timeMs.total)
  expect(Math.abs(sum(timeMs.downtimeParts) - timeMs.downtime)).toBeLessThan(0.01 * timeMs.downtime)
  expect(Object.keys(timeMs.stages)).toEqual(['prepare', 'reserve', 'iterate', 'stop', 'commit', 'activate'])
})

// Not with adaptive encoding: what it chooses depends on how long codecs take.
test('a locked guest sends the same bytes over one and three channels', async () => {
  const totals: number[][] = []
  for (const channels of [1, 3]) {
    const going = await begin({
      pace: { kind: 'locked', lambda: null },
      options: { workload: 'hot', content: 'mix' },
    })
    const report = await going.move({ channels, selection: 'linear', downtimeTarget: 5, encode: 'zero' })
    expect(report).toMatchObject({ outcome: 'completed', consistent: true })
    totals.push([report.bytes.sent - report.bytes.control, report.pages.sent, report.rounds.length])
  }
  expect(totals[0]).toEqual(totals[1])
  expect(totals[0]?.[2]).toBeGreaterThan(2)
})

test('cancel returns the guest to the source, and it can be moved again', async () => {
  const going = await begin({ memoryBytes: 32 * MIB })
  const moving = going.move({ bandwidth: 5_000_000 })
  await wait(400)
  await going.source.cancel()
  const report = await moving
  expect(report).toMatchObject({ outcome: 'cancelled', error: { code: 'cancelled' } })
  await going.expectStayed(report)
  await expect(going.source.cancel()).rejects.toMatchObject({ code: 'no-such-migration' })
  await going.expectArrived(await going.move())
  await expect(going.source.cancel()).rejects.toMatchObject({ code: 'too-late' })
})

test.each(['pre-copy', 'soft'] as const)('to cancel once more while it ends is not too late: %s', async (movement) => {
  const going = await begin({ memoryBytes: 32 * MIB })
  const moving = going.move({ movement, bandwidth: 5_000_000 })
  await expect.poll(() => going.source.status().migration?.progress?.stage, { timeout: 10_000 }).toBe('iterate')
  await going.source.cancel()
  const answers: Promise<void>[] = []
  const asking = setInterval(() => {
    if (going.source.status().state === 'migrating') answers.push(going.source.cancel())
  })
  expect(await moving).toMatchObject({ outcome: 'cancelled', owner: 'source' })
  clearInterval(asking)
  expect(answers.length).toBeGreaterThan(0)
  await Promise.all(answers)
})

test('--verify full and --no-verify', async () => {
  const full = await (await begin()).move({ verify: 'full' })
  expect(full).toMatchObject({ outcome: 'completed', consistent: true, checks: { digest: true } })
  const none = await (await begin()).move({ verify: 'none' })
  expect(none).toMatchObject({ outcome: 'completed', consistent: null, checks: {} })
})

test('a second migration of a guest under way is refused', async () => {
  const going = await begin()
  const first = going.move({ bandwidth: 20_000_000 })
  await expect(going.move()).rejects.toMatchObject({ code: 'guest-busy' })
  await going.expectArrived(await first)
})

test("a guest that is being paused is not migrated, and its state is nobody else's", async () => {
  const going = await begin()
  const pausing = going.source.pause()
  await expect(going.move()).rejects.toMatchObject({ code: 'guest-busy' })
  await pausing
  expect(going.source.status().state).toBe('paused')
  const checking = going.source.oracle()
  await expect(going.source.resume()).rejects.toMatchObject({ code: 'guest-busy' })
  expect(await checking).toMatchObject({ equal: true })
  await going.source.resume()
  await going.expectArrived(await going.move())
})

test('a paused guest moves and stays paused, there and back at its source', async () => {
  const going = await begin()
  await going.source.pause()
  const moving = going.move({ bandwidth: 5_000_000 })
  await expect.poll(() => going.source.status().migration?.progress?.stage, { timeout: 10_000 }).toBe('iterate')
  await going.source.cancel()
  expect(await moving).toMatchObject({ outcome: 'cancelled', owner: 'source' })
  expect(going.source.status().state).toBe('paused')
  const steps = going.source.vcpus.steps()

  const report = await going.move()
  expect(report).toMatchObject({ outcome: 'completed', consistent: true, timeMs: { downtime: 0 } })
  const parts = Object.values(report.timeMs.downtimeParts).reduce((sum, ms) => sum + ms, 0)
  expect(parts).toBeLessThan(0.001)
  const arrival = going.agent.arrivals.at(-1)
  expect(arrival?.status().state).toBe('paused')
  expect(arrival?.vcpus.steps()).toBe(steps)
  expect(await arrival?.oracle()).toMatchObject({ equal: true })
  await arrival?.resume()
  await expect.poll(() => arrival?.vcpus.steps()).toBeGreaterThan(steps)
})

test('a migration cancelled while its ports are opened leaves none open', async () => {
  const going = await begin()
  const openPorts = (): number => process.getActiveResourcesInfo().filter((name) => name === 'TCPServerWrap').length
  // That of the small agent; those of the test before may still be closing.
  await expect.poll(openPorts).toBe(1)
  const moving = going.move({ channels: 4 })
  await going.source.cancel()
  const report = await moving
  expect(report).toMatchObject({ outcome: 'cancelled', owner: 'source' })
  await expect.poll(openPorts).toBe(1)
  await going.expectStayed(report)
})

test('a cancel is carried out though the record of it cannot be written', async () => {
  const going = await begin({ memoryBytes: 32 * MIB })
  const moving = going.move({ bandwidth: 5_000_000 })
  await expect.poll(() => going.source.status().migration?.progress?.stage, { timeout: 10_000 }).toBe('iterate')
  going.loseDirectory()
  await going.source.cancel()
  const report = await moving
  expect(report).toMatchObject({ outcome: 'cancelled', owner: 'source' })
  await going.expectStayed(report)
})

test('a release that cannot be recorded does not happen', async () => {
  const going = await begin()
  const unwatch = onMigrationEvent(Journey.nextId, (event) => {
    if (event.type === 'stage' && event.stage === 'stop') going.loseDirectory()
  })
  const report = await going.move()
  unwatch()
  expect(report).toMatchObject({ outcome: 'failed', owner: 'source', error: { code: 'data-dir-bad' } })
  await going.expectStayed(report)
})
