// A destination that is called home says that it has nothing any more when it has given everything, and only then. One that
// ends with less than a whole guest lets go of its link: without one the source asks what has become of it. One that has
// everything goes on, unless its operator has given it up. And what it does about an exchange that is broken.

import { describe, expect, test } from 'vitest'
import { GodwitError } from '../../../src/errors.ts'
import { GuestMemory } from '../../../src/guest/memory.ts'
import { beginSharing, presenceOf, takeAway } from '../../../src/guest/sharing.ts'
import type { VcpuState } from '../../../src/guest/vcpus-port.ts'
import { REDIAL_FIRST_MS } from '../../../src/limits.ts'
import { Inbox } from '../../../src/migration/inbox.ts'
import type { ControlLink } from '../../../src/migration/ports.ts'
import { DestinationSharing } from '../../../src/migration/soft/destination-sharing.ts'
import type { ControlMessage } from '../../../src/wire/messages.ts'

const EPOCH = 2
const never = (): Promise<never> => new Promise(() => {})

const turns = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 10))

const BROKEN = new GodwitError('exchange-broken', 'its thread has ended')

/** With nothing of a guest of one vCPU but what may still be under way, and told `words`. */
function begin(...words: (ControlMessage | Promise<ControlMessage>)[]) {
  const told = [{ type: 'lanes', generation: 1 } as const, ...words]
  const said: string[] = []
  const control = {
    receive: async () => await (told.shift() ?? never()),
    send: ({ type }: ControlMessage) => void said.push(type),
    close: () => void said.push('(closed)'),
  } as unknown as ControlLink
  const gone = Promise.withResolvers<void>()
  const pushed: unknown[] = []
  const broken = Promise.withResolvers<GodwitError>()
  let onArrived = (_vcpu: number, _state: VcpuState | null): void => {}
  let onCut = (_: GodwitError): void => {}
  const exchange = {
    onCut: (listener: typeof onCut) => {
      onCut = listener
    },
    onArrived: (listener: typeof onArrived) => {
      onArrived = listener
    },
    link: async () => {},
    push: (what: unknown) => void pushed.push(what),
    drained: () => gone.promise,
    broken: broken.promise,
  }
  const fail = (): void => {
    exchange.link = () => Promise.reject(BROKEN)
    broken.resolve(BROKEN)
    onCut(BROKEN)
  }
  const memory = GuestMemory.create(64 * 4096, 1)
  beginSharing(memory, false)
  /** What is under way comes. */
  const arrive = (): void => {
    beginSharing(memory, true)
    onArrived(0, null)
  }
  const vcpus = { loadOne: () => {}, release: () => {}, hold: never, setShared: async () => {} }
  // Whoever looks again does so at once, and whoever waits waits for ever.
  const clock = {
    nowNs: () => 0n,
    sleep: (ms: number, _?: AbortSignal): Promise<void> => (ms < REDIAL_FIRST_MS ? turns() : never()),
  }
  const asked = { onAsk: () => {}, verdict: 'unknown' }
  const askPeerAgent = async (): Promise<string> => {
    asked.onAsk()
    return asked.verdict
  }
  const world = { memory, vcpus, clock, askPeerAgent, served: () => 0, sourceHost: 'source', epoch: EPOCH }
  const links = { inbox: new Inbox(control, 'source'), control, use: never, drop: async () => {} }
  const applied: string[] = []
  const ownership = { state: 'shared', apply: (event: string) => void applied.push(event) }
  // No more is used of any of them.
  const parts = [world, links, ownership, exchange] as unknown as ConstructorParameters<typeof DestinationSharing>
  const sharing = new DestinationSharing(...parts)
  const run = sharing.run()
  return { sharing, run, memory, gone, pushed, said, arrive, fail, clock, asked, vcpus, ownership, applied }
}

const calledHome = () => begin({ type: 'home', epoch: EPOCH })
const toldThatAllIsGiven = () => begin({ type: 'retired', epoch: EPOCH })

