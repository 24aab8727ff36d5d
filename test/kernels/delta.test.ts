// delta.wat held to the plain record format of page-records.ts, byte for byte, and 100,000 versions of a page sent as
// deltas from a store to a guest page.

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { CODEC_AREA } from '../../src/guest/layout.ts'
import { GuestMemory } from '../../src/guest/memory.ts'
import { loadDeltaKernels, MAP_BYTES } from '../../src/kernels/delta.ts'
import { WASM_PAGE_BYTES } from '../../src/limits.ts'
import { recordOf, runsOf } from '../support/page-records.ts'
import { anyShape, changed, numbers, pageOf } from '../support/page-shapes.ts'
import { PAGE_BYTES, sameBytes, seeded } from './memory-fixture.ts'

const memory = GuestMemory.create(WASM_PAGE_BYTES, 1)
const store = new WebAssembly.Memory({ initial: 1, maximum: 1, shared: true })
const stored = new Uint8Array(store.buffer as unknown as SharedArrayBuffer)
const kernels = loadDeltaKernels(memory, store)
const { controlBytes } = memory
const COPY = memory.layout.codecs
const SCRATCH = COPY + CODEC_AREA.tables
const OUTPUT = memory.layout.staging
/** A version that ends with the store, so that nothing may be read behind it. */
const AT = WASM_PAGE_BYTES - PAGE_BYTES
const NO_LIMIT = 2 * PAGE_BYTES
const zeros = new Uint8Array(PAGE_BYTES)

describe('records', () => {
  it('of sparse and delta are those of the plain encoder, and within their bound', () => {
    fc.assert(
      fc.property(anyShape, anyShape, (shape, change) => {
        const old = pageOf(shape)
        const page = changed(old, change)
        stored.set(old, AT)
        controlBytes.set(page, COPY)
        for (const against of [old, zeros]) {
          const bytes =
            against === old
              ? kernels.encodeDelta(COPY, AT, OUTPUT, NO_LIMIT, SCRATCH)
              : kernels.encodeSparse(COPY, OUTPUT, NO_LIMIT, SCRATCH)
          const expected = recordOf(against, page)
          expect(bytes).toBe(expected.length)
          expect(sameBytes(controlBytes.subarray(OUTPUT, OUTPUT + bytes), expected)).toBe(true)
          // 2 for the record, at most 4 a run, its bytes; no run is worth less than the gap that it leaves.
          const runs = runsOf(against, page)
          const differing = page.reduce((sum, byte, at) => sum + (byte === against[at] ? 0 : 1), 0)
          expect(bytes).toBeLessThanOrEqual(2 + 4 * runs.length + runs.reduce((sum, [a, b]) => sum + b - a, 0))
          expect(bytes).toBeLessThanOrEqual(2 + Math.max(0, 5 * differing))
          expect(bytes).toBeLessThanOrEqual(2 + PAGE_BYTES + 3)
        }
        expect(sameBytes(stored.subarray(AT), old)).toBe(true)
        expect(sameBytes(controlBytes.subarray(COPY, COPY + PAGE_BYTES), page)).toBe(true)
      }),
      seeded(1000),
    )
  })

  it('of 21 changed bytes take 26 (XBZRLE: 24, and its length is in its header)', () => {
    const old = pageOf({ kind: 'random', seed: 1 })
    stored.set(old, AT)
    controlBytes.set(changed(old, { kind: 'spans', spans: [[1000, 21]] }), COPY)
    expect(kernels.encodeDelta(COPY, AT, OUTPUT, NO_LIMIT, SCRATCH)).toBe(2 + 2 + 1 + 21)
  })

  it('use no more scratch than MAP_BYTES', () => {
    const around = controlBytes.subarray(SCRATCH - 64, SCRATCH + MAP_BYTES + 64)
    for (const shape of [
      { kind: 'full', seed: 3 },
      { kind: 'word', word: 0n },
    ] as const) {
      around.fill(0x5a)
      controlBytes.set(pageOf(shape), COPY)
      kernels.encodeSparse(COPY, OUTPUT, NO_LIMIT, SCRATCH)
      expect([...around.subarray(0, 64), ...around.subarray(-64)].every((byte) => byte === 0x5a)).toBe(true)
    }
  })

  it('end at once when over the limit, whatever the page', () => {
    controlBytes.set(pageOf({ kind: 'random', seed: 9 }), COPY)
    for (const limit of [-5, 0, 1, 2, 100, 4000]) {
      expect(kernels.encodeSparse(COPY, OUTPUT, limit, SCRATCH)).toBe(-1)
    }
  })
})

