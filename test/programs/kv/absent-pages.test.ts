// The store while its pages are away: every access may meet a page that is not there, and every wait may take others
// away (R6, R8, R9, R11). One thread plays the vCPU, the lane that brings pages, and the host that asks for them.

import fc from 'fast-check'
import { expect, test } from 'vitest'
import { takeAsks } from '../../../src/guest/asks.ts'
import { beginAbsent, Installer } from '../../../src/guest/installing.ts'
import { GuestMemory } from '../../../src/guest/memory.ts'
import { PageFaults } from '../../../src/guest/page-faults.ts'
import { PRESENCE } from '../../../src/guest/presence.ts'
import { PullingAccessors } from '../../../src/guest/pulling-accessors.ts'
import { registersOf } from '../../../src/guest/safepoint.ts'
import { execute } from '../../../src/programs/kv/execute.ts'
import { Reply } from '../../../src/programs/kv/reply.ts'
import { requestOf } from '../../../src/programs/kv/request.ts'
import { Shard } from '../../../src/programs/kv/shard.ts'
import { seeded } from '../../kernels/memory-fixture.ts'
import { steps } from './random-commands.ts'
import { NOW, newStore, type Store } from './store.ts'

const PAGE = 4096
const pageOf = (memory: GuestMemory, page: number): Uint8Array => memory.bytes.subarray(page * PAGE, (page + 1) * PAGE)

/** A second host for the store: all pages are at the first, and pages go back there while it waits. */
function elsewhere(
  { memory: home, range }: Store,
  random: () => number,
): { shard: Shard; here: GuestMemory } & {
  /** Some pages in use go back. */
  giveSome(): void
  /** All do. */
  settle(): void
  faults(): number
} {
  const { memoryBytes, presence, pageCount } = home.layout
  const here = GuestMemory.create(memoryBytes, 1)
  here.free.set(home.free)
  here.bytes.fill(0x5a)
  beginAbsent(here, null)
  const installer = new Installer(here)
  const states = new Uint8Array(here.controlBytes.buffer, presence, pageCount)
  let faults = 0
  const giveBack = (page: number): void => {
    const { installed, local, present, absent } = PRESENCE
    if (![installed, local, present].includes(states[page] as 3)) return
    pageOf(home, page).set(pageOf(here, page))
    pageOf(here, page).fill(0x5a)
    states[page] = absent
  }
  const bring = (page: number): void => {
    expect(installer.claim(page)).toBe('claimed')
    pageOf(here, page).set(pageOf(home, page))
    installer.install(page)
    faults++
  }
  const used = (): number[] => [...here.free.keys()].filter((page) => here.free[page] === 0)
  const giveSome = (): void => {
    const pages = used()
    for (let times = Math.floor(random() * 6); times > 0; times--)
      giveBack(pages[Math.floor(random() * pages.length)] ?? 0)
  }
  const parkInside = (): void => {
    giveSome()
    takeAsks(here, 256, bring, () => {})
  }
  const pulling = new PullingAccessors(
    here,
    registersOf(here, 0),
    new PageFaults(here, 0, { wakeSeen: () => 0, parkInside }),
  )
  return {
    shard: new Shard(pulling, range, 1),
    here,
    giveSome,
    settle: () => {
      for (let page = 0; page < pageCount; page++) giveBack(page)
    },
    faults: () => faults,
  }
}

test('a store whose pages come and go answers and ends as one that has them all', () => {
  let faults = 0
  fc.assert(
    fc.property(steps(60, 120), steps(60, 120), fc.nat(), (before, after, seed) => {
      let state = seed
      const random = (): number => {
        state = (Math.imul(state, 1664525) + 1013904223) >>> 0
        return state / 2 ** 32
      }
      const [moved, stayed] = [newStore(256), newStore(256)]
      let nowMs = NOW
      for (const step of before) {
        nowMs += step.after
        expect(moved.run(step.parts, nowMs)).toBe(stayed.run(step.parts, nowMs))
      }
      const other = elsewhere(moved, random)
      const reply = new Reply(new Uint8Array(65_536), 1 << 20)
      for (const step of after) {
        nowMs += step.after
        other.giveSome()
        reply.rewind(0)
        execute(other.shard, requestOf(...step.parts), reply, nowMs)
        const said = Buffer.from(reply.bytes.subarray(0, reply.length)).toString('latin1')
        expect([step.parts, said]).toEqual([step.parts, stayed.run(step.parts, nowMs)])
      }
      other.settle()
      faults += other.faults()
      expect(Buffer.compare(other.here.free, stayed.memory.free)).toBe(0)
      for (const [page, free] of stayed.memory.free.entries()) {
        const same = free !== 0 || Buffer.compare(pageOf(moved.memory, page), pageOf(stayed.memory, page)) === 0
        expect(same, `page ${page}`).toBe(true)
      }
    }),
    seeded(20),
  )
  expect(faults).toBeGreaterThan(1000)
})
