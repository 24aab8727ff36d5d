// Requests to a page service: read back however the bytes are cut, and hostile ones refused by name.

import fc from 'fast-check'
import { expect, it } from 'vitest'
import { GodwitError } from '../../src/errors.ts'
import { BATCH_PAGES, COPY_HASHES } from '../../src/limits.ts'
import { answerBytes, encodePageRequest, type PageRequest, PageRequestReader } from '../../src/wire/page-request.ts'
import { seeded } from '../kernels/memory-fixture.ts'

const PAGES = 100_000
const hashes = fc
  .record({
    first: fc.nat(PAGES - 1),
    count: fc.integer({ min: 1, max: COPY_HASHES }),
    seed: fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
  })
  .map(
    ({ first, count, seed }): PageRequest => ({ what: 'hashes', first, count: Math.min(count, PAGES - first), seed }),
  )
const pages = fc
  .uint32Array({ minLength: 1, maxLength: BATCH_PAGES, max: PAGES - 1 })
  .map((list): PageRequest => ({ what: 'pages', pages: list }))
const request = fc.oneof(hashes, pages)

it('are read back one by one, however the bytes are cut', () => {
  fc.assert(
    fc.property(
      fc.array(request, { minLength: 1, maxLength: 4 }),
      fc.infiniteStream(fc.integer({ min: 1, max: 400 })),
      (all, cuts) => {
        const reader = new PageRequestReader(PAGES)
        for (const one of all) {
          const bytes = encodePageRequest(one)
          let found: PageRequest | null = null
          for (let at = 0; at < bytes.length; ) {
            expect(found).toBeNull()
            const cut = cuts.next().value as number
            found = reader.push(bytes.subarray(at, at + cut))
            at += cut
          }
          expect(found).toEqual(one)
          expect(answerBytes(one)).toBe(one.what === 'hashes' ? 8 * one.count : 4096 * one.pages.length)
        }
      },
    ),
    seeded(300),
  )
})

it('that are hostile are refused, or lie inside the guest', () => {
  const flips = fc.array(fc.tuple(fc.nat(), fc.nat(255)), { maxLength: 6 })
  const noise = fc.uint8Array({ maxLength: 64 })
  const counts = { good: 0, refused: 0 }
  fc.assert(
    fc.property(fc.oneof(request, noise), flips, fc.integer({ min: 1, max: 300 }), (from, changes, portion) => {
      const bytes = from instanceof Uint8Array ? from : encodePageRequest(from)
      for (const [at, value] of changes) if (bytes.length > 0) bytes[at % bytes.length] = value
      const reader = new PageRequestReader(PAGES)
      try {
        for (let at = 0; at < bytes.length; at += portion) {
          const found = reader.push(bytes.subarray(at, at + portion))
          if (found === null) continue
          counts.good++
          if (found.what === 'pages') for (const page of found.pages) expect(page).toBeLessThan(PAGES)
          else expect(found.first + found.count).toBeLessThanOrEqual(PAGES)
        }
      } catch (thrown) {
        if (!(thrown instanceof GodwitError)) throw thrown
        expect(thrown.code).toBe('bad-message')
        counts.refused++
      }
    }),
    seeded(10_000),
  )
  for (const count of Object.values(counts)) expect(count).toBeGreaterThan(500)
})

it('name what is wrong', () => {
  const refusal = (bytes: Uint8Array): unknown => {
    try {
      new PageRequestReader(10).push(bytes)
      return null
    } catch (thrown) {
      return (thrown as GodwitError).message
    }
  }
  const list = (...numbers: number[]): Buffer => encodePageRequest({ what: 'pages', pages: Uint32Array.from(numbers) })
  const told = (first: number, count: number): Buffer => encodePageRequest({ what: 'hashes', first, count, seed: 0n })
  expect(refusal(list(9))).toBeNull()
  expect(refusal(told(0, 10))).toBeNull()
  expect(refusal(list(10))).toMatch('page 10 of 10')
  expect(refusal(list())).toMatch('0 pages')
  expect(refusal(list(...Array<number>(BATCH_PAGES + 1).fill(0)))).toMatch(/257 pages|bytes long/)
  expect(refusal(told(0, 11))).toMatch('11 pages')
  expect(refusal(told(0xffffffff, 2))).toMatch('4294967295')
  expect(refusal(told(0, 0))).toMatch('0 pages')
  expect(refusal(Uint8Array.of(0))).toMatch('kind 0')
  expect(refusal(Buffer.concat([list(1), list(1)]))).toMatch('behind its end')
})
