// Encodings against hostile values, and a batch's whole way: scan, runs, payload, checks, placement.

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { raw } from '../../src/encoding/raw.ts'
import { checkRun, ENCODINGS, encodingById, encodingByName } from '../../src/encoding/registry.ts'
import { buildRuns, createRunTable, directPays, listRunPages } from '../../src/encoding/runs.ts'
import { WantedPages } from '../../src/encoding/shared.ts'
import { zero } from '../../src/encoding/zero.ts'
import type { ErrorCode } from '../../src/errors.ts'
import { loadKernels } from '../../src/kernels/kernels.ts'
import { CAPABILITIES } from '../../src/wire/protocol.ts'
import {
  type Content,
  PAGE_BYTES,
  placesOf,
  sameBytes,
  seeded,
  twoGuests,
  writeContent,
  writeList,
} from '../kernels/memory-fixture.ts'

const code = (action: () => unknown): ErrorCode | undefined => {
  try {
    action()
  } catch (error) {
    return (error as { code?: ErrorCode }).code
  }
  return undefined
}
const hostile = fc.oneof(fc.double(), fc.integer(), fc.constantFrom(0, -1, 2 ** 32, 2 ** 53, Number.NaN, Infinity))

describe('registry', () => {
  it('has unique ids from 1 to 255 and unique names that are capabilities', () => {
    const ids = ENCODINGS.map((encoding) => encoding.id)
    expect(new Set(ids).size).toBe(ids.length)
    for (const encoding of ENCODINGS) {
      expect(encoding.id).toBeGreaterThanOrEqual(1)
      expect(encoding.id).toBeLessThanOrEqual(255)
      expect(encodingById(encoding.id)).toBe(encoding)
      expect(encodingByName(encoding.name)).toBe(encoding)
      expect(CAPABILITIES).toContain(encoding.name)
    }
  })

  it('has the wire ids of protocol version 1', () => {
    expect([zero.id, raw.id]).toEqual([1, 2])
  })

  it('answers every other id and name with bad-encoding', () => {
    fc.assert(
      fc.property(
        hostile.filter((id) => !ENCODINGS.some((encoding) => encoding.id === id)),
        (id) => {
          expect(code(() => encodingById(id))).toBe('bad-encoding')
        },
      ),
      seeded(200),
    )
    for (const name of ['', 'Zero', 'toString', '__proto__']) {
      expect(code(() => encodingByName(name))).toBe('bad-encoding')
    }
  })
})

describe('checkRun', () => {
  it('accepts exact runs up to the last page', () => {
    expect(checkRun(32, 0, 32, zero.id, 0)).toBe(zero)
    expect(checkRun(32, 31, 1, raw.id, PAGE_BYTES)).toBe(raw)
    expect(checkRun(2 ** 20, 0, 2 ** 20, raw.id, 2 ** 32)).toBe(raw)
  })

  it('names what is wrong', () => {
    expect(code(() => checkRun(32, 32, 1, zero.id, 0))).toBe('bad-run')
    expect(code(() => checkRun(32, 31, 2, zero.id, 0))).toBe('bad-run')
    expect(code(() => checkRun(32, 0, 0, zero.id, 0))).toBe('bad-run')
    expect(code(() => checkRun(32, 2 ** 32 - 1, 2, zero.id, 0))).toBe('bad-run')
    expect(code(() => checkRun(32, 0, 1, 0, 0))).toBe('bad-encoding')
    expect(code(() => checkRun(32, 0, 1, 255, 0))).toBe('bad-encoding')
    expect(code(() => checkRun(32, 0, 1, zero.id, 1))).toBe('bad-payload')
    expect(code(() => checkRun(32, 0, 1, raw.id, 0))).toBe('bad-payload')
    expect(code(() => checkRun(32, 0, 2, raw.id, PAGE_BYTES))).toBe('bad-payload')
    expect(code(() => checkRun(32, 0, 1, raw.id, PAGE_BYTES + 1))).toBe('bad-payload')
  })

  it('lets nothing through but runs inside the guest with exact payload', () => {
    const near = fc.oneof(hostile, fc.nat(40))
    const id = fc.oneof(hostile, fc.nat(12))
    const payload = fc.oneof(hostile, fc.constantFrom(0, PAGE_BYTES, 2 * PAGE_BYTES))
    fc.assert(
      fc.property(near, near, id, payload, (first, count, encoding, bytes) => {
        const found = code(() => checkRun(32, first, count, encoding, bytes))
        if (found !== undefined) {
          expect(['bad-run', 'bad-encoding', 'bad-payload']).toContain(found)
          return
        }
        expect(Number.isInteger(first) && Number.isInteger(count)).toBe(true)
        expect(first >= 0 && count >= 1 && first + count <= 32).toBe(true)
        const { place, maxPayloadBytes } = encodingById(encoding)
        if (place !== 'staging') expect(bytes).toBe(encoding === raw.id ? count * PAGE_BYTES : 0)
        else expect(Number.isInteger(bytes) && bytes >= 0 && bytes <= maxPayloadBytes(count)).toBe(true)
      }),
      seeded(2000),
    )
  })

  it('checkPayload alone stands against hostile counts', () => {
    for (const encoding of ENCODINGS) {
      for (const count of [-1, 0, 0.5, Number.NaN, Infinity]) {
        expect(code(() => encoding.checkPayload(count, encoding.maxPayloadBytes(count)))).toBe('bad-payload')
      }
    }
  })
})

