// A guest in doubt: the source has released it, the word to commit was lost, and neither host reaches the other. Both
// hold it paused; `resolve --take` decides, and refuses while the other host may run the guest (R21).

import { setTimeout as wait } from 'node:timers/promises'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { onMigrationEvent } from '../../src/events.ts'
import type { GuestHost } from '../../src/guest-process/host.ts'
import { REDIAL_MAX_MS } from '../../src/limits.ts'
import { Journey } from '../support/journey.ts'
import type { Relay } from '../support/relay.ts'

const take = { what: 'take' as const, peerIsDead: false }
const takeFromTheDead = { what: 'take' as const, peerIsDead: true }

let journey: Journey
let relay: Relay
let unwatch: () => void
let arrival: GuestHost

/** Brings the guest into doubt: released here, incoming there, every connection between them lost. */
beforeEach(async () => {
  journey = await Journey.begin()
  journey.agent.relayed = (opened) => {
    relay = opened
  }
  unwatch = onMigrationEvent(Journey.nextId, (event) => {
    if (event.type === 'stage' && event.stage === 'commit') relay.loseSmall(512)
  })
  const moving = journey.move()
  await expect.poll(() => journey.source.verdict(Journey.lastId, 2), { timeout: 10_000 }).toBe('released')
  relay.cut()
  journey.agent.mute = true
  const report = await moving
  expect(report).toMatchObject({ outcome: 'unreconciled', owner: 'nobody', error: { code: 'unreconciled' } })
  arrival = journey.agent.arrivals[0] as GuestHost
  expect(journey.source.status()).toMatchObject({ state: 'unreconciled', owner: 'undecided' })
  expect(arrival.status().state).toBe('incoming')
}, 30_000)

afterEach(async () => {
  unwatch()
  await journey.close()
})

const stepsOf = (host: GuestHost): number => host.vcpus.steps()

async function expectRuns(host: GuestHost): Promise<void> {
  const before = stepsOf(host)
  await expect.poll(() => stepsOf(host)).toBeGreaterThan(before)
  expect(await host.oracle()).toEqual({ equal: true, differing: [] })
}

test('the source takes it only from a peer that is dead for good', { timeout: 60_000 }, async () => {
  const { source, agent } = journey
  await expect(source.resolve(take)).rejects.toMatchObject({ code: 'unreachable', hint: expect.stringMatching(/dead/) })
  // A peer that answers, undecided, may yet decide for itself: it is no use to call it dead.
  agent.mute = false
  await expect(source.resolve(takeFromTheDead)).rejects.toMatchObject({ code: 'owner-elsewhere' })
  agent.mute = true
  expect(stepsOf(source)).toBe(stepsOf(arrival))
  expect(await source.resolve(takeFromTheDead)).toMatchObject({ state: 'running', owner: 'here', epoch: 3 })
  await expectRuns(source)
  // A destination that was not dead after all hears that it never had the guest.
  expect(source.verdict(Journey.lastId, 2)).toBe('not-released')
  await expect(source.resolve(takeFromTheDead)).rejects.toMatchObject({ code: 'guest-not-running' })
  // Also when the guest has gone on elsewhere since.
  const first = Journey.lastId
  agent.mute = false
  agent.relayed = null
  const report = await journey.move()
  expect(report).toMatchObject({ outcome: 'completed', owner: 'destination' })
  expect(source.verdict(first, 2)).toBe('not-released')
  expect(source.verdict(Journey.lastId, 4)).toBe('released')
})

test('the destination takes it when the source is dead for good', { timeout: 60_000 }, async () => {
  await expect(arrival.resolve(take)).rejects.toMatchObject({ code: 'unreachable' })
  expect(await arrival.resolve(takeFromTheDead)).toMatchObject({ state: 'running', owner: 'here', epoch: 3 })
  // The session that was asking the source has ended by then, and takes nothing back.
  await wait(REDIAL_MAX_MS + 500)
  await expectRuns(arrival)
  expect(arrival.verdict(Journey.lastId, 2)).toBe('owner')
})

test('when the line comes back, both settle it without anybody', { timeout: 60_000 }, async () => {
  journey.agent.mute = false
  relay.loseSmall(0)
  relay.heal()
  await expect.poll(() => arrival.status().state, { timeout: 20_000 }).toBe('running')
  await expect.poll(() => journey.source.status().state, { timeout: 20_000 }).toBe('handed-over')
  await expectRuns(arrival)
})
