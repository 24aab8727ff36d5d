// The kernel of stale copies against its plain meaning: xxhash-wasm's hash under a seed, and a list that closes up.

import fc from 'fast-check'
import { expect, it } from 'vitest'
import xxhash from 'xxhash-wasm'
import { createCopyHashes } from '../../src/kernels/copy-hashes.ts'
import { PAGE_CLASS } from '../../src/kernels/kernels.ts'
import { type Content, PAGE_BYTES, placesOf, seeded, twoGuests, writeContent, writeList } from './memory-fixture.ts'

const PAGES = 32
const { h64Raw } = await xxhash()
const [memory] = twoGuests(PAGES)
const { list, classes } = placesOf(memory)
const table = memory.layout.scanHashes

const content: fc.Arbitrary<Content> = fc.oneof(
  fc.constant({ kind: 'zero' as const }),
  fc.record({ kind: fc.constant('bit' as const), bit: fc.nat(8 * PAGE_BYTES - 1) }),
  fc.record({ kind: fc.constant('random' as const), seed: fc.nat(5) }),
)
const contents = fc.array(content, { minLength: PAGES, maxLength: PAGES })
const seed = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n })

function entryOf(page: number, under: bigint): bigint {
  const bytes = Uint8Array.from(memory.bytes.subarray(page * PAGE_BYTES, (page + 1) * PAGE_BYTES))
  return bytes.every((byte) => byte === 0) ? 0n : h64Raw(bytes, under)
}
const tableEntry = (page: number): bigint => BigInt.asUintN(64, memory.controlLongs[table / 8 + page] ?? 0n)

it('tells 0 for a page of zeros, else the seeded hash, of the run and no other page', () => {
  fc.assert(
    fc.property(contents, seed, fc.nat(PAGES), fc.nat(PAGES), (pages, under, one, other) => {
      for (const [page, each] of pages.entries()) writeContent(memory, page, each)
      memory.controlLongs.fill(-7n, table / 8, table / 8 + PAGES)
      const [first, end] = [Math.min(one, other), Math.max(one, other)]
      createCopyHashes(memory, under).tell(first, end - first, table)
      for (let page = 0; page < PAGES; page++) {
        const inside = page >= first && page < end
        expect(tableEntry(page)).toBe(inside ? entryOf(page, under) : BigInt.asUintN(64, -7n))
      }
    }),
    seeded(60),
  )
})

it('leaves out exactly what is as told, free pages as zeros, and keeps the order of the others', () => {
  const listed = fc.uniqueArray(fc.nat(PAGES - 1), { maxLength: PAGES }).map((pages) => pages.sort((a, b) => a - b))
  fc.assert(
    fc.property(
      contents,
      contents,
      fc.array(fc.boolean(), { minLength: PAGES }),
      listed,
      seed,
      (old, now, free, pages, under) => {
        const copy = createCopyHashes(memory, under)
        for (const [page, each] of old.entries()) writeContent(memory, page, each)
        copy.tell(0, PAGES, table)
        for (const [page, each] of now.entries()) writeContent(memory, page, each)
        const zero = (page: number): boolean => free[page] === true || entryOf(page, under) === 0n
        const stay = pages.filter((page) => tableEntry(page) !== (zero(page) ? 0n : entryOf(page, under)))
        writeList(memory, list, pages)
        for (const [index, page] of pages.entries()) {
          memory.controlBytes[classes + index] = zero(page) ? PAGE_CLASS.zero : PAGE_CLASS.raw
        }
        expect(copy.leaveOut(list, classes, pages.length, table)).toBe(stay.length)
        expect([...memory.controlWords.subarray(list / 4, list / 4 + stay.length)]).toEqual(stay)
        const kept = [...memory.controlBytes.subarray(classes, classes + stay.length)]
        expect(kept).toEqual(stay.map((page) => (zero(page) ? PAGE_CLASS.zero : PAGE_CLASS.raw)))
      },
    ),
    seeded(100),
  )
})

it('refuses a run outside the guest', () => {
  const copy = createCopyHashes(memory, 1n)
  expect(() => copy.tell(PAGES, 1, table)).toThrow(/outside the guest/)
})
