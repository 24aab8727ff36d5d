// A soft migration whose exchange fails by itself, at either side: it does not wait for ever. What had left is lost with it, both
// sides stand still and say so, and the operator may give the guest up; where nothing had left, the guest stays, and where
// everything had arrived, it goes on there.

import type { Worker } from 'node:worker_threads'
import { afterEach, beforeEach, describe, expect, test, vi } from 'vitest'
import { onMigrationEvent } from '../../src/events.ts'
import { allOurs, isOurs, presenceOf, takeAway } from '../../src/guest/sharing.ts'
import type { GuestHost } from '../../src/guest-process/host.ts'
import { DestinationOwnership } from '../../src/migration/destination-ownership.ts'
import { ThreadedExchange } from '../../src/migration/exchange/threaded-exchange.ts'
import type { MigrationOptions } from '../../src/migration/settings.ts'
import { SharedLink } from '../../src/migration/soft/shared-link.ts'
import { SourceOwnership } from '../../src/migration/source-ownership.ts'
import { MIB } from '../support/config.ts'
import { Journey } from '../support/journey.ts'
import type { Relay } from '../support/relay.ts'
import { SmallAgent } from '../support/small-agent.ts'

/** Slow enough for both hosts to serve a second and more. */
const SLOW: MigrationOptions = { movement: 'soft', bandwidth: 3_000_000, maxRounds: 1 }

let journey: Journey
let sourceAgent: SmallAgent
/** The source's is the first one that starts. */
let exchanges: Worker[] = []
const noteExchange = (worker: Worker): void => {
  if ((worker as Worker & { threadName: string }).threadName === 'exchange') exchanges.push(worker)
}
let unwatch: () => void = () => {}
let relay: Relay | undefined

async function begin(vcpus: number, perSecond = 50_000): Promise<void> {
  exchanges = []
  relay = undefined
  journey = await Journey.begin({
    vcpus,
    memoryBytes: 4 * MIB,
    options: { workload: 'local', content: 'random' },
    pace: { kind: 'free', perSecond },
  })
  sourceAgent = await SmallAgent.listen()
  sourceAgent.arrivals.push(journey.source)
  journey.sourceAgentPort = sourceAgent.port
}

async function end(): Promise<void> {
  await journey.close()
  await sourceAgent.close()
}

beforeEach(async () => {
  process.on('worker', noteExchange)
  await begin(4)
})

afterEach(async () => {
  process.off('worker', noteExchange)
  vi.restoreAllMocks()
  unwatch()
  await end()
})

const WAYS = {
  'its thread ends': (thread: Worker) => void thread.terminate(),
  // A vCPU without a state.
  'it breaks a rule of its own': (thread: Worker) => thread.postMessage({ type: 'cross', vcpu: 3, state: null }),
} as const
const arrivalOf = (): GuestHost => journey.agent.arrivals.at(-1) as GuestHost

/** What goes to the destination from now on goes by `relay`. */
function relayed(): void {
  journey.agent.relayed = (opened) => {
    relay = opened
  }
}

async function firstCrossed(): Promise<void> {
  const crossed = (): boolean => journey.agent.arrivals.at(-1)?.vcpus.stepCounts().some(Boolean) === true
  await expect.poll(crossed, { interval: 1, timeout: 20_000 }).toBe(true)
}

async function bothAreLost(): Promise<void> {
  for (const host of [journey.source, arrivalOf()]) {
    await expect.poll(() => host.status().state, { timeout: 20_000 }).toBe('lost')
  }
}

test.each([
  [0, 'its thread ends'],
  [0, 'it breaks a rule of its own'],
  [1, 'its thread ends'],
  [1, 'it breaks a rule of its own'],
] as const)('while both serve, at side %i: %s', { timeout: 30_000 }, async (side, way) => {
  const moving = journey.move(SLOW)
  await firstCrossed()
  WAYS[way](exchanges[side] as Worker)
  const code = expect.stringMatching(/^(exchange-broken|lost)$/)
  expect(await moving).toMatchObject({ outcome: 'lost', owner: 'nobody', error: { code } })
  for (const host of [journey.source, arrivalOf()]) {
    await expect.poll(() => host.status().state, { timeout: 10_000 }).toBe('lost')
    // A vCPU that waits for a processor ends its step first.
    const stepsInAWhile = async (): Promise<number> => {
      const before = host.vcpus.steps()
      await new Promise((resolve) => setTimeout(resolve, 100))
      return host.vcpus.steps() - before
    }
    await expect.poll(stepsInAWhile).toBe(0)
  }
  // Nothing more comes to a guest that is lost.
  await expect.poll(() => exchanges.map(({ threadId }) => threadId)).toEqual([-1, -1])
  const abandon = { what: 'abandon', peerIsDead: false } as const
  for (const host of [journey.source, arrivalOf()]) {
    expect(await host.resolve(abandon)).toMatchObject({ state: 'handed-over' })
  }
})

