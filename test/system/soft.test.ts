// Soft migrations of whole guests: both hosts run vCPUs for a time (R25–R29), and nothing is lost, whichever way it ends.

import { setTimeout as wait } from 'node:timers/promises'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { GodwitError } from '../../src/errors.ts'
import { onMigrationEvent } from '../../src/events.ts'
import type { Accessors } from '../../src/guest/accessors.ts'
import type { GuestConfig } from '../../src/guest/config.ts'
import { loadWord, vcpuWords } from '../../src/guest/safepoint.ts'
import { isShared } from '../../src/guest/safepoint-machine.ts'
import type { GuestHost } from '../../src/guest-process/host.ts'
import type { MigrationReport } from '../../src/migration/report.ts'
import type { MigrationOptions } from '../../src/migration/settings.ts'
import { SharedLink } from '../../src/migration/soft/shared-link.ts'
import { Journal } from '../../src/programs/journal.ts'
import { MIB } from '../support/config.ts'
import { Journey } from '../support/journey.ts'
import { carryOut, drawSoftRun } from '../support/pull-run.ts'
import type { Relay } from '../support/relay.ts'

let journey: Journey
let relay: Relay
let unwatch: () => void = () => {}
afterEach(async () => {
  unwatch()
  vi.restoreAllMocks()
  await journey?.close()
})

/** Slow enough for both hosts to serve a second and more. */
const SLOW: MigrationOptions = { movement: 'soft', bandwidth: 3_000_000, maxRounds: 1 }
const BUSY: Partial<GuestConfig> = {
  vcpus: 4,
  memoryBytes: 4 * MIB,
  options: { workload: 'local', content: 'random' },
  pace: { kind: 'free', perSecond: 50_000 },
}

const arrivalOf = (): GuestHost => journey.agent.arrivals.at(-1) as GuestHost

/** Begins a move through a relay, and waits until the first vCPU runs at the destination while others are at the source. */
async function bothServe(over: Partial<GuestConfig> = {}, settings: MigrationOptions = {}) {
  journey = await Journey.begin({ ...BUSY, ...over })
  journey.agent.relayed = (opened) => {
    relay = opened
  }
  const moving = journey.move({ ...SLOW, ...settings })
  const crossed = (): boolean => journey.agent.arrivals.at(-1)?.vcpus.stepCounts().some(Boolean) === true
  await expect.poll(crossed, { interval: 1, timeout: 20_000 }).toBe(true)
  expect(journey.source.status()).toMatchObject({ state: 'migrating', owner: 'both' })
  expect(arrivalOf().status()).toMatchObject({ state: 'shared', owner: 'both' })
  return { moving }
}

describe('a guest of mutators', () => {
  test.each([
    { vcpus: 1, workload: 'hot' },
    { vcpus: 2, workload: 'hot' },
    { vcpus: 4, workload: 'local' },
  ])('of $vcpus vCPU(s), $workload, crosses vCPU by vCPU', async ({ vcpus, workload }) => {
    const pace = { kind: 'free', perSecond: 100_000 } as const
    journey = await Journey.begin({ vcpus, memoryBytes: 16 * MIB, options: { workload }, pace })
    const report = await journey.move({ movement: 'soft' })
    await journey.expectArrived(report)
    expect(report.soft?.crossingMs).toHaveLength(vcpus)
    expect(isShared(loadWord(arrivalOf().memory))).toBe(false)
  })

  const settings: MigrationOptions[] = [{ maxRounds: 0 }, { verify: 'none' }, { bandwidth: 8_000_000 }]
  test.each(settings)('with %o', async (setting) => {
    journey = await Journey.begin({ ...BUSY, vcpus: 2 })
    const report = await journey.move({ movement: 'soft', ...setting })
    if (setting.verify !== 'none') return await journey.expectArrived(report)
    expect(report).toMatchObject({ outcome: 'completed', owner: 'destination' })
    expect(await arrivalOf().oracle()).toEqual({ equal: true, differing: [] })
  })

  test('with free pages', async () => {
    journey = await Journey.begin({ ...BUSY, options: { workload: 'free', content: 'random' } })
    await journey.expectArrived(await journey.move({ movement: 'soft', maxRounds: 1 }))
  })

  test('that is paused arrives paused, and runs when it is told to', async () => {
    journey = await Journey.begin(BUSY)
    await journey.source.pause()
    const steps = journey.source.vcpus.steps()
    const report = await journey.move({ movement: 'soft' })
    expect(report).toMatchObject({ outcome: 'completed', owner: 'destination', consistent: true })
    expect(arrivalOf().status().state).toBe('paused')
    await wait(100)
    expect(arrivalOf().vcpus.steps()).toBe(steps)
    expect(await arrivalOf().oracle()).toEqual({ equal: true, differing: [] })
    await arrivalOf().resume()
    await expect.poll(() => arrivalOf().vcpus.steps()).toBeGreaterThan(steps)
  })

  test('that is refused stays, and goes when it is welcome', async () => {
    journey = await Journey.begin(BUSY)
    journey.agent.refusal = new GodwitError('program-missing', 'no such program')
    const report = await journey.move({ movement: 'soft' })
    expect(report).toMatchObject({ outcome: 'failed', error: { code: 'program-missing' } })
    await journey.expectStayed(report)
    journey.agent.refusal = null
    await journey.expectArrived(await journey.move({ movement: 'soft' }))
  })
})

