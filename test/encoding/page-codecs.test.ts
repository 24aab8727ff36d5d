// `pattern` and `packed`: exact round trips, held to plain decoders and size laws; limits to the byte; hostile payloads.

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { createPackedEncoder, packed } from '../../src/encoding/packed.ts'
import { createPatternEncoder, pattern } from '../../src/encoding/pattern.ts'
import { CODEC_AREA } from '../../src/guest/layout.ts'
import { loadKernels } from '../../src/kernels/kernels.ts'
import { PAGE_BYTES, sameBytes, seeded, twoGuests } from '../kernels/memory-fixture.ts'
import { anyPage, contentPage } from './page-arbitraries.ts'
import { type Decoded, decodePacked, decodePattern, packedBytes, patternBytes } from './reference-codecs.ts'
import '../support/many-cases.ts'

const PAGES = 16
const [memory] = twoGuests(PAGES)
const context = { memory, kernels: loadKernels(memory), area: memory.layout.codecs }
const { controlBytes } = memory
const from = context.area + CODEC_AREA.copies
const to = memory.layout.staging
/** More than any page takes: WKdm needs 4,364 bytes for one without a hit. */
const ROOM = 8192
const GUARD = 0xa5
const GUARDS = Buffer.alloc(PAGES * PAGE_BYTES, GUARD)
/** Whether these bytes still are what they were filled with. */
const untouched = (bytes: Uint8Array): boolean => sameBytes(bytes, GUARDS.subarray(0, bytes.length))

const CASES = [
  {
    encoding: pattern,
    encoder: createPatternEncoder(context),
    decoder: pattern.createDecoder(context),
    reference: decodePattern,
    sizeOf: patternBytes,
    least: 268,
  },
  {
    encoding: packed,
    encoder: createPackedEncoder(context),
    decoder: packed.createDecoder(context),
    reference: decodePacked,
    sizeOf: packedBytes,
    least: 24,
  },
] as const
type Case = (typeof CASES)[number]

/** Encodes to `to + shift` with guards on both sides; undefined when it does not fit. */
function encoded({ encoder }: Case, page: Uint8Array, limit: number, shift = 0): Uint8Array | undefined {
  controlBytes.set(page, from)
  controlBytes.fill(GUARD, to, to + 2 * ROOM)
  const at = to + 64 + shift
  const length = encoder.encodePage(from, at, limit)
  expect(untouched(controlBytes.subarray(to, at))).toBe(true)
  expect(untouched(controlBytes.subarray(at + limit, to + 2 * ROOM))).toBe(true)
  expect(sameBytes(controlBytes.subarray(from, from + PAGE_BYTES), page)).toBe(true)
  return length < 0 ? undefined : controlBytes.slice(at, at + length)
}

/** What decodeRun makes of a payload at an odd place: its pages, or the code of the error. Nothing else may change. */
function decoded({ decoder }: Case, payload: Uint8Array, first: number, count: number): Uint8Array | string {
  memory.bytes.fill(GUARD)
  controlBytes.fill(GUARD, to, to + 64 + payload.length + 64)
  controlBytes.set(payload, to + 67)
  const before = controlBytes.slice(to, to + 128 + payload.length)
  let code: string | undefined
  try {
    decoder.decodeRun(first, count, to + 67, payload.length)
  } catch (error) {
    code = (error as { code: string }).code
  }
  const [start, end] = [first * PAGE_BYTES, (first + count) * PAGE_BYTES]
  expect(untouched(memory.bytes.subarray(0, start)) && untouched(memory.bytes.subarray(end))).toBe(true)
  expect(sameBytes(controlBytes.subarray(to, to + 128 + payload.length), before)).toBe(true)
  return code ?? memory.bytes.slice(start, end)
}

/** What the plain decoder says about a run: its pages, or bad-payload. */
function expected(
  reference: (payload: Uint8Array) => Decoded,
  payload: Uint8Array,
  count: number,
): Uint8Array | string {
  const pages: Uint8Array[] = []
  let at = 0
  for (let index = 0; index < count; index++) {
    const one = reference(payload.subarray(at))
    if (one === undefined) return 'bad-payload'
    pages.push(one.page)
    at += one.bytes
  }
  return at === payload.length ? Buffer.concat(pages) : 'bad-payload'
}