describe('the store', () => {
  it('takes a page and tells every bit that differs', () => {
    const page = pageOf({ kind: 'random', seed: 2 })
    controlBytes.set(page, COPY)
    stored.fill(0x77)
    kernels.storePage(COPY, AT - PAGE_BYTES)
    expect(sameBytes(stored.subarray(AT - PAGE_BYTES, AT), page)).toBe(true)
    expect(stored.subarray(AT).every((byte) => byte === 0x77)).toBe(true)
    expect(stored.subarray(0, AT - PAGE_BYTES).every((byte) => byte === 0x77)).toBe(true)
    expect(kernels.matches(COPY, AT - PAGE_BYTES)).toBe(true)
    for (let bit = 0; bit < 8 * PAGE_BYTES; bit += 5) {
      controlBytes[COPY + (bit >> 3)] = (page[bit >> 3] ?? 0) ^ (1 << (bit & 7))
      expect(kernels.matches(COPY, AT - PAGE_BYTES)).toBe(false)
      controlBytes[COPY + (bit >> 3)] = page[bit >> 3] ?? 0
    }
  })

  it('is not needed to decode, nor for sparse', () => {
    const without = loadDeltaKernels(memory)
    controlBytes.set(pageOf({ kind: 'spans', spans: [[9, 9]] }), COPY)
    const bytes = without.encodeSparse(COPY, OUTPUT, NO_LIMIT, SCRATCH)
    expect(without.placeRecords(3, 1, OUTPUT, bytes, 'zeros')).toBe(bytes)
    expect(() => without.storePage(COPY, 0)).toThrow('out of bounds')
  })
})

describe('pages', () => {
  it('must lie in the guest', () => {
    for (const [first, count] of [
      [15, 2],
      [-1, 1],
      [16, 1],
    ] as const) {
      expect(() => kernels.placeRecords(first, count, OUTPUT, 100, 'pages')).toThrow('outside the guest')
      expect(() => kernels.placeFill(first, count, OUTPUT)).toThrow('outside the guest')
    }
  })

  it('follow 100,000 versions by deltas (G21.5)', () => {
    const next = numbers(Number(process.env.GODWIT_SEED ?? 21))
    const page = 15
    const guest = memory.bytes.subarray(page * PAGE_BYTES, (page + 1) * PAGE_BYTES)
    const copy = controlBytes.subarray(COPY, COPY + PAGE_BYTES)
    let wrong = 0
    let encoded = 0
    for (let version = 0; version < 100_000; version++) {
      if (version % 500 === 0) {
        copy.set(pageOf(version % 1000 === 0 ? { kind: 'random', seed: next() } : { kind: 'word', word: 0n }))
        kernels.storePage(COPY, AT)
        guest.set(copy)
      }
      for (let changes = next() % 24; changes > 0; changes--) {
        const at = next() % PAGE_BYTES
        const step = next() % 8 === 0 ? 1 + (next() % 5) : 1
        const value = next() & 255
        const end = Math.min(PAGE_BYTES, at + (next() % 64 === 0 ? next() % PAGE_BYTES : next() % 40))
        for (let index = at; index < end; index += step) copy[index] = value + index
      }
      const bytes = kernels.encodeDelta(COPY, AT, OUTPUT, PAGE_BYTES - 1, SCRATCH)
      if (bytes < 0) guest.set(copy)
      else {
        encoded++
        if (kernels.placeRecords(page, 1, OUTPUT, bytes, 'pages') !== bytes) wrong++
      }
      kernels.storePage(COPY, AT)
      if (!sameBytes(guest, copy)) wrong++
    }
    expect(wrong).toBe(0)
    expect(encoded).toBeGreaterThan(95_000)
  })
})
