// Holds the kernels to their plain TypeScript twin, and both to xxhash-wasm.

import fc from 'fast-check'
import { afterAll, describe, expect, it } from 'vitest'
import xxhash from 'xxhash-wasm'
import { THREAD_BLOCK } from '../../src/guest/layout.ts'
import { digestTotal, type Kernels, loadKernels, PAGE_CLASS, resetDigest } from '../../src/kernels/kernels.ts'
import { createTwin, digestTerm, xxh64OfPage } from '../../src/kernels/twin.ts'
import { MAX_CHANNELS } from '../../src/limits.ts'
import {
  type Content,
  fillPage,
  PAGE_BYTES,
  placesOf,
  sameBytes,
  seeded,
  twoGuests,
  writeContent,
  writeList,
} from './memory-fixture.ts'

const PAGES = 32
const [guest, twinGuest] = twoGuests(PAGES)
const sides = [
  { memory: guest, kernels: loadKernels(guest) },
  { memory: twinGuest, kernels: createTwin(twinGuest) },
] as const
const places = placesOf(guest)
const { h64Raw } = await xxhash()

const content: fc.Arbitrary<Content> = fc.oneof(
  fc.constant<Content>({ kind: 'zero' }),
  fc.record({ kind: fc.constant('bit' as const), bit: fc.oneof(fc.constantFrom(0, 32767), fc.nat(32767)) }),
  fc.record({ kind: fc.constant('random' as const), seed: fc.nat() }),
)
const contents = fc.array(content, { minLength: PAGES, maxLength: PAGES })
const list = fc.uniqueArray(fc.nat(PAGES - 1), { maxLength: PAGES })
const run = fc.tuple(fc.nat(PAGES), fc.nat(PAGES)).map(([a, b]): [number, number] => [Math.min(a, b), Math.abs(a - b)])

/** Runs the same on both sides and expects equal results and equal memories. */
function onBoth<T>(action: (memory: typeof guest, kernels: Kernels) => T): T {
  const [actual, expected] = sides.map(({ memory, kernels }) => action(memory, kernels))
  expect(actual).toEqual(expected)
  expect(sameBytes(guest.bytes, twinGuest.bytes)).toBe(true)
  // Up to the end of the staging in use; all of it once at the end.
  const end = places.staging + PAGES * PAGE_BYTES
  expect(sameBytes(guest.controlBytes.subarray(0, end), twinGuest.controlBytes.subarray(0, end))).toBe(true)
  return actual as T
}
/** Pages that are free, on both sides (R17). */
const freePages = fc.uniqueArray(fc.nat(PAGES - 1), { maxLength: PAGES })
const freeOnBoth = (pages: readonly number[]): void => {
  for (const { memory } of sides) {
    memory.free.fill(0)
    for (const page of pages) memory.free[page] = 1
  }
}
const fillBoth = (all: readonly Content[]): void => {
  for (const { memory } of sides) for (const [page, one] of all.entries()) writeContent(memory, page, one)
}

afterAll(() => expect(sameBytes(guest.controlBytes, twinGuest.controlBytes)).toBe(true))

describe('hash', () => {
  it('equals xxhash-wasm, in the table and in the twin', () => {
    const words = new BigUint64Array(guest.bytes.buffer)
    fc.assert(
      fc.property(content, fc.nat(PAGES - 1), (one, page) => {
        writeContent(guest, page, one)
        const expected = h64Raw(guest.bytes.subarray(page * PAGE_BYTES, (page + 1) * PAGE_BYTES), 0n)
        expect(xxh64OfPage(words, page * 512)).toBe(expected)
        loadKernels(guest).hashRun(page, 1, places.hashes, places.digest)
        const stored = BigInt.asUintN(64, guest.controlLongs[places.hashes / 8 + page] ?? 0n)
        expect(stored).toBe(one.kind === 'zero' ? 0n : expected)
      }),
      seeded(200),
    )
    for (const { memory } of sides) {
      memory.bytes.fill(0)
      memory.controlBytes.fill(0)
    }
  })

  it('finds every single bit of a page', () => {
    const kernels = loadKernels(guest)
    writeList(guest, places.list, [3])
    for (let bit = 0; bit < PAGE_BYTES * 8; bit += 7) {
      writeContent(guest, 3, { kind: 'bit', bit })
      expect(kernels.scan(places.list, 1, places.classes, places.hashes, places.digest, 0)).toBe(0)
    }
    writeContent(guest, 3, { kind: 'zero' })
    expect(kernels.scan(places.list, 1, places.classes, places.hashes, places.digest, 0)).toBe(1)
    guest.controlBytes.fill(0)
  })
})