describe.each(CASES)('$encoding.name', (one) => {
  it('has its wire id, and payload bounds that hold for hostile numbers', () => {
    expect(one.encoding.id).toBe(one.encoding.name === 'pattern' ? 5 : 6)
    const { checkPayload, maxPayloadBytes } = one.encoding
    for (const count of [1, 2, 256]) {
      checkPayload(count, maxPayloadBytes(count))
      checkPayload(count, one.least * count)
      for (const bytes of [one.least * count - 1, count * PAGE_BYTES, Number.NaN, -1]) {
        expect(() => checkPayload(count, bytes)).toThrow(/run/)
      }
    }
    for (const count of [-1, 0, 0.5, Number.NaN, Infinity]) {
      expect(() => checkPayload(count, maxPayloadBytes(count))).toThrow(/run/)
    }
  })

  it('takes the bytes of its size law, and kernel and plain decoder give the page back', () => {
    fc.assert(
      fc.property(anyPage, fc.nat(PAGES - 1), fc.nat(15), (page, target, shift) => {
        const payload = encoded(one, page, ROOM, shift) as Uint8Array
        expect(payload.length).toBe(one.sizeOf(page))
        expect(Buffer.compare(one.reference(payload)?.page as Uint8Array, page)).toBe(0)
        expect(Buffer.compare(decoded(one, payload, target, 1) as Uint8Array, page)).toBe(0)
      }),
      seeded(600),
    )
  })

  it('keeps the limit to the byte and writes nothing outside it', () => {
    fc.assert(
      fc.property(anyPage, fc.integer({ min: -8, max: PAGE_BYTES }), (page, any) => {
        const bytes = one.sizeOf(page)
        for (const limit of [bytes, bytes - 1, Math.max(any, 0)]) {
          expect(encoded(one, page, limit)?.length).toBe(limit >= bytes ? bytes : undefined)
        }
        expect(one.encoder.encodePage(from, to, any)).toBe(any >= bytes ? bytes : -1)
      }),
      seeded(300),
    )
  })

  it('places a run of several pages', () => {
    fc.assert(
      fc.property(fc.array(anyPage, { minLength: 1, maxLength: 6 }), fc.nat(PAGES - 6), (pages, first) => {
        const payload = Buffer.concat(pages.map((page) => encoded(one, page, ROOM) as Uint8Array))
        expect(Buffer.compare(decoded(one, payload, first, pages.length) as Uint8Array, Buffer.concat(pages))).toBe(0)
      }),
      seeded(100),
    )
  })

  it('shrinks the pages it is for', () => {
    const ratioOf = (wanted: string): number => {
      const pages = Array.from({ length: 60 }, (_, page) => contentPage('mix', page)).filter((p) => p.kind === wanted)
      const bytes = pages.map(({ bytes }) => (encoded(one, bytes, ROOM) as Uint8Array).length)
      return bytes.reduce((sum, length) => sum + length, 0) / (pages.length * PAGE_BYTES)
    }
    if (one.encoding === pattern) expect(ratioOf('sparse')).toBeLessThan(0.16)
    else expect(ratioOf('integers')).toBeLessThan(0.53)
  })
})

describe.each(CASES)('$encoding.name, hostile payloads', (one) => {
  const agrees = (payload: Uint8Array, count: number): void => {
    const actual = decoded(one, payload, 3, count)
    const wanted = expected(one.reference, payload, count)
    if (typeof wanted === 'string') expect(actual).toBe(wanted)
    else expect(Buffer.compare(actual as Uint8Array, wanted)).toBe(0)
  }

  it('random bytes', () => {
    const bytes = fc.oneof(
      fc.uint8Array({ maxLength: 600 }),
      fc.tuple(fc.integer(), fc.nat(5000)).map(([start, length]) => {
        let state = start
        return Uint8Array.from({ length }, () => {
          state = Math.imul(state, 1664525) + 1013904223
          return state >>> 24
        })
      }),
    )
    fc.assert(fc.property(bytes, fc.integer({ min: 1, max: 3 }), agrees), seeded(3000))
  })

  it('headers that are nearly right before random bits', () => {
    const header =
      one.encoding === pattern
        ? fc.tuple(fc.nat(3), fc.nat(3), fc.nat(3), fc.nat(1023)).map(([miss, hits, partials, at]) => {
            const bytes = new Uint8Array(268 + 24)
            bytes.set([miss, 0, 0, 0, hits, 0, 0, 0, partials, 0, 0, 0])
            // A tag each, so that small counts are often those of the tags.
            for (const [index, tag] of [2, 1, 3].entries()) {
              const place = (at + index) & 1023
              bytes[12 + (place >> 2)] = (bytes[12 + (place >> 2)] as number) | (tag << ((place & 3) * 2))
            }
            return bytes
          })
        : fc
            .array(fc.nat(40), { minLength: 8, maxLength: 8 })
            .map((fields) => Uint8Array.from([...Array(16), ...fields]))
    fc.assert(
      fc.property(header, fc.uint8Array({ maxLength: 64 }), fc.nat(300), (bytes, tail, length) => {
        const payload = Buffer.concat([bytes, tail])
        agrees(payload.subarray(0, Math.max(payload.length - length, 0)), 1)
        agrees(payload, 1)
      }),
      seeded(1500),
    )
  })

  it('payloads with bits changed, cut off or lengthened', () => {
    const samples = fc.sample(anyPage, { numRuns: 60, seed: 11 }).map((page) => encoded(one, page, ROOM) as Uint8Array)
    const change = fc.record({
      which: fc.nat(samples.length - 1),
      flips: fc.array(fc.oneof(fc.nat(271 * 8), fc.nat(5000 * 8)), { maxLength: 4 }),
      set: fc.option(fc.tuple(fc.nat(24), fc.nat(255))),
      length: fc.oneof(fc.constant(0), fc.integer({ min: -600, max: 8 })),
    })
    fc.assert(
      fc.property(change, ({ which, flips, set, length }) => {
        const sample = samples[which] as Uint8Array
        const payload = new Uint8Array(Math.max(sample.length + length, 0))
        payload.set(sample.subarray(0, payload.length))
        for (const bit of flips) {
          const at = (bit >> 3) % Math.max(payload.length, 1)
          payload[at] = (payload[at] as number) ^ (1 << (bit & 7))
        }
        if (set !== null) payload[set[0]] = set[1]
        agrees(payload, 1)
      }),
      seeded(6000),
    )
  })
})
