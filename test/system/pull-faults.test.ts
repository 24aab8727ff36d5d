// The pull phase under fire: cuts, stalls, corruption at chosen and at random points. The guest runs at the destination
// already, so nothing may be lost: every run ends with the whole guest there, byte for byte what the oracle computes.

import { mkdirSync, rmSync } from 'node:fs'
import { setTimeout as wait } from 'node:timers/promises'
import { afterEach, describe, expect, test } from 'vitest'
import { onMigrationEvent } from '../../src/events.ts'
import { PEER_SILENT_MS, relinkMs } from '../../src/limits.ts'
import type { MigrationReport } from '../../src/migration/report.ts'
import type { MigrationOptions } from '../../src/migration/settings.ts'
import { Journey } from '../support/journey.ts'
import { carryOut, drawRun } from '../support/pull-run.ts'
import type { Lines, Relay } from '../support/relay.ts'

const MIB = 1024 ** 2
let journey: Journey | undefined
let unwatch: () => void = () => {}

afterEach(async () => {
  unwatch()
  await journey?.close()
  journey = undefined
})

/** A guest on its way through a relay; `strike` is called when the pull begins. */
async function pulled(settings: MigrationOptions, strike: (relay: Relay, going: Journey) => Promise<void>) {
  const going = await Journey.begin({ memoryBytes: 16 * MIB, options: { workload: 'hot', content: 'random' } })
  journey = going
  let relay: Relay | undefined
  going.agent.relayed = (opened) => {
    relay = opened
  }
  let struck: Promise<void> = Promise.resolve()
  unwatch = onMigrationEvent(Journey.nextId, (event) => {
    if (event.type === 'stage' && event.stage === 'pull') struck = strike(relay as Relay, going)
  })
  const report = await going.move({ movement: 'post-copy', bandwidth: 30_000_000, ...settings })
  await struck
  return report
}

/** Why the pull at the destination is paused; null while its link is up. */
const pausedFor = (going: Journey): string | null => going.agent.arrivals.at(-1)?.status().migration?.paused ?? null

/** Two attempts to bring a link up: a machine with much other work takes seconds to start lanes, and may spoil the first. */
const RELINKED_MS = relinkMs(0) + relinkMs(1)

/** The link is up again, as the destination sees it. The pause itself may be over before anybody looks. */
async function redialled(relay: Relay, controls: number, going: Journey): Promise<void> {
  await expect.poll(() => relay.controls, { timeout: RELINKED_MS }).toBeGreaterThan(controls)
  await expect.poll(() => pausedFor(going), { timeout: RELINKED_MS }).toBeNull()
}

async function cutAndRecover(relay: Relay, going: Journey, refuseMs = 0): Promise<void> {
  const { controls } = relay
  relay.cut(refuseMs > 0)
  if (refuseMs > 0) {
    await expect.poll(() => pausedFor(going)).not.toBeNull()
    await wait(refuseMs)
    relay.heal()
  }
  await redialled(relay, controls, going)
}

test.each([1, 3])('three cuts, %i channels: the pull recovers each time', { timeout: 120_000 }, async (channels) => {
  const report = await pulled({ channels, bandwidth: 15_000_000 }, async (relay, going) => {
    for (let cut = 0; cut < 3; cut++) {
      // Pages come, so the source is up as well: a cut before it is would be one more of the same recovery.
      await relay.passed(500_000)
      await cutAndRecover(relay, going, cut * 100)
    }
  })
  await (journey as Journey).expectArrived(report)
  expect(report.pull?.recoveries).toBe(3)
})

test.each(['control', 'data'] as const)(
  'a cut of the %s connections alone',
  { timeout: 60_000 },
  async (lines: Lines) => {
    const report = await pulled({ channels: 2, bandwidth: 10_000_000 }, async (relay, going) => {
      await relay.passed(1_000_000)
      const { controls } = relay
      relay.cut(false, lines)
      await redialled(relay, controls, going)
    })
    await (journey as Journey).expectArrived(report)
    expect(report.pull?.recoveries).toBe(1)
  },
)