const PAGES = 64
const content: fc.Arbitrary<Content> = fc.oneof(
  { weight: 2, arbitrary: fc.constant<Content>({ kind: 'zero' }) },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('bit' as const), bit: fc.nat(32767) }) },
  { weight: 2, arbitrary: fc.record({ kind: fc.constant('random' as const), seed: fc.nat() }) },
)
const batch = fc.uniqueArray(fc.nat(PAGES - 1), { maxLength: PAGES }).map((pages) => pages.sort((a, b) => a - b))
const contents = fc.array(content, { minLength: PAGES, maxLength: PAGES })

describe('runs', () => {
  const [memory] = twoGuests(PAGES)
  const places = placesOf(memory)

  it('equal a naive model for any list and classes', () => {
    const table = createRunTable()
    const listed = fc.array(fc.tuple(fc.nat(PAGES - 1), fc.constantFrom(0, 1)), { maxLength: 256 })
    fc.assert(
      fc.property(listed, fc.boolean(), (pairs, sorted) => {
        if (sorted) pairs.sort(([a], [b]) => a - b)
        const model: { first: number; count: number; encoding: number }[] = []
        for (const [page, pageClass] of pairs) {
          const encoding = pageClass === 1 ? zero.id : raw.id
          const last = model.at(-1)
          if (last && last.first + last.count === page && last.encoding === encoding) last.count++
          else model.push({ first: page, count: 1, encoding })
        }
        writeList(
          memory,
          places.list,
          pairs.map(([page]) => page),
        )
        memory.controlBytes.set(
          pairs.map(([, pageClass]) => pageClass),
          places.classes,
        )
        buildRuns(table, memory, places.list, places.classes, pairs.length)
        const built = Array.from({ length: table.length }, (_, run) => ({
          first: table.firstPage[run],
          count: table.count[run],
          encoding: table.encoding[run],
        }))
        expect(built).toEqual(model)
        const rawRuns = model.filter((run) => run.encoding === raw.id)
        expect(table.rawRuns).toBe(rawRuns.length)
        expect(table.rawPages).toBe(rawRuns.reduce((sum, run) => sum + run.count, 0))
        expect(table.rawPages + table.zeroPages).toBe(pairs.length)
        expect(table.totalPayloadBytes).toBe(table.rawPages * PAGE_BYTES)
        for (let run = 0; run < table.length; run++) {
          const encoding = encodingById(table.encoding[run] ?? 0)
          encoding.checkPayload(table.count[run] ?? 0, table.payloadBytes[run] ?? -1)
        }
        // In place over the very list the table was built from.
        const count = listRunPages(table, raw.id, memory, places.list)
        const rawList = pairs.filter(([, pageClass]) => pageClass === 0).map(([page]) => page)
        expect([...memory.controlWords.subarray(places.list / 4, places.list / 4 + count)]).toEqual(rawList)
      }),
      seeded(500),
    )
  })

  it('direct transfer pays from 16 raw pages a run on average', () => {
    const table = createRunTable()
    expect(directPays(table)).toBe(false)
    const build = (pages: number[], classes: number[]): boolean => {
      writeList(memory, places.list, pages)
      memory.controlBytes.set(classes, places.classes)
      buildRuns(table, memory, places.list, places.classes, pages.length)
      return directPays(table)
    }
    const ascending = (count: number): number[] => Array.from({ length: count }, (_, index) => index)
    expect(build(ascending(16), Array(16).fill(0))).toBe(true)
    expect(build(ascending(15), Array(15).fill(0))).toBe(false)
    expect(build(ascending(32), Array(32).fill(1))).toBe(false)
    expect(build([...ascending(31), 40], Array(32).fill(0))).toBe(true)
    expect(build([...ascending(30), 40], Array(31).fill(0))).toBe(false)
  })
})

