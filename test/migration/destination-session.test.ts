// A destination that is closed while it dials, or that has lost its guest, keeps nothing of what it has dialled.

import { expect, test } from 'vitest'
import { GuestMemory } from '../../src/guest/memory.ts'
import { loadKernels } from '../../src/kernels/kernels.ts'
import { DestinationSession, type DestinationWorld } from '../../src/migration/destination-session.ts'
import type { ControlMessage } from '../../src/wire/messages.ts'

const never = (): Promise<never> => new Promise(() => {})

/** Its source tells `words` once it is dialled. */
function begin(words: ControlMessage[]) {
  const closed: string[] = []
  const receive = async (): Promise<ControlMessage> => words.shift() ?? (await never())
  const control = { send: () => {}, receive, close: () => void closed.push('control') }
  const pages = { failed: never(), placed: never, close: async () => void closed.push('pages') }
  const dialled = Promise.withResolvers<unknown>()
  const memory = GuestMemory.create(65_536, 1)
  const running = { running: async () => {}, resume: () => {}, halt: () => {}, leftAt: () => [] }
  const vcpus = { load: () => {}, save: () => [], setPulling: () => {}, ...running }
  const store = { read: () => null, write: () => {} }
  const exchange = async () => ({ close: async () => void closed.push('exchange') })
  const names = { id: 'b'.repeat(32), epoch: 2, guestId: 'a'.repeat(32), source: 'source' }
  const kept = { copy: null, neighbours: null }
  const clock = { now: () => 0 }
  const connect = () => dialled.promise
  // No more is used of any of them.
  const world = { ...names, ...kept, memory, kernels: loadKernels(memory), vcpus, store, clock, exchange, connect }
  const session = new DestinationSession(world as unknown as DestinationWorld)
  return { session, arrival: session.run(), closed, dial: () => dialled.resolve({ control, pages }) }
}

test('closed while it dials', async () => {
  const { session, arrival, closed, dial } = begin([])
  await session.close()
  dial()
  expect(await arrival).toMatchObject({ owner: false, error: { code: 'cancelled' } })
  expect(closed.sort()).toEqual(['control', 'pages'])
})

test('its source was made to run the guest again: nothing more comes to what is parked here (R21)', async () => {
  const vcpus = [{ steps: 0, registers: new Uint8Array(1024) }]
  const whole = { verify: 'none', digest: null, free: null, absent: null, pull: false, shared: false } as const
  const { session, arrival, closed, dial } = begin([
    { type: 'state', round: -1, epoch: 2, vcpus, ...whole },
    { type: 'commit', epoch: 2 },
    { type: 'not-released', epoch: 2 },
  ])
  dial()
  expect(await arrival).toEqual({ owner: true })
  expect(session.state).toBe('lost')
  expect(closed.sort()).toEqual(['control', 'exchange', 'pages'])
})