test('a stall of the link is noticed, and recovered from', { timeout: 60_000 }, async () => {
  const report = await pulled({ bandwidth: 10_000_000 }, async (relay, going) => {
    await relay.passed(500_000)
    relay.stall()
    await expect.poll(() => pausedFor(going), { timeout: 2 * PEER_SILENT_MS }).toMatch(/nothing for|lost/)
    relay.heal()
  })
  await (journey as Journey).expectArrived(report)
  expect(report.pull?.recoveries).toBeGreaterThanOrEqual(1)
})

test.each([10, 1_000_003])('a byte spoilt after %i is found and sent again', async (bytes) => {
  const report = await pulled({ channels: 2 }, async (relay) => relay.corruptAfter(bytes))
  await (journey as Journey).expectArrived(report)
})

// Bytes of both directions behind the cut: the greeting, the word that the guest runs, lanes, the missing pages.
test.each([1, 300, 700, 3000])('cut again %i bytes into the recovery', { timeout: 60_000 }, async (bytes) => {
  let cuts = 0
  const report = await pulled({ bandwidth: 10_000_000 }, async (relay, going) => {
    await relay.passed(500_000)
    relay.cut(false)
    let left = bytes
    relay.onForwarded = (_, __, passed) => {
      left -= passed
      if (left > 0 || cuts > 0) return
      cuts++
      relay.cut(false)
    }
    await expect.poll(() => cuts, { timeout: 20_000 }).toBe(1)
    await expect.poll(() => pausedFor(going), { timeout: 20_000 }).toBeNull()
  })
  await (journey as Journey).expectArrived(report)
  expect(report.pull?.recoveries).toBeGreaterThanOrEqual(1)
})

/** Lets the word to commit be lost, so that the guest comes to run on a later link. */
async function commitLost(then: (relay: Relay, going: Journey) => Promise<void>): Promise<MigrationReport> {
  const going = await Journey.begin({ memoryBytes: 16 * MIB, options: { workload: 'hot', content: 'random' } })
  journey = going
  let relay: Relay | undefined
  going.agent.relayed = (opened) => {
    relay = opened
  }
  unwatch = onMigrationEvent(Journey.nextId, (event) => {
    if (event.type === 'stage' && event.stage === 'commit') relay?.loseSmall(512)
  })
  const moving = going.move({ movement: 'post-copy', bandwidth: 15_000_000 })
  await expect.poll(() => going.source.verdict(Journey.lastId, 2), { timeout: 10_000 }).toBe('released')
  await then(relay as Relay, going)
  return await moving
}

test('a commit that comes with a later link brings lanes with it, at once', { timeout: 60_000 }, async () => {
  let through: Relay | undefined
  const report = await commitLost(async (relay) => {
    through = relay
    relay.loseSmall(0)
    relay.cut(false)
  })
  await (journey as Journey).expectArrived(report)
  expect(report.pull?.recoveries).toBe(1)
  expect(through?.controls).toBe(2)
})

test('a guest does not run before it is on record that it pulls', { timeout: 60_000 }, async () => {
  const report = await commitLost(async (relay, going) => {
    const [directory = ''] = going.agent.directories
    const arrival = going.agent.arrivals[0]
    rmSync(directory, { recursive: true })
    relay.loseSmall(0)
    relay.cut(false)
    const steps = arrival?.vcpus.steps()
    await wait(1500)
    expect(arrival?.status().state).toBe('incoming')
    expect(arrival?.vcpus.steps()).toBe(steps)
    mkdirSync(directory)
    await expect.poll(() => arrival?.status().state, { timeout: 10_000 }).not.toBe('incoming')
  })
  await (journey as Journey).expectArrived(report)
})