describe('kernels agree with the twin', () => {
  it('scan, with hash and without', () => {
    fc.assert(
      fc.property(contents, list, fc.constantFrom(0 as const, 1 as const), freePages, (all, pages, hash, free) => {
        fillBoth(all)
        freeOnBoth(free)
        const countsAsZero = (page: number): boolean => all[page]?.kind === 'zero' || free.includes(page)
        const zeroPages = onBoth((memory, kernels) => {
          writeList(memory, places.list, pages)
          return kernels.scan(places.list, pages.length, places.classes, places.hashes, places.digest, hash)
        })
        expect(zeroPages).toBe(pages.filter(countsAsZero).length)
        pages.forEach((page, index) => {
          const expected = countsAsZero(page) ? PAGE_CLASS.zero : PAGE_CLASS.raw
          expect(guest.controlBytes[places.classes + index]).toBe(expected)
        })
      }),
      seeded(100),
    )
  })

  it('hashRun, digestOf and audit', () => {
    fc.assert(
      fc.property(contents, run, fc.nat(PAGES - 1), freePages, (all, [first, count], touched, free) => {
        fillBoth(all)
        freeOnBoth(free)
        onBoth((_, kernels) => kernels.hashRun(first, count, places.hashes, places.digest))
        onBoth((_, kernels) => kernels.digestOf(places.hashes, 0, PAGES))
        onBoth((_, kernels) => kernels.digestOf(places.hashes, first, count))
        expect(onBoth((_, kernels) => kernels.audit(first, count, places.hashes))).toBe(-1)
        const before = guest.bytes[touched * PAGE_BYTES + 4095] ?? 0
        for (const { memory } of sides) memory.bytes[touched * PAGE_BYTES + 4095] = before ^ 1
        // R17: what a free page holds is nobody's business.
        const seen = touched >= first && touched < first + count && !free.includes(touched)
        expect(onBoth((_, kernels) => kernels.audit(first, count, places.hashes))).toBe(seen ? touched : -1)
      }),
      seeded(100),
    )
  })

  it('a free page hashes to 0 whatever it holds, and a page that is no longer free to its content', () => {
    freeOnBoth([5])
    fillBoth(Array.from({ length: PAGES }, (_, seed) => ({ kind: 'random' as const, seed })))
    const hashOf = (page: number): bigint => guest.controlLongs[places.hashes / 8 + page] ?? 0n
    onBoth((_, kernels) => kernels.hashRun(0, PAGES, places.hashes, places.digest))
    expect([hashOf(4), hashOf(5), hashOf(6)].map((hash) => hash === 0n)).toEqual([false, true, false])
    freeOnBoth([])
    expect(onBoth((_, kernels) => kernels.audit(0, PAGES, places.hashes))).toBe(5)
    onBoth((_, kernels) => kernels.hashRun(5, 1, places.hashes, places.digest))
    expect(hashOf(5)).not.toBe(0n)
  })

  it('zeroRun', () => {
    fc.assert(
      fc.property(contents, run, (all, [first, count]) => {
        fillBoth(all)
        onBoth((_, kernels) => kernels.zeroRun(first, count))
        const zeroed = guest.bytes.subarray(first * PAGE_BYTES, (first + count) * PAGE_BYTES)
        expect(zeroed.every((byte) => byte === 0)).toBe(true)
      }),
      seeded(60),
    )
  })

  it('gather and scatter are inverse, takeRun and placeRun too', () => {
    fc.assert(
      fc.property(contents, list, run, (all, pages, [first, count]) => {
        fillBoth(all)
        onBoth((memory, kernels) => {
          writeList(memory, places.list, pages)
          kernels.gather(places.list, pages.length, places.staging)
        })
        const before = guest.bytes.slice()
        onBoth((memory, kernels) => {
          for (const page of pages) memory.bytes.fill(0xee, page * PAGE_BYTES, (page + 1) * PAGE_BYTES)
          kernels.scatter(places.list, pages.length, places.staging)
        })
        expect(sameBytes(guest.bytes, before)).toBe(true)
        onBoth((memory, kernels) => {
          kernels.takeRun(first, count, places.staging)
          memory.bytes.fill(0xdd, first * PAGE_BYTES, (first + count) * PAGE_BYTES)
          kernels.placeRun(first, count, places.staging)
        })
        expect(sameBytes(guest.bytes, before)).toBe(true)
      }),
      seeded(60),
    )
  })

  it('compare', () => {
    fc.assert(
      fc.property(contents, run, fc.nat(PAGES - 1), fc.nat(4095), (all, [first, count], page, at) => {
        fillBoth(all)
        onBoth((_, kernels) => kernels.takeRun(first, count, places.staging))
        expect(onBoth((_, kernels) => kernels.compare(first, count, places.staging))).toBe(-1)
        const before = guest.bytes[page * PAGE_BYTES + at] ?? 0
        for (const { memory } of sides) memory.bytes[page * PAGE_BYTES + at] = before ^ 0x80
        const inside = page >= first && page < first + count
        expect(onBoth((_, kernels) => kernels.compare(first, count, places.staging))).toBe(inside ? page - first : -1)
      }),
      seeded(60),
    )
  })
})