test.each([0, 1])(
  'before anything has left, at side %i, the guest stays, and may go later',
  { timeout: 60_000 },
  async (side) => {
    unwatch = onMigrationEvent(Journey.nextId, (event) => {
      if (event.type === 'stage' && event.stage === 'stop') void exchanges[side]?.terminate()
    })
    const report = await journey.move(SLOW)
    expect(report).toMatchObject({ outcome: 'failed', error: { code: 'exchange-broken' } })
    await journey.expectStayed(report)
    await expect.poll(() => arrivalOf().status().state, { timeout: 5000 }).toBe('handed-over')
    await journey.expectArrived(await journey.move({ movement: 'soft' }))
  },
)

test('before anything has left, and cut off: the destination says so when it is heard, and lets go', {
  timeout: 60_000,
}, async () => {
  relayed()
  // Nobody sets out.
  vi.spyOn(SharedLink.prototype, 'up').mockReturnValue(new Promise(() => {}))
  unwatch = onMigrationEvent(Journey.nextId, (event) => {
    if (event.type !== 'stage' || event.stage !== 'activate') return
    relay?.cut(true)
    void exchanges[1]?.terminate()
  })
  const moving = journey.move(SLOW)
  await expect.poll(() => exchanges[1]?.threadId, { timeout: 20_000 }).toBe(-1)
  await expect.poll(() => arrivalOf().status().migration?.paused).not.toBeNull()
  relay?.heal()
  const report = await moving
  expect(report).toMatchObject({ outcome: 'failed', error: { code: 'exchange-broken' } })
  await journey.expectStayed(report)
  await expect.poll(() => arrivalOf().status().state).toBe('handed-over')
})

test('a vCPU that is about to cross when it fails has not left', { timeout: 30_000 }, async () => {
  const { cross } = ThreadedExchange.prototype
  vi.spyOn(ThreadedExchange.prototype, 'cross').mockImplementationOnce(function (this: ThreadedExchange, ...crossing) {
    exchanges[0]?.emit('error', new Error('told to fail'))
    return cross.apply(this, crossing)
  })
  const report = await journey.move({ movement: 'soft' })
  expect(report).toMatchObject({ outcome: 'failed', error: { code: 'exchange-broken' } })
  await journey.expectStayed(report)
})

test('when everything has left, the source needs its exchange no more', { timeout: 60_000 }, async () => {
  relayed()
  // Its first word that it has everything is lost with the link: so the source is still waiting for it when its exchange breaks.
  const carryOut = DestinationOwnership.prototype.carryOut
  const spy = vi.spyOn(DestinationOwnership.prototype, 'carryOut').mockImplementation(function (this: never, action) {
    if (action !== 'send-complete') return carryOut.call(this, action)
    spy.mockRestore()
    relay?.cut(false)
    void exchanges[0]?.terminate()
  })
  await journey.expectArrived(await journey.move({ movement: 'soft' }))
  expect(vi.isMockFunction(DestinationOwnership.prototype.carryOut)).toBe(false)
})

test('it needs it when a page was on its way back to it: nobody waits for that page', { timeout: 60_000 }, async () => {
  const { apply } = SourceOwnership.prototype
  const spy = vi.spyOn(SourceOwnership.prototype, 'apply').mockImplementation(function (this: SourceOwnership, event) {
    if (event === 'gone') {
      spy.mockRestore()
      expect(takeAway(presenceOf(arrivalOf().memory), 5)).toBe(true)
      void exchanges[0]?.terminate()
    }
    apply.call(this, event)
  })
  expect(await journey.move({ movement: 'soft' })).toMatchObject({ outcome: 'lost', owner: 'nobody' })
  await bothAreLost()
})

test.each([4, 1])(
  '%i vCPUs have left, and not arrived: that is said until it is heard',
  { timeout: 60_000 },
  async (vcpus) => {
    // With one of them the destination has nothing at all, too.
    await end()
    // Little is stale at the last crossing, however long the round before took: so all of it leaves, though nothing is confirmed.
    await begin(vcpus, 100)
    relayed()
    const { cross } = ThreadedExchange.prototype
    let crossings = 0
    vi.spyOn(ThreadedExchange.prototype, 'cross').mockImplementation(function (this: ThreadedExchange, ...crossing) {
      if (++crossings === vcpus) relay?.stall()
      return cross.apply(this, crossing)
    })
    const moving = journey.move({ movement: 'soft' })
    const kept = (): boolean => presenceOf(journey.source.memory).some(isOurs)
    await expect.poll(() => crossings, { interval: 1, timeout: 20_000 }).toBe(vcpus)
    await expect.poll(kept).toBe(false)
    await exchanges[0]?.terminate()
    // What it said of that is on the link that is lost now.
    relay?.cut(true)
    relay?.heal()
    expect(await moving).toMatchObject({ outcome: 'lost', owner: 'nobody' })
    await bothAreLost()
  },
)

