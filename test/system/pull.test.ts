// Whole post-copy and hybrid migrations between two hosts over real sockets and threads, without faults: every guest
// arrives byte for byte, each page comes once, and what operators may ask meanwhile is answered or refused with a code.

import { afterEach, describe, expect, test } from 'vitest'
import { onMigrationEvent } from '../../src/events.ts'
import type { GuestConfig } from '../../src/guest/config.ts'
import type { GuestHost } from '../../src/guest-process/host.ts'
import type { MigrationReport } from '../../src/migration/report.ts'
import { type MigrationOptions, settingsSchema } from '../../src/migration/settings.ts'
import { Journey } from '../support/journey.ts'
import { SmallAgent } from '../support/small-agent.ts'

const MOVEMENTS = ['post-copy', 'hybrid'] as const

let journey: Journey | undefined
let unwatch: () => void = () => {}
let agents: SmallAgent[] = []

afterEach(async () => {
  unwatch()
  await journey?.close()
  for (const agent of agents) await agent.close()
  agents = []
  journey = undefined
})

async function begin(over: Partial<GuestConfig> = {}): Promise<Journey> {
  await journey?.close()
  journey = await Journey.begin(over)
  return journey
}

/** Migrates; `during` is called when the pull begins. */
async function moveAnd(
  going: Journey,
  settings: MigrationOptions,
  during: () => Promise<void>,
): Promise<MigrationReport> {
  let doing: Promise<void> = Promise.resolve()
  unwatch = onMigrationEvent(Journey.nextId, (event) => {
    if (event.type === 'stage' && event.stage === 'pull') doing = during()
  })
  const report = await going.move(settings)
  await doing
  unwatch()
  return report
}

describe.each(MOVEMENTS)('%s', (movement) => {
  test.each([
    ['web', 'dup', 4, 1],
    ['hot', 'random', 4, 3],
    ['diab', 'text', 1, 3],
    ['local', 'random', 1, 1],
    ['phased', 'zero', 4, 3],
    ['free', 'mix', 2, 3],
  ] as const)(
    '%s, %s, %i vCPUs, %i channels: byte for byte, each page once',
    async (workload, content, vcpus, channels) => {
      const going = await begin({ vcpus, options: { workload, content } })
      const report = await going.move({ movement, channels })
      await going.expectArrived(report)
      expect(report.checks).toEqual({ digest: true, audit: true })
      const { pushed = 0, asked = 0, skipped = 0, recoveries, pages } = report.pull ?? {}
      expect(recoveries).toBe(0)
      // A page that was written as a whole there may have been on its way.
      expect(pushed + asked + skipped).toBe(pages)
      if (movement === 'post-copy') {
        expect(report.pages.duplicateFactor).toBeLessThanOrEqual(1)
        expect(report.pages.sent + skipped + report.pages.free).toBe(report.pages.total)
      }
      expect(report.timeMs.stages.pull).toBeGreaterThan(0)
    },
  )

  test('a guest that outruns the link arrives, and its faults are told', async () => {
    const going = await begin({
      vcpus: 2,
      // More than the link carries; flat out, the oracle would replay for half a minute.
      pace: { kind: 'free', perSecond: 200_000 },
      options: { workload: 'hot', content: 'random' },
    })
    const report = await going.move({ movement, channels: 2, bandwidth: 40_000_000, maxRounds: 1 })
    await going.expectArrived(report)
    const { faults } = report
    expect(faults?.histogram.reduce((sum, count) => sum + count, 0)).toBe(faults?.network)
    expect(faults?.vcpuStallMs).toHaveLength(2)
    if (movement === 'post-copy') expect(faults?.network).toBeGreaterThan(0)
  })

  test('a paused guest moves and stays paused', async () => {
    const going = await begin()
    await going.source.pause()
    const steps = going.source.vcpus.steps()
    const report = await going.move({ movement })
    expect(report).toMatchObject({ outcome: 'completed', consistent: true, timeMs: { downtime: 0 } })
    const arrival = going.agent.arrivals.at(-1)
    expect(arrival?.status().state).toBe('paused')
    expect(arrival?.vcpus.steps()).toBe(steps)
    expect(await arrival?.oracle()).toMatchObject({ equal: true })
    await arrival?.resume()
    await expect.poll(() => arrival?.vcpus.steps()).toBeGreaterThan(steps)
  })

  test('verify none says nothing of consistency, and nothing is lost', async () => {
    const going = await begin()
    const report = await going.move({ movement, verify: 'none' })
    expect(report).toMatchObject({ outcome: 'completed', consistent: null, checks: {} })
    expect(await going.agent.arrivals.at(-1)?.oracle()).toMatchObject({ equal: true })
  })

  test('verify full cannot be asked for', () => {
    expect(settingsSchema.safeParse({ movement, verify: 'full' }).success).toBe(false)
  })

  test('a bandwidth at which it would never end cannot be asked for', () => {
    expect(settingsSchema.safeParse({ movement, bandwidth: 1 }).success).toBe(false)
    expect(settingsSchema.safeParse({ movement, bandwidth: 4096 }).success).toBe(true)
  })

  test('cancel before the switch leaves the guest here, and it can be moved again', async () => {
    const going = await begin()
    const moving = going.move({ movement, bandwidth: 2_000_000 })
    if (movement === 'hybrid')
      await expect.poll(() => going.source.status().migration?.progress?.stage, { timeout: 10_000 }).toBe('iterate')
    await going.source.cancel()
    const report = await moving
    expect(report).toMatchObject({ outcome: 'cancelled', owner: 'source', error: { code: 'cancelled' } })
    await going.expectStayed(report)
    await going.expectArrived(await going.move({ movement }))
  })

  test('while it pulls, what needs a whole guest is refused by its code', async () => {
    const going = await begin({ options: { workload: 'hot', content: 'random' } })
    const report = await moveAnd(going, { movement, bandwidth: 10_000_000, maxRounds: 0 }, async () => {
      const arrival = going.agent.arrivals.at(-1) as GuestHost
      const { source } = going
      await expect(source.cancel()).rejects.toMatchObject({ code: 'too-late' })
      expect(source.status()).toMatchObject({ state: 'migrating', owner: 'elsewhere' })
      expect(arrival.status()).toMatchObject({
        state: 'pulling',
        owner: 'here',
        migration: { role: 'destination', paused: null },
      })
      await expect(arrival.cancel()).rejects.toMatchObject({ code: 'no-such-migration' })
      const elsewhere = { id: 'e'.repeat(32), to: { host: '127.0.0.1', port: 1 }, settings: {} }
      const ports = {
        sourceAgent: { name: 'x', port: 1 },
        dataPortRange: [0, 0] as [number, number],
        listenHost: '127.0.0.1',
      }
      for (const host of [source, arrival]) {
        await expect(host.migrate({ ...elsewhere, ...ports })).rejects.toMatchObject({ code: 'guest-busy' })
        await expect(host.pause()).rejects.toMatchObject({ code: 'guest-not-running' })
        await expect(host.resume()).rejects.toMatchObject({ code: 'guest-not-running' })
        await expect(host.oracle()).rejects.toMatchObject({ code: 'guest-not-running' })
      }
      for (const what of ['take', 'take-stale', 'abandon'] as const) {
        await expect(source.resolve({ what, peerIsDead: true })).rejects.toMatchObject({
          code: what === 'take' ? 'lost' : 'owner-elsewhere',
        })
      }
      await expect(arrival.recover('0'.repeat(32), null)).rejects.toMatchObject({ code: 'guest-not-running' })
    })
    await going.expectArrived(report)
  })
})

