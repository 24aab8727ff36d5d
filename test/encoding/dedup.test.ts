// References at the destination: what is right is placed, what is wrong is missing, what is hostile is refused, and no
// other page is touched in any case.

import assert from 'node:assert/strict'
import fc from 'fast-check'
import { beforeEach, describe, expect, it } from 'vitest'
import { createReferenceWriter, dedup } from '../../src/encoding/dedup.ts'
import type { EncodingContext, RunDecoder } from '../../src/encoding/encoding.ts'
import type { GodwitError } from '../../src/errors.ts'
import { CODEC_AREA } from '../../src/guest/layout.ts'
import { GuestMemory } from '../../src/guest/memory.ts'
import { loadKernels } from '../../src/kernels/kernels.ts'
import { createReferenceKernel, REFERENCE_BYTES } from '../../src/kernels/reference.ts'
import { fillPage, PAGE_BYTES, sameBytes, seeded } from '../kernels/memory-fixture.ts'

const PAGES = 32
const SEED = 0xfedc_ba98_7654_3210n
const memory = GuestMemory.create(PAGES * PAGE_BYTES, 1)
const { controlBytes, layout } = memory
const payload = layout.staging + 4096
const missing: number[] = []
const context: EncodingContext = {
  memory,
  kernels: loadKernels(memory),
  area: layout.codecs,
  session: { seed: SEED, missing: (page) => missing.push(page) },
}
const decoder: RunDecoder = dedup.createDecoder(context)
const write = createReferenceWriter(context, SEED)
const before = new Uint8Array(PAGES * PAGE_BYTES)

/** Pages of six contents, so that some are equal. */
beforeEach(() => {
  for (let page = 0; page < PAGES; page++) fillPage(memory, page, page % 6)
  before.set(memory.bytes)
  missing.length = 0
})

const pageOf = (bytes: Uint8Array, page: number): Uint8Array =>
  bytes.subarray(page * PAGE_BYTES, (page + 1) * PAGE_BYTES)
/** Writes the reference of page `like`'s content to the origin, at index `at` of the payload. */
function refer(at: number, like: number, origin: number): void {
  controlBytes.set(pageOf(before, like), layout.codecs)
  write(layout.codecs, origin, payload + at * REFERENCE_BYTES)
}
function decode(first: number, count: number): string | null {
  try {
    dedup.checkPayload(count, count * REFERENCE_BYTES)
    decoder.decodeRun(first, count, payload, count * REFERENCE_BYTES)
    return null
  } catch (thrown) {
    return (thrown as GodwitError).code ?? 'internal'
  }
}

describe('references', () => {
  it('place what the origin holds, also over a run, and in any alignment', () => {
    for (const [at, origin] of [6, 7, 8].entries()) refer(at, origin, origin)
    expect(decode(1, 3)).toBeNull()
    for (const [at, origin] of [6, 7, 8].entries()) {
      expect(sameBytes(pageOf(memory.bytes, 1 + at), pageOf(before, origin))).toBe(true)
    }
    expect(missing).toEqual([])
  })

  it('whose origin holds something else leave the page alone and name it missing', () => {
    refer(0, 1, 2)
    refer(1, 3, 9)
    expect(decode(20, 2)).toBeNull()
    expect(missing).toEqual([20])
    expect(sameBytes(pageOf(memory.bytes, 20), pageOf(before, 20))).toBe(true)
    expect(sameBytes(pageOf(memory.bytes, 21), pageOf(before, 3))).toBe(true)
  })

  it('under another seed are of no use: a stranger cannot make a page pass for another', () => {
    controlBytes.set(pageOf(before, 4), layout.codecs)
    createReferenceKernel(memory, SEED ^ 1n).refer(layout.codecs, 4, payload)
    expect(decode(20, 1)).toBeNull()
    expect(missing).toEqual([20])
  })

  it('to the page itself or outside the guest are bad-payload', () => {
    for (const origin of [20, PAGES, PAGES + 1, 0x7fffffff, 0x80000000, 0xffffffff]) {
      refer(0, 4, origin)
      expect(decode(20, 1)).toBe('bad-payload')
    }
    expect(sameBytes(memory.bytes, before)).toBe(true)
  })

  it('may refer to a page of the same run that was placed before them, and that is all they see', () => {
    refer(0, 4, 10)
    refer(1, 4, 20)
    expect(decode(20, 2)).toBeNull()
    expect(missing).toEqual([])
    expect(sameBytes(pageOf(memory.bytes, 21), pageOf(before, 4))).toBe(true)
  })

  it('in a stream without a seed are bad-payload', () => {
    const { session: _, ...without } = context
    expect(() => dedup.createDecoder(without)).toThrow(/no seed/)
  })
})

it('hostile references: right, missing or refused, and no other page changes', () => {
  const origin = fc.oneof(fc.nat(PAGES - 1), fc.nat(PAGES + 2), fc.integer({ min: 0, max: 0xffffffff }))
  const record = fc.record({
    like: fc.nat(PAGES - 1),
    origin,
    honest: fc.boolean(),
    flip: fc.option(fc.nat(95), { freq: 3 }),
  })
  const counts = { good: 0, missing: 0, refused: 0 }
  const group = layout.codecs + CODEC_AREA.group
  fc.assert(
    fc.property(fc.array(record, { minLength: 1, maxLength: 4 }), fc.nat(PAGES - 4), (records, first) => {
      memory.bytes.set(before)
      missing.length = 0
      for (const [at, { like, origin: any, honest, flip }] of records.entries()) {
        refer(at, like, honest ? like : any)
        if (flip === null) continue
        const byte = payload + at * REFERENCE_BYTES + (flip >> 3)
        controlBytes[byte] = (controlBytes[byte] as number) ^ (1 << (flip & 7))
      }
      // What lies around the payload, and the pages of an lz4 block that wait for their runs, are not touched.
      const end = payload + records.length * REFERENCE_BYTES
      controlBytes.fill(0xa5, payload - 64, payload)
      controlBytes.fill(0xa5, end, end + 64)
      controlBytes.fill(0xa5, group, group + PAGE_BYTES)
      const code = decode(first, records.length)
      for (const [from, to] of [
        [payload - 64, payload],
        [end, end + 64],
        [group, group + PAGE_BYTES],
      ] as const) {
        for (let at = from; at < to; at += 13) assert.equal(controlBytes[at], 0xa5)
      }
      assert.ok(code === null || code === 'bad-payload', `${code}`)
      const [start, stop] = [first * PAGE_BYTES, (first + records.length) * PAGE_BYTES]
      assert.ok(sameBytes(memory.bytes.subarray(0, start), before.subarray(0, start)))
      assert.ok(sameBytes(memory.bytes.subarray(stop), before.subarray(stop)))
      for (let page = first; page < first + records.length; page++) {
        const [now, was] = [pageOf(memory.bytes, page), pageOf(before, page)]
        // Whatever is here now was one of the guest's pages: nothing is ever made up.
        const known = [0, 1, 2, 3, 4, 5].some((content) => sameBytes(now, pageOf(before, content)))
        assert.ok(known)
        if (missing.includes(page)) assert.ok(sameBytes(now, was))
      }
      if (code !== null) counts.refused++
      else if (missing.length > 0) counts.missing++
      else counts.good++
    }),
    seeded(10_000),
  )
  // Of 10,000 some 560 are good, give or take 25.
  for (const count of Object.values(counts)) expect(count).toBeGreaterThan(300)
})