describe('harvest', () => {
  const wide = 256
  const [wideGuest, wideTwin] = twoGuests(wide)
  const marks = fc.array(fc.tuple(fc.nat(wide - 1), fc.integer({ min: 1, max: 255 })), { maxLength: 80 })
  const bits = fc.uint8Array({ minLength: wide / 8, maxLength: wide / 8 })
  const counts = fc.integer({ min: 0, max: wide / 16 }).map((steps) => steps * 16)

  it('agrees with the twin on any cards, old bits and length', () => {
    fc.assert(
      fc.property(marks, bits, counts, (cards, old, count) => {
        const results = [loadKernels(wideGuest), createTwin(wideTwin)].map((kernels, side) => {
          const memory = side === 0 ? wideGuest : wideTwin
          const { layout, controlBytes } = memory
          controlBytes.fill(0, layout.cards[0], layout.presence)
          for (const [page, card] of cards) controlBytes[layout.cards[0] + page] = card
          controlBytes.set(old, layout.dirty)
          return kernels.harvest(layout.cards[0], count, layout.dirty)
        })
        expect(results[0]).toBe(results[1])
        expect(results[0]).toBe(new Set(cards.map(([page]) => page).filter((page) => page < count)).size)
        expect(sameBytes(wideGuest.controlBytes, wideTwin.controlBytes)).toBe(true)
      }),
      seeded(300),
    )
  })

  it('refuses a length that is no multiple of 16', () => {
    expect(() => loadKernels(wideGuest).harvest(wideGuest.layout.cards[0], 17, wideGuest.layout.dirty)).toThrow(/16/)
    expect(() => createTwin(wideTwin).harvest(wideTwin.layout.cards[0], 17, wideTwin.layout.dirty)).toThrow(/16/)
  })
})

describe('nextMarked', () => {
  it('agrees with the twin on any bitmap, start and end', () => {
    const words = 16
    const [guest, twin] = twoGuests(words * 32)
    const bitmap = fc.array(fc.tuple(fc.nat(words - 1), fc.integer()), { maxLength: 4 })
    fc.assert(
      fc.property(bitmap, fc.nat(words), fc.nat(words), (marks, from, end) => {
        const answers = [loadKernels(guest), createTwin(twin)].map((kernels, side) => {
          const { layout, controlWords } = side === 0 ? guest : twin
          controlWords.fill(0, layout.dirty / 4, layout.dirty / 4 + words)
          for (const [word, bits] of marks) controlWords[layout.dirty / 4 + word] = bits
          return kernels.nextMarked(layout.dirty, from, end)
        })
        expect(answers[0]).toBe(answers[1])
      }),
      seeded(300),
    )
  })
})