describe('called off while both serve, everything comes home', () => {
  test.each(['soft', 'pre-copy'] as const)('and moves by %s afterwards', async (movement) => {
    const { moving } = await bothServe()
    await journey.source.cancel()
    const report = await moving
    expect(report).toMatchObject({ outcome: 'cancelled', error: { code: 'cancelled' } })
    expect(report.soft?.moves.returned).toBeGreaterThan(0)
    await journey.expectStayed(report)
    expect(isShared(loadWord(journey.source.memory))).toBe(false)
    await expect.poll(() => arrivalOf().status().state).toBe('handed-over')
    journey.agent.relayed = null
    await journey.expectArrived(await journey.move({ movement }))
  })

  test('by its time limit', async () => {
    // All of it takes half a minute, and hardly anything is asked for.
    journey = await Journey.begin({ ...BUSY, memoryBytes: 16 * MIB, pace: { kind: 'free', perSecond: 500 } })
    const report = await journey.move({ ...SLOW, maxRounds: 0, bandwidth: 500_000, timeout: 4000 })
    expect(report).toMatchObject({ outcome: 'failed', error: { code: 'timeout' } })
    await journey.expectStayed(report)
  })

  test('while the link is down: as soon as there is one', async () => {
    const { moving } = await bothServe()
    relay.cut()
    await expect.poll(() => journey.source.status().migration?.paused).not.toBeNull()
    await journey.source.cancel()
    await wait(300)
    relay.heal()
    await journey.expectStayed(await moving)
  })

  test('before anything has left, while the destination is out of reach: at once', { timeout: 60_000 }, async () => {
    journey = await Journey.begin(BUSY)
    journey.agent.relayed = (opened) => {
      relay = opened
    }
    // Nobody sets out.
    vi.spyOn(SharedLink.prototype, 'up').mockReturnValue(new Promise(() => {}))
    unwatch = onMigrationEvent(Journey.nextId, (event) => {
      if (event.type !== 'stage' || event.stage !== 'activate') return
      relay.cut()
      journey.agent.mute = true
    })
    const moving = journey.move(SLOW)
    await expect.poll(() => journey.source.status().migration?.paused ?? null, { timeout: 20_000 }).not.toBeNull()
    await journey.source.cancel()
    const report = await moving
    expect(report).toMatchObject({ outcome: 'cancelled', error: { code: 'cancelled' } })
    await journey.expectStayed(report)
    expect(isShared(loadWord(journey.source.memory))).toBe(false)
  })
})

