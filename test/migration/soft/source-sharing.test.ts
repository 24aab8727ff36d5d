// What a source tells of the time in which both hosts served, when the migration was called off in the middle of it, or lost. And
// what it does about an exchange that breaks when everything has been given.

import { describe, expect, test } from 'vitest'
import { GodwitError } from '../../../src/errors.ts'
import { GuestMemory } from '../../../src/guest/memory.ts'
import { beginSharing } from '../../../src/guest/sharing.ts'
import type { VcpuState } from '../../../src/guest/vcpus-port.ts'
import { LAST_WORD_MS } from '../../../src/limits.ts'
import { type SourceEvent, type SourceState, sourceTransition } from '../../../src/migration/commit-machine.ts'
import { Inbox } from '../../../src/migration/inbox.ts'
import type { ControlLink } from '../../../src/migration/ports.ts'
import { SourceSharing } from '../../../src/migration/soft/source-sharing.ts'
import type { ControlMessage } from '../../../src/wire/messages.ts'

const EPOCH = 2
const never = (): Promise<never> => new Promise(() => {})

const BROKEN = new GodwitError('exchange-broken', 'its thread has ended')

/** Two vCPUs at a source that is told `answer` once both serve. Time passes and requests are served where it is said. */
function begin(answer: Promise<ControlMessage>) {
  const memory = GuestMemory.create(64 * 4096, 2)
  beginSharing(memory, true)
  const words: Promise<ControlMessage>[] = [Promise.resolve({ type: 'sharing', epoch: EPOCH }), answer]
  const said: string[] = []
  const heard = { onSaid: (_: string): void => {} }
  const control = {
    receive: () => words.shift() ?? never(),
    send: ({ type }: ControlMessage) => {
      said.push(type)
      heard.onSaid(type)
    },
  } as unknown as ControlLink
  const moment = { now: 100, served: 10 }
  let onArrived = (_vcpu: number, _state: VcpuState | null): void => {}
  const later = (crossings: number): void => {
    Object.assign(moment, { now: 400, served: 40 })
    for (let vcpu = 0; vcpu < crossings; vcpu++) onArrived(vcpu, null)
  }
  const broken = Promise.withResolvers<GodwitError>()
  let onCut = (_: GodwitError): void => {}
  const exchange = {
    onCut: (listener: typeof onCut) => {
      onCut = listener
    },
    onArrived: (listener: typeof onArrived) => {
      onArrived = listener
    },
    link: async () => {},
    push: () => {},
    cross: async (_: number) => {},
    drained: async () => {},
    broken: broken.promise,
    counts: {},
  }
  const fail = (): void => {
    exchange.link = () => Promise.reject(BROKEN)
    broken.resolve(BROKEN)
    onCut(BROKEN)
  }
  const vcpus = { hold: async () => {}, saveOne: () => null, loadOne: () => {}, release: () => {} }
  const clock = {
    now: () => moment.now,
    nowNs: () => BigInt(moment.now),
    // Nobody publishes progress, and no crossing is late.
    sleep: (ms: number) => (ms <= LAST_WORD_MS ? new Promise((resolve) => setTimeout(resolve, 1)) : never()),
  }
  const report = { enter: () => {} }
  const world = { memory, vcpus, clock, report, crashed: never(), served: () => moment.served, epoch: EPOCH }
  const ownership = {
    state: 'offered' as SourceState,
    apply: (event: SourceEvent) => {
      ownership.state = sourceTransition(ownership.state, event).state
    },
  }
  const links = { inbox: new Inbox(control, 'destination'), control }
  const narrowing = { narrow: async () => {}, end: () => {}, renewed: () => {} }
  // No more is used of any of them.
  const parts = [world, links, ownership, exchange, narrowing] as unknown as ConstructorParameters<typeof SourceSharing>
  return { sharing: new SourceSharing(...parts), memory, exchange, said, heard, later, fail }
}

const calledOff = new GodwitError('cancelled', 'called off')

/** So many cross, then it is called off, and they come home. */
async function calledOffBehind(crossings: number): Promise<SourceSharing> {
  const retired = Promise.withResolvers<ControlMessage>()
  const { sharing, exchange, heard, later } = begin(retired.promise)
  heard.onSaid = (type) => {
    if (type !== 'home') return
    later(crossings)
    retired.resolve({ type: 'retired', epoch: EPOCH })
  }
  exchange.cross = async (vcpu) => {
    if (vcpu < crossings) return
    sharing.cancel(calledOff)
    throw new GodwitError('cancelled', 'cut')
  }
  // Behind the last crossing: everything else is to follow.
  exchange.drained = async () => void (sharing.dualTo && sharing.cancel(calledOff))
  expect(await sharing.run()).toMatchObject({ where: 'here', error: { code: 'cancelled' } })
  return sharing
}

/** Everything leaves, and nobody says that it has arrived: the exchange breaks. */
function allGivenUnheard() {
  const complete = Promise.withResolvers<ControlMessage>()
  const begun = begin(complete.promise)
  const { sharing, memory, exchange, fail } = begun
  exchange.drained = async () => {
    if (!sharing.dualTo) return
    beginSharing(memory, false)
    fail()
    await never()
  }
  const nothing = { digest: null, written: null, dropped: 0, faults: [], shared: null }
  const arrive = (): void => complete.resolve({ type: 'complete', epoch: EPOCH, ...nothing })
  return { ...begun, run: sharing.run(), arrive }
}

test.each([1, 2])('when %i of two vCPUs had crossed, both served until everything was home', async (crossings) => {
  expect(await calledOffBehind(crossings)).toMatchObject({ dualFrom: 100, dualTo: 400, served: 30 })
})

test('when none had crossed, the destination served nobody', async () => {
  expect(await calledOffBehind(0)).toMatchObject({ dualFrom: null, dualTo: null, served: 0 })
})

test('when it is lost, both served until then', async () => {
  const { sharing, exchange, later, fail } = begin(never())
  exchange.cross = async (vcpu) => {
    if (vcpu === 0) return
    later(0)
    fail()
    await never()
  }
  expect(await sharing.run()).toMatchObject({ where: 'nowhere', error: { code: 'exchange-broken' } })
  expect(sharing).toMatchObject({ dualFrom: 100, dualTo: 400, served: 30 })
})

describe('when everything has been given, and the exchange breaks before it is known to have arrived', () => {
  test('it waits for the word of the destination, on a link without an exchange', async () => {
    const { run, said, arrive } = allGivenUnheard()
    // At once, and on the next link.
    await expect.poll(() => said).toEqual(['lanes', 'abort', 'abort'])
    arrive()
    expect(await run).toMatchObject({ where: 'destination' })
  })

  test('it is too late to call it off', async () => {
    const { sharing, run, said, arrive } = allGivenUnheard()
    await expect.poll(() => said).toContain('abort')
    expect(sharing.cancel(calledOff)).toBe(false)
    arrive()
    expect(await run).toMatchObject({ where: 'destination' })
  })
})