describe('digest', () => {
  it('is the sum of terms over all threads whatever the order, and follows changes', () => {
    const [memory] = twoGuests(PAGES)
    const kernels = loadKernels(memory)
    const { hashes, threadBlocks } = memory.layout
    const slot = (thread: number): number => threadBlocks + thread * THREAD_BLOCK.bytes + THREAD_BLOCK.digest
    for (let page = 0; page < PAGES; page++) {
      if (page % 3) fillPage(memory, page, page)
      kernels.hashRun(page, 1, hashes, slot(page % (MAX_CHANNELS + 1)))
    }
    expect(digestTotal(memory)).toBe(kernels.digestOf(hashes, 0, PAGES))
    // Another thread hashes the changed page: its own slot may go below zero, the sum stays right.
    memory.bytes.fill(0, 5 * PAGE_BYTES, 6 * PAGE_BYTES)
    fillPage(memory, 6, 99)
    kernels.hashRun(5, 2, hashes, slot(MAX_CHANNELS))
    expect(digestTotal(memory)).toBe(kernels.digestOf(hashes, 0, PAGES))
    resetDigest(memory)
    expect(digestTotal(memory)).toBe(0n)
    expect(kernels.digestOf(hashes, 0, PAGES)).toBe(0n)
    kernels.hashRun(0, PAGES, hashes, slot(0))
    expect(digestTotal(memory)).toBe(kernels.digestOf(hashes, 0, PAGES))
  })

  it('has terms as documented: fixed values', () => {
    expect(digestTerm(0n, 7)).toBe(0n)
    expect(digestTerm(1n, 0)).toBe(0xf7622d3784a0ad54n)
    expect(digestTerm(0x123456789abcdefn, 2 ** 20 - 1)).toBe(0x31d9208288dfeb53n)
    const [memory] = twoGuests(16)
    memory.bytes.fill(0xff, 0, PAGE_BYTES)
    loadKernels(memory).hashRun(0, 16, memory.layout.hashes, memory.layout.threadBlocks)
    const hash = h64Raw(memory.bytes.subarray(0, PAGE_BYTES), 0n)
    expect(digestTotal(memory)).toBe(digestTerm(hash, 0))
  })
})

describe('bounds', () => {
  it('a run outside the guest never reaches a kernel', () => {
    for (const { kernels } of sides) {
      for (const [first, count] of [
        [PAGES, 1],
        [0, PAGES + 1],
        [-1, 1],
        [1, -1],
        [NaN, 1],
      ] as const) {
        expect(() => kernels.zeroRun(first, count)).toThrow(/outside the guest/)
        expect(() => kernels.hashRun(first, count, places.hashes, places.digest)).toThrow(/outside the guest/)
        expect(() => kernels.placeRun(first, count, places.staging)).toThrow(/outside the guest/)
        expect(() => kernels.takeRun(first, count, places.staging)).toThrow(/outside the guest/)
        expect(() => kernels.compare(first, count, places.staging)).toThrow(/outside the guest/)
        expect(() => kernels.audit(first, count, places.hashes)).toThrow(/outside the guest/)
        expect(() => kernels.digestOf(places.hashes, first, count)).toThrow(/outside the guest/)
      }
    }
  })

  it('a count of 0 does nothing', () => {
    onBoth((_, kernels) => {
      kernels.zeroRun(PAGES, 0)
      kernels.hashRun(PAGES, 0, places.hashes, places.digest)
      kernels.gather(places.list, 0, places.staging)
      kernels.scatter(places.list, 0, places.staging)
      return [
        kernels.scan(places.list, 0, places.classes, places.hashes, places.digest, 1),
        kernels.compare(PAGES, 0, places.staging),
        kernels.audit(PAGES, 0, places.hashes),
        kernels.digestOf(places.hashes, PAGES, 0),
      ]
    })
  })
})
