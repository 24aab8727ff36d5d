// A guest that pulls its memory and whose hosts lost each other: the operator gives it up, or takes it back as it was at
// the switch, and neither while the other host answers; whoever comes back late is told to stop (R21, R22).

import { setTimeout as wait } from 'node:timers/promises'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { onMigrationEvent } from '../../src/events.ts'
import type { GuestHost } from '../../src/guest-process/host.ts'
import type { MigrationReport } from '../../src/migration/report.ts'
import { MIB } from '../support/config.ts'
import { Journey } from '../support/journey.ts'
import type { Relay } from '../support/relay.ts'
import { SmallAgent } from '../support/small-agent.ts'

const takeStale = { what: 'take-stale' as const, peerIsDead: false }
const takeStaleFromTheDead = { what: 'take-stale' as const, peerIsDead: true }
const abandon = { what: 'abandon' as const, peerIsDead: false }
const abandonTheDead = { what: 'abandon' as const, peerIsDead: true }

let journey: Journey
let sourceAgent: SmallAgent
let relay: Relay
let unwatch: () => void
let arrival: GuestHost
let moving: Promise<MigrationReport>

/** Lets the guest begin to pull, and then the hosts lose each other. */
beforeEach(async () => {
  journey = await Journey.begin({ memoryBytes: 8 * MIB, options: { workload: 'hot', content: 'random' } })
  sourceAgent = await SmallAgent.listen()
  sourceAgent.arrivals.push(journey.source)
  journey.sourceAgentPort = sourceAgent.port
  journey.agent.relayed = (opened) => {
    relay = opened
  }
  const pulling = Promise.withResolvers<void>()
  unwatch = onMigrationEvent(Journey.nextId, (event) => {
    if (event.type === 'stage' && event.stage === 'pull') pulling.resolve()
  })
  moving = journey.move({ movement: 'post-copy', bandwidth: 4_000_000 })
  await pulling.promise
  await relay.passed(400_000)
  sourceAgent.mute = true
  journey.agent.mute = true
  relay.cut()
  arrival = journey.agent.arrivals[0] as GuestHost
  await expect.poll(() => arrival.status().migration?.paused, { timeout: 10_000 }).not.toBeNull()
  await expect.poll(() => journey.source.status().migration?.paused, { timeout: 10_000 }).not.toBeNull()
}, 30_000)

afterEach(async () => {
  unwatch()
  await journey.close()
  await sourceAgent.close()
})

async function expectRuns(host: GuestHost): Promise<void> {
  const before = host.vcpus.steps()
  await expect.poll(() => host.vcpus.steps(), { timeout: 5000 }).toBeGreaterThan(before)
  expect(await host.oracle()).toEqual({ equal: true, differing: [] })
}

async function expectStands(host: GuestHost): Promise<void> {
  const steps = host.vcpus.steps()
  await wait(300)
  expect(host.vcpus.steps()).toBe(steps)
}

/** The hosts reach each other again. */
function meet(): void {
  sourceAgent.mute = false
  journey.agent.mute = false
  relay.heal()
}

test('taken stale it runs at the source as it was at the switch; the destination stops when it is back', {
  timeout: 60_000,
}, async () => {
  const { source } = journey
  const atSwitch = source.vcpus.steps()
  await expect(source.resolve(takeStale)).rejects.toMatchObject({ code: 'unreachable' })
  journey.agent.mute = false
  for (const what of [takeStaleFromTheDead, abandonTheDead]) {
    await expect(source.resolve(what)).rejects.toMatchObject({ code: 'owner-elsewhere' })
  }
  journey.agent.mute = true
  expect(source.vcpus.steps()).toBe(atSwitch)
  await source.resolve(takeStaleFromTheDead)
  const report = await moving
  expect(report).toMatchObject({
    outcome: 'lost',
    owner: 'source',
    error: { code: 'lost', message: expect.stringMatching(/as it was/) },
  })
  await expect.poll(() => source.status()).toMatchObject({ state: 'running', owner: 'here', epoch: 3, migration: null })
  await expectRuns(source)
  // The destination was not dead after all.
  meet()
  await expect.poll(() => arrival.status().state, { timeout: 20_000 }).toBe('lost')
  await expectStands(arrival)
  await expect(arrival.resume()).rejects.toMatchObject({ code: 'guest-not-running' })
  await expect(arrival.resolve(takeStale)).rejects.toMatchObject({ code: 'lost' })
  await expect(source.resolve(takeStale)).rejects.toMatchObject({ code: 'guest-not-running' })
  // It can be moved again, and the old destination stays where it is.
  journey.agent.relayed = null
  await journey.expectArrived(await journey.move({ movement: 'post-copy' }))
  await expectStands(arrival)
  await arrival.resolve(abandon)
  expect(await arrival.ended).toBe('dropped')
})

