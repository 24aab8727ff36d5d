// Pages of few bytes that are not zero: round trips, limits, and a decoder under attack.

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createSparseEncoder, sparse } from '../../src/encoding/sparse.ts'
import { PAGE_BYTES, seeded } from '../kernels/memory-fixture.ts'
import { attackWithBytes, attackWithMutations, attackWithTruncations } from '../support/hostile-records.ts'
import { recordOf } from '../support/page-records.ts'
import { anyShape, pageOf } from '../support/page-shapes.ts'
import { COPY, context, decoded, encoded, expectExactLimit, placeOf, stage } from '../support/payload-lab.ts'
import '../support/many-cases.ts'

const encoder = createSparseEncoder(context)
const encode = (to: number, limit: number): number => encoder.encodePage(COPY, to, limit)
const zeros = new Uint8Array(PAGE_BYTES)

describe('sparse', () => {
  it('has wire id 4 and never takes as much as raw', () => {
    expect([sparse.id, sparse.name, sparse.place, sparse.maxPayloadBytes(2)]).toEqual([4, 'sparse', 'staging', 8190])
    stage(pageOf({ kind: 'full', seed: 1 }))
    expect(encoder.encodePage(COPY, COPY + PAGE_BYTES, 10_000)).toBe(-1)
  })

  it('brings runs of pages across, whatever lay there', () => {
    fc.assert(
      fc.property(fc.array(anyShape, { minLength: 1, maxLength: 4 }), placeOf(4), anyShape, (shapes, first, before) => {
        const pages = shapes.map(pageOf).filter((page) => recordOf(zeros, page).length < PAGE_BYTES)
        const payload = pages.map((page) => {
          stage(page)
          return encoded(encode, PAGE_BYTES) ?? new Uint8Array()
        })
        if (pages.length === 0) return
        const base = pages.map(() => pageOf(before))
        const found = decoded(sparse, first, base, Buffer.concat(payload))
        expect(Buffer.compare(Buffer.concat(pages), found as Uint8Array)).toBe(0)
      }),
      seeded(1000),
    )
  })

  it('keeps to its limit to the byte', () => {
    fc.assert(
      fc.property(anyShape, fc.integer({ min: -1, max: PAGE_BYTES }), (shape, limit) => {
        stage(pageOf(shape))
        expectExactLimit(encode, limit)
      }),
      seeded(1000),
    )
  })

  it('stands against valid payloads with changes', () => attackWithMutations(sparse, 'zeros'))
  it('stands against noise', () => attackWithBytes(sparse, 'zeros'))
  it('stands against every truncation', () => attackWithTruncations(sparse, 'zeros'))
})
