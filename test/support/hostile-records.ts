// The hostile test of sparse and delta: payloads near the format's edges against the plain decoder of page-records.ts.
// The kernel and it must agree about every payload: the same pages, or `bad-payload` from both.

import assert from 'node:assert/strict'
import fc from 'fast-check'
import { expect } from 'vitest'
import type { PageEncoding } from '../../src/encoding/encoding.ts'
import { PAGE_BYTES, sameBytes, seeded } from '../kernels/memory-fixture.ts'
import { placeRecords, recordOf } from './page-records.ts'
import { anyShape, changed, pageOf } from './page-shapes.ts'
import { decoded, mutate, mutations, placeOf } from './payload-lab.ts'

/** Pages to start from, made once: most of the time of a case would go into making them. */
const POOL_PAGES = 400
interface Start {
  readonly old: Uint8Array
  readonly record: Uint8Array
}
function poolOf(onto: 'zeros' | 'pages'): Start[] {
  const made = fc.sample(fc.tuple(anyShape, anyShape), seeded(POOL_PAGES)).map(([shape, change]) => {
    const old = pageOf(shape)
    const base = onto === 'zeros' ? new Uint8Array(PAGE_BYTES) : old
    return { old, record: recordOf(base, changed(base, change)) }
  })
  return made.filter(({ record }) => record.length < PAGE_BYTES)
}
/** A run of one to three pages. */
const run = fc.array(fc.nat(POOL_PAGES - 1), { minLength: 1, maxLength: 3 })
/** Bytes that are often lengths at an edge. */
const edgeByte = fc.oneof(fc.constantFrom(0, 1, 2, 3, 127, 128, 129, 255), fc.nat(255))
/** A record with an honest length field and anything behind it. */
const framed = fc.array(edgeByte, { maxLength: 24 }).map((body) => Uint8Array.of(body.length, 0, ...body))
/** Pairs of arbitrary lengths, written as numbers that may be too long or not shortest, with bytes enough for small ones. */
const pairwise = fc
  .array(
    fc.tuple(
      fc.oneof(fc.nat(6), fc.integer({ min: 4085, max: 4097 }), fc.nat(5000)),
      fc.nat(6),
      fc.constantFrom(0, 0, 0, 1, 2),
    ),
    { maxLength: 6 },
  )
  .map((all) => {
    const body = all.flatMap(([leave, length, form]) => [
      ...number(leave, form),
      ...number(length, form === 2 ? 2 : 0),
      ...Array<number>(length).fill(7),
    ])
    return Uint8Array.of(body.length, 0, ...body)
  })

/** Form 0: shortest; 1: one byte too long; 2: three bytes. */
function number(value: number, form: number): number[] {
  if (form === 2) return [(value & 127) | 128, ((value >> 7) & 127) | 128, 1]
  if (form === 1 || value >= 128) return [(value & 127) | 128, (value >> 7) & 127]
  return [value]
}

/** Decodes `payload` over the given pages and expects what the plain decoder says. Returns whether it was good. */
export function expectAgreement(
  encoding: PageEncoding,
  onto: 'zeros' | 'pages',
  first: number,
  before: readonly Uint8Array[],
  payload: Uint8Array,
): boolean {
  const pages = before.map((page) => (onto === 'zeros' ? new Uint8Array(PAGE_BYTES) : page.slice()))
  const good = placeRecords(payload, pages) && payload.length < before.length * PAGE_BYTES
  const found = decoded(encoding, first, before, payload)
  if (typeof found === 'string' || !good) assert.equal(found, good ? 'pages' : 'bad-payload')
  else assert.ok(sameBytes(Buffer.concat(pages), found), 'other pages than the plain decoder')
  return good
}

/** Valid payloads with up to four changes: 10,000 cases; truncations among them. */
export function attackWithMutations(encoding: PageEncoding, onto: 'zeros' | 'pages', runs = 10_000): void {
  const pool = poolOf(onto)
  let accepted = 0
  fc.assert(
    fc.property(run, placeOf(3), mutations, (picks, first, changes) => {
      const starts = picks.map((pick) => pool[pick % pool.length] as Start)
      const before = starts.map(({ old }) => old)
      const payload = mutate(Buffer.concat(starts.map(({ record }) => record)), changes)
      if (expectAgreement(encoding, onto, first, before, payload)) accepted++
    }),
    seeded(runs),
  )
  // Both ways must have been tried.
  expect(accepted).toBeGreaterThan(runs / 20)
  expect(accepted).toBeLessThan(runs * 0.95)
}

/** Random bytes, framed bytes, pairs of odd numbers: 10,000 cases. */
export function attackWithBytes(encoding: PageEncoding, onto: 'zeros' | 'pages', runs = 10_000): void {
  const noise = fc.uint8Array({ maxLength: 300 })
  const payloads = fc.oneof(noise, fc.array(fc.oneof(framed, pairwise), { minLength: 1, maxLength: 3 }))
  fc.assert(
    fc.property(payloads, placeOf(3), (payload, first) => {
      const parts = payload instanceof Uint8Array ? [payload] : payload
      const before = parts.map((_, index) => pageOf({ kind: 'word', word: BigInt(index) * 0x0101010101010101n }))
      expectAgreement(encoding, onto, first, before, Buffer.concat(parts))
    }),
    seeded(runs),
  )
}

/** Every way to cut off a payload's end. */
export function attackWithTruncations(encoding: PageEncoding, onto: 'zeros' | 'pages'): void {
  const old = pageOf({ kind: 'word', word: 5n })
  const spans: [number, number][] = [
    [3, 2],
    [200, 130],
    [1, 1],
    [4, 300],
    [700, 40],
  ]
  const base = onto === 'zeros' ? new Uint8Array(PAGE_BYTES) : old
  const payload = recordOf(base, changed(base, { kind: 'spans', spans }))
  for (let bytes = 0; bytes < payload.length; bytes++) {
    expect(expectAgreement(encoding, onto, 4, [old], payload.subarray(0, bytes))).toBe(false)
  }
  expect(expectAgreement(encoding, onto, 4, [old], payload)).toBe(true)
}
