// A destination that is called home says that it has nothing any more when it has given everything, and only then. One that
// ends with less than a whole guest lets go of its link: without one the source asks what has become of it. One that has
// everything goes on, unless its operator has given it up.

import { describe, expect, test } from 'vitest'
import { GodwitError } from '../../../src/errors.ts'
import { GuestMemory } from '../../../src/guest/memory.ts'
import { beginSharing } from '../../../src/guest/sharing.ts'
import type { VcpuState } from '../../../src/guest/vcpus-port.ts'
import { REDIAL_FIRST_MS } from '../../../src/limits.ts'
import { Inbox } from '../../../src/migration/inbox.ts'
import type { ControlLink } from '../../../src/migration/ports.ts'
import { DestinationSharing } from '../../../src/migration/soft/destination-sharing.ts'
import type { ControlMessage } from '../../../src/wire/messages.ts'

const EPOCH = 2
const never = (): Promise<never> => new Promise(() => {})

const turns = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 10))

/** With nothing of a guest of one vCPU but what may still be under way, and told `word`. */
function begin(word: ControlMessage) {
  const told: ControlMessage[] = [{ type: 'lanes', generation: 1 }, word]
  const said: string[] = []
  const control = {
    receive: () => (told.length > 0 ? Promise.resolve(told.shift() as ControlMessage) : never()),
    send: ({ type }: ControlMessage) => void said.push(type),
    close: () => void said.push('(closed)'),
  } as unknown as ControlLink
  const gone = Promise.withResolvers<void>()
  const pushed: unknown[] = []
  let onArrived = (_vcpu: number, _state: VcpuState | null): void => {}
  const exchange = {
    onCut: () => {},
    onArrived: (listener: typeof onArrived) => {
      onArrived = listener
    },
    link: async () => {},
    push: (what: unknown) => void pushed.push(what),
    drained: () => gone.promise,
    broken: never(),
  }
  const memory = GuestMemory.create(64 * 4096, 1)
  beginSharing(memory, false)
  /** What is under way comes. */
  const arrive = (): void => {
    beginSharing(memory, true)
    onArrived(0, null)
  }
  const vcpus = { loadOne: () => {}, release: () => {}, setShared: async () => {} }
  // Whoever looks again does so at once, and whoever waits waits for ever.
  const clock = { sleep: (ms: number) => (ms < REDIAL_FIRST_MS ? turns() : never()) }
  const asked = { onAsk: () => {} }
  const askPeerAgent = async (): Promise<string> => {
    asked.onAsk()
    return 'unknown'
  }
  const world = { memory, vcpus, clock, askPeerAgent, served: () => 0, sourceHost: 'source', epoch: EPOCH }
  const links = { inbox: new Inbox(control, 'source'), control, use: never, drop: async () => {} }
  const applied: string[] = []
  const ownership = { state: 'shared', apply: (event: string) => void applied.push(event) }
  // No more is used of any of them.
  const parts = [world, links, ownership, exchange] as unknown as ConstructorParameters<typeof DestinationSharing>
  const sharing = new DestinationSharing(...parts)
  return { sharing, run: sharing.run(), gone, pushed, said, arrive, asked, vcpus, ownership, applied }
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

test('with everything, which was read behind the word that the exchange of the source is broken', async () => {
  const { run, asked, arrive } = begin({
    type: 'abort',
    error: { code: 'exchange-broken', message: 'its thread has ended', side: 'source' },
  })
  asked.onAsk = arrive
  expect(await run).toBe('whole')
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