test('a dial that comes through when it is over keeps nobody waiting', { timeout: 60_000 }, async () => {
  relayed()
  const moving = journey.move(SLOW)
  await firstCrossed()
  const controls = relay?.controls ?? 0
  relay?.stall()
  relay?.cut(false)
  await expect.poll(() => relay?.controls, { interval: 1, timeout: 20_000 }).toBe(controls + 1)
  await exchanges[1]?.terminate()
  await expect.poll(() => arrivalOf().status().state, { interval: 1, timeout: 20_000 }).toBe('lost')
  relay?.heal()
  expect(await moving).toMatchObject({ outcome: 'lost', owner: 'nobody' })
})

describe('when everything has arrived, which only the destination knows, it goes on', { timeout: 60_000 }, () => {
  /** The source never learns that what it gave has arrived; instead `then` happens. */
  function neverTold(then: () => void): void {
    const { push, drained } = ThreadedExchange.prototype
    let everything = false
    vi.spyOn(ThreadedExchange.prototype, 'push').mockImplementation(function (this: ThreadedExchange, what) {
      everything = what === 'everything'
      push.call(this, what)
    })
    vi.spyOn(ThreadedExchange.prototype, 'drained').mockImplementation(async function (this: ThreadedExchange) {
      await drained.call(this)
      if (!everything) return
      then()
      await new Promise(() => {})
    })
  }

  test('without its own exchange', async () => {
    const { apply } = SourceOwnership.prototype
    vi.spyOn(SourceOwnership.prototype, 'apply').mockImplementation(function (this: SourceOwnership, event) {
      const { control } = this
      if (event === 'gone' && control !== null) {
        const { send } = control
        // The word that it has everything comes too late.
        control.send = (message) => {
          if (message.type === 'retired') void exchanges[1]?.terminate()
          else send.call(control, message)
        }
      }
      apply.call(this, event)
    })
    await journey.expectArrived(await journey.move({ movement: 'soft' }))
  })

  test("without the source's", async () => {
    neverTold(() => void exchanges[0]?.terminate())
    await journey.expectArrived(await journey.move({ movement: 'soft' }))
  })

  test("without the source's, and the source does not know either that the last vCPU has crossed", async () => {
    const { push, cross, drained } = ThreadedExchange.prototype
    let crossings = 0
    vi.spyOn(ThreadedExchange.prototype, 'push').mockImplementation(function (this: ThreadedExchange, what) {
      push.call(this, crossings === 4 ? 'everything' : what)
    })
    vi.spyOn(ThreadedExchange.prototype, 'cross').mockImplementation(async function (
      this: ThreadedExchange,
      ...crossing
    ) {
      const last = ++crossings === 4
      await cross.apply(this, crossing)
      if (!last) return
      await drained.call(this)
      void exchanges[0]?.terminate()
      await new Promise(() => {})
    })
    const report = await journey.move({ movement: 'soft' })
    await journey.expectArrived(report)
    expect(report.soft?.crossingMs).toHaveLength(4)
    expect(report.soft?.crossingMs.every((each) => each > 0)).toBe(true)
    expect(report.soft?.dualServingMs).toBeGreaterThan(0)
  })

  test("without the source's, after the operator has called it home over a link that is cut", async () => {
    neverTold(() => {
      relay?.cut(true)
      void journey.source.cancel()
      void exchanges[0]?.terminate()
    })
    relayed()
    await journey.expectArrived(await journey.move({ movement: 'soft' }))
  })

  test('cut off, and the source hears of it later', async () => {
    relayed()
    neverTold(() => {
      relay?.cut(true)
      journey.agent.mute = true
    })
    const moving = journey.move({ movement: 'soft' })
    await expect.poll(() => journey.agent.arrivals[0]?.status().state, { timeout: 20_000 }).toBe('running')
    expect(journey.source.status().state).toBe('migrating')
    expect(allOurs(presenceOf(arrivalOf().memory))).toBe(true)
    relay?.heal()
    await journey.expectArrived(await moving)
  })
})