test('given up at the source it ends, and the destination hears of it', { timeout: 60_000 }, async () => {
  const { source } = journey
  await expect(source.resolve(abandon)).rejects.toMatchObject({ code: 'unreachable' })
  await source.resolve(abandonTheDead)
  // Nobody has compared all of its memory.
  expect(await moving).toMatchObject({ outcome: 'lost', owner: 'nobody', consistent: null, error: { code: 'lost' } })
  expect(await source.ended).toBe('dropped')
  await expectStands(source)
  meet()
  await expect.poll(() => arrival.status().state, { timeout: 20_000 }).toBe('lost')
  await expectStands(arrival)
})

test('given up at the destination it ends there, and may go back to the switch', { timeout: 60_000 }, async () => {
  const { source } = journey
  await expect(arrival.resolve(takeStaleFromTheDead)).rejects.toMatchObject({ code: 'lost' })
  await expect(arrival.resolve({ what: 'take', peerIsDead: true })).rejects.toMatchObject({ code: 'lost' })
  sourceAgent.mute = false
  await expect(arrival.resolve(abandonTheDead)).rejects.toMatchObject({ code: 'owner-elsewhere' })
  sourceAgent.mute = true
  await expect(arrival.resolve(abandon)).rejects.toMatchObject({ code: 'unreachable' })
  await arrival.resolve(abandonTheDead)
  expect(await arrival.ended).toBe('dropped')
  await expectStands(arrival)
  meet()
  expect(await moving).toMatchObject({
    outcome: 'lost',
    owner: 'nobody',
    error: { code: 'lost', hint: expect.stringMatching(/take-stale/) },
  })
  expect(source.status()).toMatchObject({ state: 'lost', owner: 'undecided' })
  await expectStands(source)
  expect(await source.resolve(takeStale)).toMatchObject({ state: 'running', owner: 'here', epoch: 3 })
  await expectRuns(source)
})

test('a destination that has every page stops, too, when its source was taken stale', { timeout: 60_000 }, async () => {
  const { source } = journey
  // All pages come, but not the word of it.
  relay.heal()
  // So much comes only when the source knows what is missing.
  await relay.passed(500_000)
  relay.deaf = true
  await expect.poll(() => arrival.status().state, { timeout: 20_000 }).toBe('running')
  relay.cut()
  await expect.poll(() => source.status().migration?.paused, { timeout: 10_000 }).not.toBeNull()
  await source.resolve(takeStaleFromTheDead)
  expect(await moving).toMatchObject({ outcome: 'lost', owner: 'source' })
  await expectRuns(source)
  meet()
  await expect.poll(() => arrival.status().state, { timeout: 20_000 }).toBe('lost')
  await expectStands(arrival)
})

test('a source that is ended takes the guest along, and its report says so', { timeout: 60_000 }, async () => {
  await journey.source.close()
  expect(await moving).toMatchObject({ outcome: 'lost', owner: 'nobody', error: { code: 'lost' } })
  expect(arrival.status()).toMatchObject({ state: 'pulling', migration: { paused: expect.any(String) } })
})

test('when the line comes back, the pull goes on without anybody', { timeout: 60_000 }, async () => {
  meet()
  await journey.expectArrived(await moving)
})
