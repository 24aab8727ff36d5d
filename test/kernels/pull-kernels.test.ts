// The kernels of the pull phase held to their twin: seals (R10), forgotten hashes, published presence, found bytes.

import fc from 'fast-check'
import { afterAll, describe, expect, it } from 'vitest'
import { PRESENCE } from '../../src/guest/presence.ts'
import { digestTotal, type Kernels, loadKernels } from '../../src/kernels/kernels.ts'
import { createTwin, sealOf } from '../../src/kernels/twin.ts'
import {
  type Content,
  PAGE_BYTES,
  placesOf,
  sameBytes,
  seeded,
  twoGuests,
  writeContent,
  writeList,
} from './memory-fixture.ts'

const PAGES = 48
const WORDS = 2
const ENTRY = 16
const [guest, twinGuest] = twoGuests(PAGES)
const sides = [
  { memory: guest, kernels: loadKernels(guest) },
  { memory: twinGuest, kernels: createTwin(twinGuest) },
] as const
const places = placesOf(guest)
const table = places.staging

const content: fc.Arbitrary<Content> = fc.oneof(
  fc.constant<Content>({ kind: 'zero' }),
  fc.record({ kind: fc.constant('bit' as const), bit: fc.nat(32767) }),
  fc.record({ kind: fc.constant('random' as const), seed: fc.nat() }),
)
const contents = fc.array(content, { minLength: PAGES, maxLength: PAGES })
const list = fc.uniqueArray(fc.nat(PAGES - 1), { maxLength: PAGES })
const someFree = fc.uniqueArray(fc.nat(PAGES - 1), { maxLength: 12 })

function onBoth<T>(action: (memory: typeof guest, kernels: Kernels) => T): T {
  const [actual, expected] = sides.map(({ memory, kernels }) => action(memory, kernels))
  expect(actual).toEqual(expected)
  const end = places.staging + PAGES * PAGE_BYTES
  expect(sameBytes(guest.controlBytes.subarray(0, end), twinGuest.controlBytes.subarray(0, end))).toBe(true)
  return actual as T
}

function setUp(all: readonly Content[], free: readonly number[]): void {
  for (const { memory } of sides) {
    for (const [page, one] of all.entries()) writeContent(memory, page, one)
    memory.free.fill(0)
    for (const page of free) memory.free[page] = 1
    memory.controlBytes.fill(0, places.hashes, places.hashes + 8 * PAGES)
    memory.controlLongs[places.digest / 8] = 0n
  }
}
const sealBoth = (pages: readonly number[]): number =>
  onBoth((memory, kernels) => {
    writeList(memory, places.list, pages)
    return kernels.seal(places.list, pages.length, table, places.hashes, places.digest)
  })
const unsealBoth = (count: number): number =>
  onBoth((_, kernels) => kernels.unseal(table, count, places.hashes, places.digest))

afterAll(() => {
  expect(sameBytes(guest.bytes, twinGuest.bytes)).toBe(true)
  expect(sameBytes(guest.controlBytes, twinGuest.controlBytes)).toBe(true)
})

describe('seal and unseal (R10)', () => {
  it('agree with the twin; what was sealed is good, and gives the digest of a hash of all of it', () => {
    fc.assert(
      fc.property(contents, list, someFree, (all, pages, free) => {
        setUp(all, free)
        const zero = (page: number): boolean => all[page]?.kind === 'zero' || free.includes(page)
        expect(sealBoth(pages)).toBe(pages.filter(zero).length)
        pages.forEach((page, index) => {
          const entry = (table + index * ENTRY) / 4
          expect([...guest.controlWords.subarray(entry, entry + 2)]).toEqual([page, zero(page) ? 1 : 2])
        })
        const digest = digestTotal(guest)
        // The receiver begins without hashes and comes to the same digest.
        for (const { memory } of sides) {
          memory.controlBytes.fill(0, places.hashes, places.hashes + 8 * PAGES)
          memory.controlLongs[places.digest / 8] = 0n
        }
        expect(unsealBoth(pages.length)).toBe(pages.length)
        expect(digestTotal(guest)).toBe(digest)
        expect(sides[0].kernels.digestOf(places.hashes, 0, PAGES)).toBe(digest)
        // Once more changes nothing: a page that is sent again after a cut.
        sealBoth(pages)
        expect(digestTotal(guest)).toBe(digest)
      }),
      seeded(100),
    )
  })

  const spoilt = fc.record({ what: fc.constantFrom('content', 'page', 'seal'), bit: fc.nat(), at: fc.nat() })

  it('one flipped bit of content, page number or seal is noticed at its entry, in zero pages too', () => {
    fc.assert(
      fc.property(contents, fc.uniqueArray(fc.nat(31), { minLength: 1, maxLength: 32 }), spoilt, (all, pages, how) => {
        setUp(all, [])
        sealBoth(pages)
        const index = how.at % pages.length
        const entry = table + index * ENTRY
        const flip = (memory: typeof guest): void => {
          const [bytes, at, bits] =
            how.what === 'content'
              ? [memory.bytes, (pages[index] as number) * PAGE_BYTES, PAGE_BYTES * 8]
              : how.what === 'page'
                ? [memory.controlBytes, entry, 5]
                : [memory.controlBytes, entry + 8, 64]
          const bit = how.bit % bits
          bytes[at + (bit >> 3)] = (bytes[at + (bit >> 3)] as number) ^ (1 << (bit & 7))
        }
        for (const { memory } of sides) flip(memory)
        expect(unsealBoth(pages.length)).toBe(index)
        for (const { memory } of sides) flip(memory)
        expect(unsealBoth(pages.length)).toBe(pages.length)
      }),
      seeded(200),
    )
  })

  it('a zero page that is given another number is noticed', () => {
    setUp(
      Array.from({ length: PAGES }, () => ({ kind: 'zero' as const })),
      [],
    )
    for (let page = 0; page < PAGES; page++) {
      expect(sealBoth([page])).toBe(1)
      for (const { memory } of sides) memory.controlWords[table / 4] = (page + 1) % PAGES
      expect(unsealBoth(1)).toBe(0)
    }
    expect(sealOf(0n, 0)).not.toBe(sealOf(0n, 1))
  })

  it('a free page is sealed and checked as zero, whatever it holds (R17)', () => {
    setUp(
      Array.from({ length: PAGES }, (_, seed) => ({ kind: 'random' as const, seed })),
      [7],
    )
    expect(sealBoth([6, 7, 8])).toBe(1)
    for (const { memory } of sides) memory.bytes.fill(0x5a, 7 * PAGE_BYTES, 8 * PAGE_BYTES)
    expect(unsealBoth(3)).toBe(3)
    for (const { memory } of sides) memory.free[7] = 0
    expect(unsealBoth(3)).toBe(1)
  })

  it('no pages, nothing touched', () => {
    expect(sealBoth([])).toBe(0)
    expect(unsealBoth(0)).toBe(0)
  })
})

