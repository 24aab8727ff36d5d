// vCPUs that are held one at a time (R26) and pages that are taken away and come back (R6, R11, R25), on real threads.

import { describe, expect, test } from 'vitest'
import { PRESENCE } from '../../src/guest/presence.ts'
import { VCPU } from '../../src/guest/safepoint-machine.ts'
import {
  beginSharing,
  generationsOf,
  homesOf,
  isOurs,
  isStale,
  noteFresh,
  noteStale,
  presenceOf,
  takeAway,
} from '../../src/guest/sharing.ts'
import { OP, PAGE, PAGES, type PullingGuest, pullingGuest, until, wait } from './puller.ts'

async function sharedGuest(vcpus: number): Promise<PullingGuest> {
  const guest = await pullingGuest(vcpus)
  beginSharing(guest.memory, true)
  await guest.vcpus.setShared(true)
  return guest
}

const stepsOf = async (guest: PullingGuest, vcpu: number, ms: number): Promise<number> => {
  const before = guest.vcpus.stepCounts()[vcpu] as number
  await wait(ms)
  return (guest.vcpus.stepCounts()[vcpu] as number) - before
}

/** Its thread may have to wait for a processor: however long that takes. */
const untilSteps = async (guest: PullingGuest, vcpu: number): Promise<void> => {
  const before = guest.vcpus.stepCounts()[vcpu] as number
  await until(() => (guest.vcpus.stepCounts()[vcpu] as number) > before, `steps of vCPU ${vcpu}`)
}

describe('one vCPU', () => {
  test('is held at a boundary while the others run, and goes on where it was told to (R26)', async () => {
    const guest = await sharedGuest(3)
    await guest.vcpus.hold(1)
    expect(guest.phase(1)).toBe(VCPU.parkedBoundary)
    expect(await stepsOf(guest, 1, 20)).toBe(0)
    for (const vcpu of [0, 2]) await untilSteps(guest, vcpu)
    const state = guest.vcpus.saveOne(1)
    expect(state.steps).toBe(guest.vcpus.stepCounts()[1])
    // Handshakes of any kind pass a vCPU that is held.
    await guest.vcpus.swapCards()
    await guest.vcpus.handshake()
    expect(await stepsOf(guest, 1, 20)).toBe(0)
    guest.vcpus.loadOne(1, { steps: 1_000_000_000, registers: state.registers })
    guest.vcpus.release(1)
    await until(() => (guest.vcpus.stepCounts()[1] as number) > 1_000_000_000, 'steps from there on')
    // What it did elsewhere was not done here.
    await wait(150)
    expect(guest.vcpus.stepsPerSecond()).toBeLessThan(200_000_000)
  })

  test('is held and released many times while another thread looks at the word', async () => {
    const guest = await sharedGuest(2)
    for (let turn = 0; turn < 300; turn++) {
      await guest.vcpus.hold(0)
      const { steps } = guest.vcpus.saveOne(0)
      if (turn % 3 === 0) await guest.vcpus.handshake()
      guest.vcpus.release(0)
      if (turn % 2 === 0) await until(() => (guest.vcpus.stepCounts()[0] as number) > steps, 'steps after the release')
    }
  })

  test('that waits for a page is not held before its step is over (R4)', async () => {
    const guest = await sharedGuest(1)
    takeAway(presenceOf(guest.memory), 3)
    await guest.vcpus.handshake()
    guest.order(0, OP.store, 3 * PAGE, 5)
    await until(() => guest.parkedInside(0), 'the park')
    let held = false
    const holding = guest.vcpus.hold(0).then(() => {
      held = true
    })
    await wait(20)
    expect(held).toBe(false)
    guest.bring(3, 0)
    await holding
    expect([guest.done(0), guest.memory.bytes[3 * PAGE]]).toEqual([true, 5])
  })

  test('stays held through a pause of all, and paused when it is released in one', async () => {
    const guest = await sharedGuest(2)
    await guest.vcpus.hold(0)
    await guest.vcpus.pause()
    guest.vcpus.resume()
    await guest.vcpus.running()
    expect(await stepsOf(guest, 0, 20)).toBe(0)
    await guest.vcpus.pause()
    guest.vcpus.release(0)
    expect(await stepsOf(guest, 0, 20)).toBe(0)
    guest.vcpus.resume()
    await untilSteps(guest, 0)
  })
})

describe('a page', () => {
  test('has the vCPU that used it last for its home', async () => {
    const guest = await sharedGuest(2)
    const homes = homesOf(guest.memory)
    guest.order(0, OP.load, 2 * PAGE)
    guest.order(1, OP.whole, 4 * PAGE, 1)
    await until(() => guest.done(0) && guest.done(1), 'two accesses')
    expect([homes[2], homes[4], homes[5]]).toEqual([1, 2, 0])
    guest.order(1, OP.store, 2 * PAGE, 1)
    await until(() => guest.done(1), 'the store')
    expect(homes[2]).toBe(2)
    await guest.vcpus.setShared(false)
    guest.order(0, OP.load, 2 * PAGE)
    await until(() => guest.done(0), 'a load with plain accessors')
    expect(homes[2]).toBe(2)
  })

  test('that was taken away is asked for, also by who would write all of it (R25)', async () => {
    const guest = await sharedGuest(1)
    const presence = presenceOf(guest.memory)
    for (const [operation, page] of [
      [OP.load, 1],
      [OP.whole, 2],
      [OP.free, 3],
      [OP.reuse, 4],
    ] as const) {
      expect(takeAway(presence, page)).toBe(true)
      expect(takeAway(presence, page)).toBe(false)
      await guest.vcpus.handshake()
      guest.order(0, operation, operation === OP.free || operation === OP.reuse ? page : page * PAGE, 9)
      await until(() => guest.parkedInside(0), 'the park')
      expect([guest.asks().faults, guest.presence(page)]).toEqual([[page], PRESENCE.requested])
      guest.bring(page, 7)
      await until(() => guest.done(0), 'the access')
      expect(isOurs(guest.presence(page))).toBe(true)
    }
  })

  test('is stale once it was written here, whichever table has the mark', async () => {
    const guest = await sharedGuest(1)
    const { memory } = guest
    const kernelsHarvest = async (): Promise<void> => {
      await guest.vcpus.swapCards()
    }
    noteFresh(memory, 6)
    expect(isStale(memory, 6)).toBe(false)
    guest.order(0, OP.load, 6 * PAGE)
    await until(() => guest.done(0), 'a load')
    expect(isStale(memory, 6)).toBe(false)
    guest.order(0, OP.part, 6 * PAGE, 3)
    await until(() => guest.done(0), 'a store')
    expect(isStale(memory, 6)).toBe(true)
    await kernelsHarvest()
    expect(isStale(memory, 6)).toBe(true)
    noteFresh(memory, 6)
    expect(isStale(memory, 6)).toBe(false)
    noteStale(memory, 6)
    expect(isStale(memory, 6)).toBe(true)
  })

  test('begins with the source, at generation 1', async () => {
    const { memory } = await sharedGuest(1)
    expect([...generationsOf(memory)]).toEqual(Array(PAGES).fill(1))
    beginSharing(memory, false)
    expect([...generationsOf(memory), ...presenceOf(memory)]).toEqual(Array(2 * PAGES).fill(0))
  })
})
