// A destination that is called home says that it has nothing any more when it has given everything, and only then. One that
// ends with less than a whole guest lets go of its link: without one the source asks what has become of it.

import { expect, test } from 'vitest'
import { GuestMemory } from '../../../src/guest/memory.ts'
import { beginSharing } from '../../../src/guest/sharing.ts'
import { Inbox } from '../../../src/migration/inbox.ts'
import type { ControlLink } from '../../../src/migration/ports.ts'
import { DestinationSharing } from '../../../src/migration/soft/destination-sharing.ts'
import type { ControlMessage } from '../../../src/wire/messages.ts'

const EPOCH = 2
const never = (): Promise<never> => new Promise(() => {})

/** Called home, with nothing of the guest but pages that may still be under way. */
function calledHome() {
  const told: ControlMessage[] = [
    { type: 'lanes', generation: 1 },
    { type: 'home', epoch: EPOCH },
  ]
  const said: string[] = []
  const control = {
    receive: () => (told.length > 0 ? Promise.resolve(told.shift() as ControlMessage) : never()),
    send: ({ type }: ControlMessage) => void said.push(type),
    close: () => void said.push('(closed)'),
  } as unknown as ControlLink
  const gone = Promise.withResolvers<void>()
  const pushed: unknown[] = []
  const exchange = {
    onCut: () => {},
    onArrived: () => {},
    link: async () => {},
    push: (what: unknown) => void pushed.push(what),
    drained: () => gone.promise,
    broken: never(),
  }
  const memory = GuestMemory.create(64 * 4096, 1)
  beginSharing(memory, false)
  const world = { memory, vcpus: {}, clock: { sleep: never }, served: () => 0, sourceHost: 'source', epoch: EPOCH }
  const links = { inbox: new Inbox(control, 'source'), control, redial: never, drop: async () => {} }
  const ownership = { state: 'shared', apply: () => {} }
  // No more is used of any of them.
  const parts = [world, links, ownership, exchange] as unknown as ConstructorParameters<typeof DestinationSharing>
  const sharing = new DestinationSharing(...parts)
  return { sharing, run: sharing.run(), gone, pushed, said }
}

const turns = (): Promise<void> => new Promise((resolve) => setTimeout(resolve, 10))

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
