// Every fault at every stage: cut, stall, cancel, corruption. Generated from the stage enumeration, so a new stage gets
// its cases by itself. Afterwards the guest runs on exactly one host and its memory passes the oracle there.

import type { Worker } from 'node:worker_threads'
import { afterEach, describe, expect, onTestFinished, test, vi } from 'vitest'
import { onMigrationEvent } from '../../src/events.ts'
import { GuestVcpus } from '../../src/guest/vcpus.ts'
import { PEER_SILENT_MS } from '../../src/limits.ts'
import type { MigrationReport, Stage } from '../../src/migration/report.ts'
import { STAGES } from '../../src/migration/report.ts'
import type { MigrationOptions } from '../../src/migration/settings.ts'
import { Journey } from '../support/journey.ts'
import type { Relay } from '../support/relay.ts'

const FAULTS = ['cut', 'stall', 'cancel'] as const
type Fault = (typeof FAULTS)[number]

/** Where the guest may be when a fault strikes at the beginning of a stage. */
const OUTCOMES: Record<Stage, readonly ('source' | 'destination')[]> = {
  prepare: ['source', 'destination'],
  reserve: ['source', 'destination'],
  iterate: ['source'],
  stop: ['source'],
  // The last round is placed or in flight: the cut may come before or behind the commit point.
  commit: ['source', 'destination'],
  activate: ['destination'],
  pull: ['destination'],
}

let journey: Journey | undefined
let unwatch: () => void = () => {}

afterEach(async () => {
  unwatch()
  await journey?.close()
  journey = undefined
})

test('every stage has its expectation', () => {
  expect(Object.keys(OUTCOMES)).toEqual([...STAGES])
})

describe.each(STAGES)('at stage %s', (stage) => {
  test.each(FAULTS)('%s: one owner, nothing lost', async (fault) => {
    const going = await Journey.begin()
    journey = going
    let relay: Relay | undefined
    going.agent.relayed = (opened) => {
      relay = opened
    }
    unwatch = onMigrationEvent(Journey.nextId, (event) => {
      if (event.type === 'stage' && event.stage === stage) strike(fault, relay, going)
    })
    const report = await going.move({ ...movementOf(stage), bandwidth: 60_000_000, switchoverTimeout: 2000 })
    relay?.heal()
    await expectOneOwner(going, report, OUTCOMES[stage])
  })
})

/** Only a movement that pulls has a pull. */
const movementOf = (stage: Stage): MigrationOptions => (stage === 'pull' ? { movement: 'post-copy' } : {})

function strike(fault: Fault, relay: Relay | undefined, going: Journey): void {
  // The line comes back after a while: behind the commit point both sides redial until they have spoken.
  if (fault === 'cut') {
    relay?.cut()
    setTimeout(() => relay?.heal(), 500)
  }
  // Long enough for both sides to take the peer for dead.
  if (fault === 'stall') {
    relay?.stall()
    setTimeout(() => relay?.heal(), PEER_SILENT_MS + 1000)
  }
  if (fault === 'cancel') going.source.cancel().catch(() => {})
}

async function expectOneOwner(
  going: Journey,
  report: MigrationReport,
  allowed: readonly ('source' | 'destination')[],
): Promise<void> {
  expect(['completed', 'failed', 'cancelled']).toContain(report.outcome)
  expect(allowed).toContain(report.owner)
  if (report.owner === 'source') {
    expect(report.error?.code).toMatch(/^(link-lost|peer-silent|cancelled|switchover-timeout|unreachable)$/)
    await going.expectStayed(report)
  } else await going.expectArrived(report)
}

test('a corrupted byte is found before the guest is given away', async () => {
  const going = await Journey.begin({ options: { workload: 'idle', content: 'random' } })
  journey = going
  going.agent.relayed = (relay) => relay.corruptAfter(5_000_000)
  const report = await going.move()
  expect(report).toMatchObject({ outcome: 'failed', owner: 'source', error: { code: 'digest-mismatch' } })
  expect(going.source.status()).toMatchObject({ state: 'running', owner: 'here' })
})

test('a refusal of the destination leaves the guest untouched', async () => {
  const going = await Journey.begin()
  journey = going
  const { GodwitError } = await import('../../src/errors.ts')
  going.agent.refusal = new GodwitError('memory-limit', 'no room', { hint: 'another host' })
  const report = await going.move()
  expect(report).toMatchObject({
    outcome: 'failed',
    error: { code: 'memory-limit', side: 'destination', hint: 'another host' },
  })
  await going.expectStayed(report)
})

/** Threads of vCPU 0 from here on: the source's, then the destination's. */
function noteThreads(): Worker[] {
  const threads: Worker[] = []
  const note = (worker: Worker): void => {
    if ((worker as Worker & { threadName: string }).threadName === 'vcpu-0') threads.push(worker)
  }
  process.on('worker', note)
  onTestFinished(() => void process.off('worker', note))
  return threads
}

test('a guest that crashes in its first step at the destination has crashed, and does not run', async () => {
  const going = await Journey.begin()
  journey = going
  const threads = noteThreads()
  const stateThere = (): string | undefined => going.agent.arrivals[0]?.status().state
  const { running } = GuestVcpus.prototype
  const spy = vi.spyOn(GuestVcpus.prototype, 'running').mockImplementation(async function (this: GuestVcpus) {
    await threads[0]?.terminate()
    await expect.poll(stateThere).toBe('crashed')
    await running.call(this)
  })
  expect(await going.move()).toMatchObject({ outcome: 'completed', owner: 'destination' })
  spy.mockRestore()
  expect(stateThere()).toBe('crashed')
})

test('a guest that crashes at its source while it is in doubt has crashed: there is nothing to take', async () => {
  const threads = noteThreads()
  const going = await Journey.begin()
  journey = going
  let relay: Relay | undefined
  going.agent.relayed = (opened) => {
    relay = opened
  }
  unwatch = onMigrationEvent(Journey.nextId, (event) => {
    if (event.type === 'stage' && event.stage === 'commit') relay?.loseSmall(512)
  })
  const moving = going.move()
  await expect.poll(() => going.source.verdict(Journey.lastId, 2), { timeout: 10_000 }).toBe('released')
  relay?.cut()
  going.agent.mute = true
  await threads[0]?.terminate()
  expect(await moving).toMatchObject({ outcome: 'unreconciled', owner: 'nobody' })
  expect(going.source.status()).toMatchObject({ state: 'crashed', crash: { code: 'guest-crashed' } })
  await expect(going.source.resolve({ what: 'take', peerIsDead: true })).rejects.toMatchObject({
    code: 'guest-not-running',
  })
})