describe('a batch travels', () => {
  it('by runs through staging, or gathered and scattered as a whole', () => {
    const [source, destination] = twoGuests(PAGES)
    const context = { memory: source, kernels: loadKernels(source) }
    const target = {
      memory: destination,
      kernels: loadKernels(destination),
      area: destination.layout.codecs,
      session: { seed: 0n, missing: () => {}, wanted: new WantedPages(() => 0) },
    }
    const decoders = new Map(ENCODINGS.map((encoding) => [encoding.id, encoding.createDecoder(target)]))
    const places = placesOf(source)
    const table = createRunTable()
    fc.assert(
      fc.property(contents, contents, batch, fc.boolean(), (ours, theirs, pages, whole) => {
        for (const [page, one] of ours.entries()) writeContent(source, page, one)
        for (const [page, one] of theirs.entries()) writeContent(destination, page, one)
        const expected = destination.bytes.slice()
        for (const page of pages) {
          const at = page * PAGE_BYTES
          expected.set(source.bytes.subarray(at, at + PAGE_BYTES), at)
        }
        writeList(source, places.list, pages)
        context.kernels.scan(places.list, pages.length, places.classes, places.hashes, places.digest, 1)
        buildRuns(table, source, places.list, places.classes, pages.length)
        if (whole) {
          const sent = listRunPages(table, raw.id, source, places.list)
          context.kernels.gather(places.list, sent, places.staging)
        } else {
          let at = places.staging
          for (let run = 0; run < table.length; run++) {
            if (table.encoding[run] !== raw.id) continue
            context.kernels.takeRun(table.firstPage[run] ?? 0, table.count[run] ?? 0, at)
            at += table.payloadBytes[run] ?? Number.NaN
          }
          expect(at - places.staging).toBe(table.totalPayloadBytes)
        }
        const end = places.staging + table.totalPayloadBytes
        destination.controlBytes.set(source.controlBytes.subarray(places.staging, end), places.staging)
        let at = places.staging
        for (let run = 0; run < table.length; run++) {
          const [first, count] = [table.firstPage[run] ?? 0, table.count[run] ?? 0]
          const bytes = table.payloadBytes[run] ?? -1
          const encoding = checkRun(PAGES, first, count, table.encoding[run] ?? 0, bytes)
          if (!whole || encoding.place === 'none') decoders.get(encoding.id)?.decodeRun(first, count, at, bytes)
          at += bytes
        }
        if (whole) {
          const received = listRunPages(table, raw.id, destination, places.list)
          target.kernels.scatter(places.list, received, places.staging)
        }
        expect(sameBytes(destination.bytes, expected)).toBe(true)
      }),
      seeded(100),
    )
  })
})
