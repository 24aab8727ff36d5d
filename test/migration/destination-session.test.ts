// A destination that is closed while it dials keeps nothing of what it has dialled.

import { expect, test } from 'vitest'
import { GuestMemory } from '../../src/guest/memory.ts'
import { loadKernels } from '../../src/kernels/kernels.ts'
import { DestinationSession, type DestinationWorld } from '../../src/migration/destination-session.ts'

test('closed while it dials', async () => {
  const closed: string[] = []
  const never = (): Promise<never> => new Promise(() => {})
  const control = { send: () => {}, receive: never, close: () => void closed.push('control') }
  const pages = { failed: never(), close: async () => void closed.push('pages') }
  const dialled = Promise.withResolvers<unknown>()
  const memory = GuestMemory.create(65_536, 1)
  const vcpus = { load: () => {}, save: () => [], setPulling: () => {} }
  const store = { read: () => null, write: () => {} }
  const exchange = async () => ({ close: async () => void closed.push('exchange') })
  const names = { id: 'b'.repeat(32), epoch: 2, guestId: 'a'.repeat(32), source: 'source' }
  // No more is used of any of them.
  const world = {
    ...names,
    memory,
    kernels: loadKernels(memory),
    vcpus,
    store,
    exchange,
    connect: () => dialled.promise,
  }
  const session = new DestinationSession(world as unknown as DestinationWorld)
  const arrival = session.run()
  await session.close()
  dialled.resolve({ control, pages })
  expect(await arrival).toMatchObject({ owner: false, error: { code: 'cancelled' } })
  expect(closed.sort()).toEqual(['control', 'pages'])
})