describe('forget, publish and findBytes', () => {
  const bitmap = fc.uint8Array({ minLength: WORDS * 4, maxLength: WORDS * 4 }).map((bytes) => {
    bytes.fill(0, PAGES / 8)
    return bytes
  })
  const isIn = (bits: Uint8Array, page: number): boolean => ((bits[page >> 3] as number) & (1 << (page & 7))) !== 0

  it('forget leaves the digest of the others', () => {
    fc.assert(
      fc.property(contents, bitmap, (all, bits) => {
        setUp(all, [])
        onBoth((memory, kernels) => {
          kernels.hashRun(0, PAGES, places.hashes, places.digest)
          memory.controlBytes.set(bits, memory.layout.toSend)
          kernels.forget(memory.layout.toSend, WORDS, places.hashes, places.digest)
        })
        expect(digestTotal(guest)).toBe(sides[0].kernels.digestOf(places.hashes, 0, PAGES))
        for (let page = 0; page < PAGES; page++) {
          const forgotten = isIn(bits, page) || all[page]?.kind === 'zero'
          expect(guest.controlLongs[places.hashes / 8 + page] === 0n).toBe(forgotten)
        }
      }),
      seeded(60),
    )
  })

  it('publish makes present what the bitmap has, and no other page (R8)', () => {
    const states = fc.uint8Array({ min: 0, max: 5, minLength: PAGES, maxLength: PAGES })
    fc.assert(
      fc.property(states, bitmap, (before, bits) => {
        onBoth((memory, kernels) => {
          memory.controlBytes.set(before, memory.layout.presence)
          memory.controlBytes.set(bits, memory.layout.toSend)
          kernels.publish(memory.layout.toSend, WORDS, memory.layout.presence)
        })
        const { presence, toSend } = guest.layout
        for (let page = 0; page < PAGES; page++) {
          const expected = isIn(bits, page) ? PRESENCE.present : before[page]
          expect(guest.controlBytes[presence + page]).toBe(expected)
        }
        expect(guest.controlBytes.subarray(toSend, toSend + 8).every((byte) => byte === 0)).toBe(true)
      }),
      seeded(200),
    )
  })

  it('findBytes overwrites the bitmap, for any count of 16 bytes and the value above 127 too', () => {
    const bytes = fc.array(fc.constantFrom(0, 3, 255), { minLength: PAGES, maxLength: PAGES })
    fc.assert(
      fc.property(bytes, fc.constantFrom(0, 3, 255), fc.nat(PAGES / 16), (all, value, steps) => {
        const count = steps * 16
        const found = onBoth((memory, kernels) => {
          memory.controlBytes.set(all, memory.layout.presence)
          memory.controlWords.fill(-1, memory.layout.toSend / 4, memory.layout.toSend / 4 + WORDS)
          return kernels.findBytes(memory.layout.presence, count, value, memory.layout.toSend)
        })
        expect(found).toBe(all.slice(0, count).filter((byte) => byte === value).length)
        const bits = guest.controlBytes.subarray(guest.layout.toSend)
        for (let page = 0; page < PAGES; page++) {
          expect(isIn(bits, page)).toBe(page >= count || all[page] === value)
        }
      }),
      seeded(200),
    )
  })

  it('the smallest guest: half a word, and not a bit behind its 16 pages', () => {
    const [small, smallTwin] = twoGuests(16)
    for (const [memory, kernels] of [
      [small, loadKernels(small)],
      [smallTwin, createTwin(smallTwin)],
    ] as const) {
      const { presence, toSend, pageCount } = memory.layout
      memory.controlBytes.fill(PRESENCE.installed, presence, presence + pageCount)
      expect(kernels.findBytes(presence, pageCount, PRESENCE.installed, toSend)).toBe(16)
      expect(memory.controlWords[toSend / 4]).toBe(0xffff)
      kernels.publish(toSend, 1, presence)
      expect(memory.controlBytes.subarray(presence, presence + 64).every((b, at) => b === (at < 16 ? 5 : 0))).toBe(true)
    }
    expect(sameBytes(small.controlBytes, smallTwin.controlBytes)).toBe(true)
  })
})
