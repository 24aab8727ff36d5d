// Pages of one repeated word: round trips, limits, and payloads that do not fit.

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createFillEncoder, fill } from '../../src/encoding/fill.ts'
import { PAGE_BYTES, seeded } from '../kernels/memory-fixture.ts'
import { anyShape, pageOf } from '../support/page-shapes.ts'
import { COPY, context, decoded, encoded, expectExactLimit, placeOf, stage } from '../support/payload-lab.ts'
import '../support/many-cases.ts'

const encoder = createFillEncoder(context)
const encode = (to: number, limit: number): number => encoder.encodePage(COPY, to, limit)
const word = fc.oneof(
  fc.constantFrom(0n, 1n, 2n ** 64n - 1n, 0x00ff00ff00ff00ffn),
  fc.bigInt({ min: 0n, max: 2n ** 64n - 1n }),
)

describe('fill', () => {
  it('has wire id 3 and 8 bytes a page', () => {
    expect([fill.id, fill.name, fill.place, fill.maxPayloadBytes(5)]).toEqual([3, 'fill', 'staging', 40])
  })

  it('brings runs of such pages across', () => {
    fc.assert(
      fc.property(fc.array(word, { minLength: 1, maxLength: 8 }), placeOf(8), anyShape, (words, first, before) => {
        const pages = words.map((one) => pageOf({ kind: 'word', word: one }))
        const payload = pages.map((page) => {
          stage(page)
          return encoded(encode, 8) ?? new Uint8Array()
        })
        const base = pages.map(() => pageOf(before))
        const found = decoded(fill, first, base, Buffer.concat(payload))
        expect(Buffer.compare(Buffer.concat(pages), found as Uint8Array)).toBe(0)
      }),
      seeded(500),
    )
  })

  it('declines a page with a single other bit, and a limit below 8', () => {
    const page = pageOf({ kind: 'word', word: 0x0102030405060708n })
    stage(page)
    expectExactLimit(encode, 7)
    expect(encoded(encode, 8)).toEqual(page.slice(0, 8))
    for (let bit = 0; bit < PAGE_BYTES * 8; bit += 11) {
      const other = page.slice()
      other[bit >> 3] = (other[bit >> 3] ?? 0) ^ (1 << (bit & 7))
      stage(other)
      expect(encoded(encode, 8)).toBeUndefined()
    }
  })

  it('takes any bytes of the right length, and no others', () => {
    const counted = fc.integer({ min: 1, max: 4 }).chain((count) => {
      const exact = fc.uint8Array({ minLength: 8 * count, maxLength: 8 * count })
      return fc.tuple(fc.constant(count), fc.oneof(exact, fc.uint8Array({ maxLength: 40 })))
    })
    const property = fc.property(counted, placeOf(4), ([count, bytes], first) => {
      const before = Array.from({ length: count }, () => new Uint8Array(PAGE_BYTES))
      const found = decoded(fill, first, before, bytes)
      if (bytes.length !== 8 * count) {
        expect(found).toBe('bad-payload')
        return
      }
      const pages = before.map((page, index) => page.map((_, at) => bytes[8 * index + (at % 8)] ?? 0))
      expect(Buffer.compare(Buffer.concat(pages), found as Uint8Array)).toBe(0)
    })
    fc.assert(property, seeded(10_000))
  })
})