describe('cut off from each other', () => {
  test('nobody stands still for a crossing that cannot be', async () => {
    const { moving } = await bothServe()
    relay.cut()
    await expect.poll(() => journey.source.status().migration?.paused).not.toBeNull()
    await wait(1000)
    const held = journey.source.vcpus.stepCounts().map((_, vcpu) => heldAt(journey.source, vcpu))
    const inFlight = arrivalOf().vcpus.stepCounts().filter(Boolean).length
    // Those that have crossed are held here for good; at most one more is undecided.
    expect(held.filter(Boolean).length).toBeLessThanOrEqual(inFlight + 1)
    relay.heal()
    await journey.expectArrived(await moving)
  })

  test.each(['control', 'data'] as const)('by the %s connections alone', async (lines) => {
    const { moving } = await bothServe()
    relay.cut(false, lines)
    const report = await moving
    await journey.expectArrived(report)
    expect(report.soft?.recoveries).toBeGreaterThanOrEqual(1)
  })

  test.each([100, 30_001])('by a byte spoilt after %i', async (bytes) => {
    journey = await Journey.begin({ ...BUSY, vcpus: 1 })
    journey.agent.relayed = (opened) => {
      relay = opened
    }
    unwatch = onMigrationEvent(Journey.nextId, (event) => {
      if (event.type === 'stage' && event.stage === 'activate') relay.corruptAfter(bytes)
    })
    await journey.expectArrived(await journey.move({ ...SLOW, bandwidth: 20_000_000 }))
  })

  test.each(['commit', 'activate', 'pull'] as const)('right at %s', async (stage) => {
    journey = await Journey.begin(BUSY)
    journey.agent.relayed = (opened) => {
      relay = opened
    }
    unwatch = onMigrationEvent(Journey.nextId, (event) => {
      if (event.type === 'stage' && event.stage === stage) relay.cut(false)
    })
    const report = await journey.move({ ...SLOW, bandwidth: 20_000_000 })
    if (report.owner === 'source' && stage === 'commit') await journey.expectStayed(report)
    else await journey.expectArrived(report)
  })
})

describe('a program that throws while both serve ends the guest at both', () => {
  const expectLost = async (moving: Promise<MigrationReport>): Promise<void> => {
    expect(await moving).toMatchObject({
      outcome: 'lost',
      owner: 'nobody',
      error: { code: expect.stringMatching(/^(guest-crashed|lost)$/) },
    })
    // The vCPU may have crossed before it looked.
    const both = [journey.source, arrivalOf()]
    const there = both.find((host) => host.status().state === 'crashed') ?? journey.source
    const here = both.find((host) => host !== there) as GuestHost
    expect(there.status()).toMatchObject({ state: 'crashed', crash: { code: 'guest-crashed' } })
    await expect.poll(() => here.status().state).toBe('lost')
    const steps = here.vcpus.steps()
    await wait(100)
    expect(here.vcpus.steps()).toBe(steps)
    expect(await here.resolve({ what: 'abandon', peerIsDead: false })).toMatchObject({ state: 'handed-over' })
  }
  const hot: Partial<GuestConfig> = { options: { workload: 'hot', content: 'random' } }
  /** The vCPU finds that its words are not what its journal says, sooner or later; it alone, for others look at their own. */
  const spoiling = async (host: GuestHost, vcpu: number, until: () => Promise<void>): Promise<void> => {
    const { memoryBytes, vcpus } = host.status().config
    const journal = new Journal(memoryBytes, vcpu, vcpus)
    const words = new Uint32Array(host.memory.bytes.buffer)
    const storeU32 = (address: number, value: number): void => {
      words[address / 4] = value
    }
    const timer = setInterval(() => {
      for (let word = 4096; word < 6144; word++) journal.write({ storeU32 } as Accessors, word, 0xdead_beef)
    }, 5)
    try {
      await until()
    } finally {
      clearInterval(timer)
    }
  }

  test('at the source', async () => {
    const { moving } = await bothServe(hot)
    await spoiling(journey.source, 3, () => expectLost(moving))
  })

  test('at the destination', async () => {
    const { moving } = await bothServe(hot)
    await spoiling(arrivalOf(), 0, () => expectLost(moving))
  })
})

test.each([9001, 9002, 9003])('random faults of seed %i', { timeout: 120_000 }, async (seed) => {
  await carryOut(drawSoftRun(seed))
})

function heldAt(host: GuestHost, vcpu: number): boolean {
  const { memory } = host
  return Atomics.load(memory.controlWords, vcpuWords(memory, vcpu).held) !== 0
}
