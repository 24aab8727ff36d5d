// The source's index of what other guests hold: a page of that very hash or none, and hardly ever none by mistake.

import fc from 'fast-check'
import { expect, it } from 'vitest'
import { ForeignIndex } from '../../src/encoding/foreign-index.ts'
import { seeded } from '../kernels/memory-fixture.ts'

const bytesOf = (hashes: readonly bigint[]): Uint8Array => new Uint8Array(BigUint64Array.from(hashes).buffer)
const halves = (hash: bigint): [number, number] => [Number(hash & 0xffffffffn) | 0, Number(hash >> 32n) | 0]
const find = (index: ForeignIndex, hash: bigint): number => index.find(...halves(hash))

/** Few values, so that there are many of one hash, or of one low half. */
const hash = fc.oneof(
  fc.constant(0n),
  fc.bigInt({ min: 0n, max: 40n }),
  fc.bigInt({ min: 0n, max: 8n }).map((high) => (high << 32n) | 5n),
  fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
)

it('finds the first page of a content, and never another', () => {
  fc.assert(
    fc.property(fc.array(hash, { minLength: 1, maxLength: 200 }), fc.nat(200), hash, (hashes, cut, stranger) => {
      const shared = ForeignIndex.create(hashes.length)
      const index = new ForeignIndex(shared)
      index.add(0, bytesOf(hashes.slice(0, cut)))
      index.add(Math.min(cut, hashes.length), bytesOf(hashes.slice(cut)))
      const other = new ForeignIndex(shared)
      for (const each of [...hashes, stranger]) {
        const page = find(other, each)
        const first = hashes.indexOf(each)
        if (each === 0n || first < 0) expect(page).toBe(-1)
        else if (page >= 0) expect(page).toBe(first)
      }
      // Where hashes are spread, everything is found; forty of one low half may not be.
      if (new Set(hashes).size <= 16)
        for (const each of hashes) if (each !== 0n) expect(find(other, each)).toBeGreaterThanOrEqual(0)
    }),
    seeded(500),
  )
})

it('finds nearly all of many', () => {
  const pages = 32_768
  const index = new ForeignIndex(ForeignIndex.create(pages))
  const random = fc.sample(fc.bigInt({ min: 1n, max: 2n ** 64n - 1n }), { numRuns: 1, seed: 1 })[0] as bigint
  const hashes = Array.from({ length: pages }, (_, page) =>
    BigInt.asUintN(64, (random + BigInt(page)) * 0x9e3779b97f4a7c15n),
  )
  index.add(0, bytesOf(hashes))
  const found = hashes.filter((each) => find(index, each) >= 0).length
  expect(found / pages).toBeGreaterThan(0.999)
})

it('of no page finds nothing', () => {
  const index = new ForeignIndex(ForeignIndex.create(0))
  expect(index.find(1, 1)).toBe(-1)
})
