// Deltas against the last version sent: round trips, limits, the store, and a decoder under attack.

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createDeltaEncoder, delta, UNCHANGED_BYTES } from '../../src/encoding/delta.ts'
import { PAGE_BYTES, sameBytes, seeded } from '../kernels/memory-fixture.ts'
import {
  attackWithBytes,
  attackWithMutations,
  attackWithTruncations,
  expectAgreement,
} from '../support/hostile-records.ts'
import { recordOf } from '../support/page-records.ts'
import { anyShape, changed, pageOf } from '../support/page-shapes.ts'
import { COPY, context, decoded, encoded, expectExactLimit, placeOf, stage } from '../support/payload-lab.ts'
import '../support/many-cases.ts'

const store = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true })
const versions = new Uint8Array(store.buffer as unknown as SharedArrayBuffer)
const encoder = createDeltaEncoder(context, store)
const SLOT = 5 * PAGE_BYTES
const encode = (to: number, limit: number): number => encoder.encodePage(COPY, SLOT, to, limit)
const slot = versions.subarray(SLOT, SLOT + PAGE_BYTES)

describe('delta', () => {
  it('has wire id 8 and never takes as much as raw', () => {
    expect([delta.id, delta.name, delta.place, delta.maxPayloadBytes(2)]).toEqual([8, 'delta', 'staging', 8190])
    stage(pageOf({ kind: 'full', seed: 1 }))
    slot.fill(0)
    expect(encoder.encodePage(COPY, SLOT, COPY + PAGE_BYTES, 10_000)).toBe(-1)
  })

  it('brings runs of pages to their new versions and touches the store only when told', () => {
    const pairs = fc.array(fc.tuple(anyShape, anyShape), { minLength: 1, maxLength: 4 })
    fc.assert(
      fc.property(pairs, placeOf(4), (shapes, first) => {
        const all = shapes
          .map(([old, change]) => ({ old: pageOf(old), page: changed(pageOf(old), change) }))
          .filter(({ old, page }) => recordOf(old, page).length < PAGE_BYTES)
        const payload = all.map(({ old, page }) => {
          stage(page)
          slot.set(old)
          const bytes = encoded(encode, PAGE_BYTES) ?? new Uint8Array()
          expect(sameBytes(slot, old)).toBe(true)
          expect(encoder.matches(COPY, SLOT)).toBe(bytes.length === UNCHANGED_BYTES)
          encoder.storePage(COPY, SLOT)
          expect(sameBytes(slot, page) && encoder.matches(COPY, SLOT)).toBe(true)
          expect(encoded(encode, PAGE_BYTES)?.length).toBe(UNCHANGED_BYTES)
          return bytes
        })
        if (all.length === 0) return
        const found = decoded(
          delta,
          first,
          all.map(({ old }) => old),
          Buffer.concat(payload),
        )
        expect(Buffer.compare(Buffer.concat(all.map(({ page }) => page)), found as Uint8Array)).toBe(0)
      }),
      seeded(1000),
    )
  })

  it('keeps to its limit to the byte', () => {
    fc.assert(
      fc.property(anyShape, anyShape, fc.integer({ min: -1, max: PAGE_BYTES }), (shape, change, limit) => {
        slot.set(pageOf(shape))
        stage(changed(pageOf(shape), change))
        expectExactLimit(encode, limit)
      }),
      seeded(1000),
    )
  })

  it.each([
    ['a length field past the payload', [5, 0, 1, 1, 7]],
    ['a length field that ends in a pair', [2, 0, 1, 1, 7]],
    ['a pair without its bytes', [3, 0, 1, 2, 7]],
    ['a run of no new bytes', [2, 0, 1, 0]],
    ['a second run of nothing to leave', [6, 0, 1, 1, 7, 0, 1, 7]],
    ['bytes to leave and no pair', [1, 0, 9]],
    ['a length in three bytes', [6, 0, 129, 128, 1, 1, 7, 7]],
    ['a length longer than it has to be', [4, 0, 129, 0, 1, 7]],
    ['a length cut off', [1, 0, 129]],
    ['a run past the page by one', [5, 0, 0xff, 0x1f, 2, 7, 7]],
    ['bytes to leave up to the end and a run', [4, 0, 0x80, 0x20, 1, 7]],
    ['bytes to leave past the page', [4, 0, 0xff, 0x7f, 1, 7]],
    ['bytes behind the last record', [3, 0, 1, 1, 7, 0]],
    ['half a length field', [0]],
  ])('refuses %s', (_, bytes) => {
    const before = [pageOf({ kind: 'random', seed: 4 })]
    expect(decoded(delta, 15, before, Uint8Array.from(bytes))).toBe('bad-payload')
  })

  it('accepts what is just inside the rules', () => {
    const before = [pageOf({ kind: 'random', seed: 4 })]
    const good = [
      [0, 0],
      [3, 0, 0, 1, 7],
      [4, 0, 0xff, 0x1f, 1, 7],
      [6, 0, 1, 1, 7, 1, 1, 7],
    ]
    for (const bytes of good) expect(expectAgreement(delta, 'pages', 15, before, Uint8Array.from(bytes))).toBe(true)
  })

  it('stands against valid payloads with changes', () => attackWithMutations(delta, 'pages'))
  it('stands against noise', () => attackWithBytes(delta, 'pages'))
  it('stands against every truncation', () => attackWithTruncations(delta, 'pages'))
})