test('a locked guest with one vCPU takes the same faults each time', async () => {
  const counts: (number | undefined)[][] = []
  for (let time = 0; time < 2; time++) {
    const going = await begin({
      vcpus: 1,
      pace: { kind: 'locked', lambda: null },
      options: { workload: 'local', content: 'random' },
    })
    const report = await going.move({ movement: 'post-copy' })
    await going.expectArrived(report)
    counts.push([
      report.faults?.network,
      report.faults?.localWait,
      report.pull?.pushed,
      report.pull?.asked,
      report.pages.sent,
    ])
  }
  expect(counts[0]).toEqual(counts[1])
  expect(counts[0]?.[0]).toBeGreaterThan(0)
})

test.each(MOVEMENTS)('%s leaves out free pages', async (movement) => {
  const bytes: number[] = []
  for (const declare of [true, false]) {
    const options = { workload: 'free', content: 'random', declare }
    const going = await begin({ pace: { kind: 'locked', lambda: null }, options })
    const report = await going.move({ movement, channels: 2, downtimeTarget: 5 })
    await going.expectArrived(report)
    if (declare) expect(report.pages.free).toBeGreaterThanOrEqual(report.pages.total / 2)
    else expect(report.pages.free).toBe(0)
    bytes.push(report.bytes.sent)
  }
  expect((bytes[0] as number) / (bytes[1] as number)).toBeLessThanOrEqual(0.55)
})

test('several hops, back at once when the last page is there, and on by another movement', {
  timeout: 60_000,
}, async () => {
  const going = await begin({ options: { workload: 'hot', content: 'mix' } })
  await going.expectArrived(await going.move({ movement: 'post-copy', channels: 2 }))
  let host = going.agent.arrivals.at(-1) as GuestHost
  for (const [hop, movement] of (['post-copy', 'hybrid', 'pre-copy', 'post-copy'] as const).entries()) {
    const agent = await SmallAgent.listen()
    agents.push(agent)
    const report = await host.migrate({
      id: `${hop}`.repeat(32),
      to: { host: '127.0.0.1', port: agent.port },
      settings: { movement, channels: 1 + hop },
      sourceAgent: { name: 'here', port: 1 },
      dataPortRange: [0, 0],
      listenHost: '127.0.0.1',
    })
    expect(report.error).toBeUndefined()
    expect(report).toMatchObject({ outcome: 'completed', owner: 'destination', consistent: true })
    host = agent.arrivals.at(-1) as GuestHost
    expect(host.status()).toMatchObject({ state: 'running', epoch: 3 + hop })
  }
  const steps = host.vcpus.steps()
  await expect.poll(() => host.vcpus.steps()).toBeGreaterThan(steps)
  expect(await host.oracle()).toEqual({ equal: true, differing: [] })
})