test('when the last page has gone', async () => {
  const { sharing, run, gone, pushed, said } = calledHome()
  await expect.poll(() => pushed).toEqual(['everything'])
  expect(said).toEqual([])
  gone.resolve()
  await expect.poll(() => said).toEqual(['retired'])
  sharing.close()
  expect(await run).toBe('closed')
  expect(said).toEqual(['retired', '(closed)'])
})

test('not when it ended before', async () => {
  const { sharing, run, gone, pushed, said } = calledHome()
  await expect.poll(() => pushed).toEqual(['everything'])
  sharing.close()
  expect(await run).toBe('closed')
  gone.resolve()
  await turns()
  expect(said).toEqual(['(closed)'])
})

describe('told that the exchange of the source is broken', () => {
  const broken = { type: 'abort', error: { code: BROKEN.code, message: BROKEN.message, side: 'source' } } as const

  test('with everything, which was read behind that word', async () => {
    const { run, asked, arrive } = begin(broken)
    asked.onAsk = arrive
    expect(await run).toBe('whole')
  })

  test('with nothing, which its source has kept', async () => {
    const { run, asked, applied } = begin(broken)
    asked.verdict = 'not-released'
    expect(await run).toBe('empty')
    expect(applied).toEqual(['not-released'])
  })

  test('with nothing, and its source is lost: it asks no more, and says so to whoever waits for that word', async () => {
    const { run, asked, said } = begin(broken)
    asked.verdict = 'lost'
    expect(await run).toBe('lost')
    expect(said).toEqual(['abort', '(closed)'])
  })

  test('with a part, called home: it waits for nothing', async () => {
    const { run, arrive, memory } = begin({ type: 'home', epoch: EPOCH }, broken)
    arrive()
    takeAway(presenceOf(memory), 5)
    expect(await run).toBe('lost')
  })

  test('closed while it asks: it asks no more', async () => {
    const { sharing, run, clock } = begin(broken)
    const waiting = Promise.withResolvers<AbortSignal | undefined>()
    clock.sleep = (ms, signal) => {
      if (ms === 2 * REDIAL_FIRST_MS) waiting.resolve(signal)
      return ms === 2 * REDIAL_FIRST_MS ? never() : turns()
    }
    const signal = await waiting.promise
    sharing.close()
    expect(await run).toBe('closed')
    expect(signal?.aborted).toBe(true)
  })
})

describe('with nothing, when its own exchange breaks', () => {
  test('it says so at once, before the source wonders about the link that is down', async () => {
    const { sharing, said, fail } = begin()
    await turns()
    fail()
    await expect.poll(() => said).toEqual(['abort'])
    sharing.close()
  })

  test('it says so again on every link, until it has heard that the source goes on', async () => {
    const answer = Promise.withResolvers<ControlMessage>()
    const { run, said, fail, clock } = begin(answer.promise)
    clock.sleep = turns
    await turns()
    fail()
    await expect.poll(() => said).toEqual(['abort', 'abort'])
    answer.resolve({ type: 'not-released', epoch: EPOCH })
    expect(await run).toBe('empty')
  })
})

describe('with everything, while its vCPUs get plain accessors', () => {
  test('given up by its operator', async () => {
    const { run, arrive, vcpus, ownership, applied, said } = toldThatAllIsGiven()
    vcpus.setShared = async () => {
      ownership.state = 'abandoned'
    }
    arrive()
    expect(await run).toBe('closed')
    expect(applied).toEqual([])
    expect(said).toEqual(['(closed)'])
  })

  test('crashed: it is where it is, and nobody hears that it is lost', async () => {
    const { sharing, run, arrive, vcpus, applied, said } = toldThatAllIsGiven()
    vcpus.setShared = async () => sharing.crash(new GodwitError('guest-crashed', 'vCPU 0 crashed'))
    arrive()
    expect(await run).toBe('whole')
    expect(applied).toEqual(['retired'])
    expect(said).toEqual([])
  })
})
