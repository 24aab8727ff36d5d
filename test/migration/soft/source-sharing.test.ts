// What a source tells of the time in which both hosts served, when the migration was called off in the middle of it.

import { expect, test } from 'vitest'
import { GodwitError } from '../../../src/errors.ts'
import { GuestMemory } from '../../../src/guest/memory.ts'
import { beginSharing } from '../../../src/guest/sharing.ts'
import type { VcpuState } from '../../../src/guest/vcpus-port.ts'
import { Inbox } from '../../../src/migration/inbox.ts'
import type { ControlLink } from '../../../src/migration/ports.ts'
import { SourceSharing } from '../../../src/migration/soft/source-sharing.ts'
import type { ControlMessage } from '../../../src/wire/messages.ts'

const EPOCH = 2
const never = (): Promise<never> => new Promise(() => {})

/** Two vCPUs: so many cross, then it is called off, and they come home. Time passes and requests are served where it is said. */
async function calledOffBehind(crossings: number): Promise<SourceSharing> {
  const memory = GuestMemory.create(64 * 4096, 2)
  beginSharing(memory, true)
  const retired = Promise.withResolvers<ControlMessage>()
  const words: Promise<ControlMessage>[] = [Promise.resolve({ type: 'sharing', epoch: EPOCH }), retired.promise]
  let onArrived = (_vcpu: number, _state: VcpuState | null): void => {}
  let [now, served] = [100, 10]
  const comeHome = (): void => {
    now = 400
    served = 40
    for (let vcpu = 0; vcpu < crossings; vcpu++) onArrived(vcpu, null)
  }
  const control = {
    receive: () => words.shift() ?? never(),
    send: ({ type }: ControlMessage) => {
      if (type !== 'home') return
      comeHome()
      retired.resolve({ type: 'retired', epoch: EPOCH })
    },
  } as unknown as ControlLink
  const exchange = {
    onCut: () => {},
    onArrived: (listener: typeof onArrived) => {
      onArrived = listener
    },
    link: async () => {},
    push: () => {},
    cross: async (vcpu: number) => {
      if (vcpu < crossings) return
      sharing.cancel(new GodwitError('cancelled', 'called off'))
      throw new GodwitError('cancelled', 'cut')
    },
    drained: async () => {
      // Behind the last crossing: everything else is to follow.
      if (!sharing.dualTo) return
      sharing.cancel(new GodwitError('cancelled', 'called off'))
    },
    broken: never(),
    counts: {},
  }
  const vcpus = { hold: async () => {}, saveOne: () => null, loadOne: () => {}, release: () => {} }
  const clock = {
    now: () => now,
    nowNs: () => BigInt(now),
    sleep: (ms: number) => (ms === 1 ? new Promise((resolve) => setTimeout(resolve, 1)) : never()),
  }
  const report = { enter: () => {} }
  const world = { memory, vcpus, clock, report, crashed: never(), served: () => served, epoch: EPOCH }
  const ownership = {
    state: 'offered',
    apply: (event: string) => {
      ownership.state = event === 'sharing' ? 'shared' : 'aborted'
    },
  }
  const links = { inbox: new Inbox(control, 'destination'), control }
  const narrowing = { narrow: async () => {}, end: () => {}, renewed: () => {} }
  // No more is used of any of them.
  const parts = [world, links, ownership, exchange, narrowing] as unknown as ConstructorParameters<typeof SourceSharing>
  const sharing = new SourceSharing(...parts)
  expect(await sharing.run()).toMatchObject({ where: 'here', error: { code: 'cancelled' } })
  return sharing
}

test.each([1, 2])('when %i of two vCPUs had crossed, both served until everything was home', async (crossings) => {
  expect(await calledOffBehind(crossings)).toMatchObject({ dualFrom: 100, dualTo: 400, served: 30 })
})

test('when none had crossed, the destination served nobody', async () => {
  expect(await calledOffBehind(0)).toMatchObject({ dualFrom: null, dualTo: null, served: 0 })
})
