// The pull phase under fire: cuts, stalls, corruption at random points. The guest runs at the destination already, so
// nothing may be lost: every run ends with the whole guest there, byte for byte what the oracle computes.

import { setTimeout as wait } from 'node:timers/promises'
import { afterEach, expect, test } from 'vitest'
import { onMigrationEvent } from '../../src/events.ts'
import type { MigrationOptions } from '../../src/migration/settings.ts'
import { Journey } from '../support/journey.ts'
import type { Relay } from '../support/relay.ts'

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

async function cutAndRecover(relay: Relay, going: Journey, refuseMs = 0): Promise<void> {
  relay.cut(refuseMs > 0)
  await expect.poll(() => pausedFor(going), { interval: 1 }).not.toBeNull()
  if (refuseMs > 0) await wait(refuseMs)
  relay.heal()
  await expect.poll(() => pausedFor(going), { timeout: 20_000 }).toBeNull()
}

test.each([1, 3])('three cuts, %i channels: the pull recovers each time', { timeout: 60_000 }, async (channels) => {
  const report = await pulled({ channels, bandwidth: 15_000_000 }, async (relay, going) => {
    for (let cut = 0; cut < 3; cut++) {
      await wait(50)
      await cutAndRecover(relay, going, cut * 100)
    }
  })
  await (journey as Journey).expectArrived(report)
  expect(report.pull?.recoveries).toBe(3)
})