test.each(['commit', 'activate', 'pull'] as const)('a cut right at %s', { timeout: 60_000 }, async (stage) => {
  const going = await Journey.begin({ options: { workload: 'hot', content: 'random' } })
  journey = going
  let relay: Relay | undefined
  going.agent.relayed = (opened) => {
    relay = opened
  }
  unwatch = onMigrationEvent(Journey.nextId, (event) => {
    if (event.type === 'stage' && event.stage === stage) relay?.cut(false)
  })
  const report = await going.move({ movement: 'post-copy', bandwidth: 30_000_000, switchoverTimeout: 20_000 })
  if (report.owner === 'source' && stage === 'commit') await going.expectStayed(report)
  else await going.expectArrived(report)
})

describe('the last word', () => {
  /** Strikes when every page is at the destination; what it says of that goes to the source by the control connection. */
  async function atTheEnd(strike: (relay: Relay) => void): Promise<MigrationReport> {
    let struck = false
    const report = await pulled({}, async (relay, going) => {
      const arrival = going.agent.arrivals.at(-1)
      relay.onForwarded = (towardsDestination, control) => {
        if (towardsDestination || !control || arrival?.status().state !== 'running') return
        relay.onForwarded = () => {}
        struck = true
        strike(relay)
      }
    })
    expect(struck).toBe(true)
    return report
  }

  test('is heard, and its answer lost', { timeout: 60_000 }, async () => {
    const report = await atTheEnd((relay) => relay.cut(false))
    await (journey as Journey).expectArrived(report)
  })

  test('and every connection with it is lost for a while', { timeout: 60_000 }, async () => {
    let through: Relay | undefined
    const report = await pulled({ bandwidth: 15_000_000 }, async (relay, going) => {
      through = relay
      const arrival = going.agent.arrivals.at(-1)
      // From here on the destination is heard no more, while pages still come to it.
      relay.deaf = true
      await expect.poll(() => arrival?.status().state, { interval: 1, timeout: 20_000 }).toBe('running')
      relay.cut()
      relay.deaf = false
      await wait(300)
      relay.heal()
    })
    await (journey as Journey).expectArrived(report)
    expect(through?.controls).toBe(2)
    expect(report.pull?.recoveries).toBe(0)
  })
})

test('an operator redials at once, by another address', { timeout: 60_000 }, async () => {
  const report = await pulled({ bandwidth: 10_000_000 }, async (relay, going) => {
    await relay.passed(500_000)
    const arrival = going.agent.arrivals.at(-1)
    relay.cut()
    await expect.poll(() => pausedFor(going)).not.toBeNull()
    await wait(3000)
    relay.heal()
    expect(await arrival?.recover(Journey.lastId, 'localhost')).toMatchObject({ migration: { paused: null } })
    await expect(going.source.recover(Journey.lastId, null)).rejects.toMatchObject({ code: 'guest-not-running' })
  })
  await (journey as Journey).expectArrived(report)
  expect(report.pull?.recoveries).toBe(1)
})

test('a wrong address of the operator is no dead end', { timeout: 60_000 }, async () => {
  const report = await pulled({ bandwidth: 10_000_000 }, async (relay, going) => {
    await relay.passed(500_000)
    const arrival = going.agent.arrivals.at(-1)
    relay.cut()
    await expect.poll(() => pausedFor(going)).not.toBeNull()
    // It answers when it knows what came of the dial.
    expect(await arrival?.recover(Journey.lastId, '127.0.0.77')).toMatchObject({
      migration: { paused: expect.stringContaining('127.0.0.77') },
    })
    relay.heal()
    await expect.poll(() => pausedFor(going), { timeout: 20_000 }).toBeNull()
  })
  await (journey as Journey).expectArrived(report)
  expect(report.pull?.recoveries).toBe(1)
})

test.each(Array.from({ length: 6 }, (_, index) => 5001 + index))(
  'random faults of seed %i',
  { timeout: 120_000 },
  async (seed) => {
    await carryOut(drawRun(seed))
  },
)
