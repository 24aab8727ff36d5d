// The allocator and what is built on it: nothing overlaps, nothing leaks, what is free is declared so, and a failure for lack
// of memory changes nothing.

import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Accessors } from '../../../src/guest/accessors.ts'
import { registersOf } from '../../../src/guest/safepoint.ts'
import { Arena, MAX_SLOT_BYTES } from '../../../src/programs/kv/arena.ts'
import { firstDataPage } from '../../../src/programs/kv/arena-layout.ts'
import { PageTrees } from '../../../src/programs/kv/page-tree.ts'
import { shareOf, storePages } from '../../../src/programs/kv/shares.ts'
import { seeded } from '../../kernels/memory-fixture.ts'
import { newStore, pagesInUse, type Store } from './store.ts'

const arenaOf = ({ accessors, range }: Store): Arena => new Arena(accessors, range)

interface Taken {
  readonly address: number
  readonly bytes: number
  readonly whole: boolean
  readonly stamp: number
}

const takes = fc.record({
  give: fc.nat(99),
  bytes: fc.oneof(fc.integer({ min: 1, max: 200 }), fc.integer({ min: 1, max: MAX_SLOT_BYTES }), fc.constant(4096)),
})

test('what is taken lies in the share, keeps its bytes, and is free in the end', () => {
  fc.assert(
    fc.property(fc.array(takes, { maxLength: 400 }), fc.nat(1), (steps, vcpu) => {
      const base = newStore(64, 2)
      const range = storePages(shareOf(base.memory.layout.memoryBytes, vcpu, 2))
      const accessors = new Accessors(base.memory, registersOf(base.memory, vcpu))
      // The header of a share is written when a store is opened.
      if (vcpu === 1) accessors.storeU32(range.from * 4096 + 8, firstDataPage(range))
      const store: Store = { ...base, accessors, range }
      const arena = arenaOf(store)
      const { bytes: guest } = store.memory
      const taken: Taken[] = []
      const check = ({ address, bytes, stamp }: Taken): void => {
        expect(guest.subarray(address, address + bytes).every((byte) => byte === stamp)).toBe(true)
      }
      steps.forEach(({ give, bytes }, step) => {
        if (give < 45 && taken.length > 0) {
          const [gone] = taken.splice(give % taken.length, 1) as [Taken]
          check(gone)
          if (gone.whole) arena.givePage(gone.address)
          else arena.give(gone.address)
          return
        }
        const whole = bytes > MAX_SLOT_BYTES
        const address = whole ? arena.takePage() : arena.take(bytes)
        if (address === null) return
        expect(address).toBeGreaterThanOrEqual(firstDataPage(range) * 4096)
        expect(address + bytes).toBeLessThanOrEqual(range.to * 4096)
        expect((address % 4096) + bytes).toBeLessThanOrEqual(4096)
        if (!whole) expect(arena.slotBytes(address)).toBeGreaterThanOrEqual(bytes)
        expect(store.memory.free[Math.floor(address / 4096)]).toBe(0)
        const stamp = (step % 255) + 1
        accessors.storeBytes(address, new Uint8Array(bytes).fill(stamp))
        taken.push({ address, bytes, whole, stamp })
      })
      taken.forEach(check)
      expect(pagesInUse(store)).toBe(arena.usedPages)
      for (const { address, whole } of taken) whole ? arena.givePage(address) : arena.give(address)
      expect([arena.usedPages, pagesInUse(store)]).toEqual([0, 0])
    }),
    seeded(150),
  )
})

test('memory ends with null, and all of it can be taken again', () => {
  const store = newStore(64)
  const arena = arenaOf(store)
  const fill = (take: () => number | null): number[] => {
    const addresses: number[] = []
    for (let at = take(); at !== null; at = take()) addresses.push(at)
    return addresses
  }
  const pages = fill(() => arena.takePage())
  expect(pages).toHaveLength(store.range.to - firstDataPage(store.range))
  expect(arena.take(1)).toBeNull()
  for (const page of pages) arena.givePage(page)
  for (const bytes of [16, 17, 672, 1360, 2048]) {
    const slots = fill(() => arena.take(bytes))
    expect(new Set(slots).size).toBe(slots.length)
    expect(slots.length).toBe(pages.length * Math.floor(4096 / arena.slotBytes(slots[0] as number)))
    for (const slot of slots) arena.give(slot)
    expect(arena.usedPages).toBe(0)
  }
})

test('reset frees what was taken', () => {
  const store = newStore(64)
  const arena = arenaOf(store)
  for (let times = 0; times < 30; times++) arena.take(16 + times * 64)
  arena.takePage()
  arena.reset()
  expect([arena.usedPages, pagesInUse(store)]).toEqual([0, 0])
  expect(arena.take(100)).not.toBeNull()
})

test('giving back what is not in use breaks a rule of the engine', () => {
  const arena = arenaOf(newStore(64))
  const slot = arena.take(16) as number
  expect(() => arena.givePage(slot)).toThrow(/no whole page/)
  arena.give(slot)
  expect(() => arena.give(slot)).toThrow(/no slot is in use/)
})

test('rows of pages grow and shrink through all heights, and a failure changes nothing', () => {
  const store = newStore(2304)
  const arena = arenaOf(store)
  const trees = new PageTrees(store.accessors, arena)
  const addresses: number[] = []
  let root = 0
  for (;;) {
    const used = arena.usedPages
    const grown = trees.grow(root, addresses.length)
    if (grown === null) {
      expect(arena.usedPages).toBe(used)
      break
    }
    root = grown
    addresses.push(trees.page(root, addresses.length + 1, addresses.length))
  }
  // Two pages of 1,024 and a rest, each with a page above it, and one above those.
  const data = store.range.to - firstDataPage(store.range)
  expect(addresses.length).toBe(data - 4)
  expect(new Set(addresses).size).toBe(addresses.length)
  for (let pages = addresses.length; pages > 0; pages--) {
    if (pages % 97 === 0 || pages < 4 || Math.abs(pages - 1024) < 3) {
      for (let index = 0; index < pages; index++) expect(trees.page(root, pages, index)).toBe(addresses[index])
    }
    root = trees.shrink(root, pages)
  }
  expect([root, arena.usedPages]).toEqual([0, 0])
  expect(trees.make(data)).toBeNull()
  expect(arena.usedPages).toBe(0)
})
