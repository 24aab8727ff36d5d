// Frames of the exchange: read back however the bytes are cut, and hostile ones refused by name before anything comes of them.

import { crc32 } from 'node:zlib'
import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { GodwitError } from '../../src/errors.ts'
import { BATCH_PAGES, MAX_NEEDS, MAX_RUNS, PAGE_BYTES } from '../../src/limits.ts'
import {
  createGiveTable,
  encodeApplied,
  encodeAsk,
  encodeCross,
  encodeGive,
  encodeRuns,
  type GiveTable,
  HOW,
} from '../../src/wire/exchange-frames.ts'
import { ExchangeReader } from '../../src/wire/exchange-reader.ts'
import { checkOf, encodeHeader, FRAME_HEADER_BYTES, FRAME_TYPE, type FrameType } from '../../src/wire/frame.ts'
import { encodeControl } from '../../src/wire/message-frame.ts'
import { seeded } from '../kernels/memory-fixture.ts'

const BOUNDS = { pageCount: 1000, vcpus: 4 }
const u64 = fc.bigInt({ min: 0n, max: 2n ** 64n - 1n })
const generation = fc.integer({ min: 1, max: 2 ** 31 })
const number = fc.integer({ min: 1, max: 2 ** 32 - 1 })
const home = fc.nat(BOUNDS.vcpus)

interface Sent {
  readonly bytes: Uint8Array
  /** As the sink writes it down. */
  readonly said: string
}

const said = (...parts: unknown[]): string =>
  JSON.stringify(parts, (_, value) => (typeof value === 'bigint' ? `${value}n` : value))

const entry = fc.record({
  page: fc.nat(BOUNDS.pageCount - 1),
  how: fc.constantFrom(HOW.zero, HOW.raw, HOW.same),
  free: fc.boolean(),
  home,
  generation,
  seal: u64,
  byte: fc.nat(255),
})
const give = fc
  .record({ number, entries: fc.uniqueArray(entry, { minLength: 1, maxLength: 20, selector: ({ page }) => page }) })
  .map(({ number, entries }): Sent => {
    entries.sort((a, b) => a.page - b.page)
    const table = createGiveTable()
    Object.assign(table, { number, count: entries.length })
    for (const [index, one] of entries.entries()) {
      table.pages[index] = one.page
      table.how[index] = one.how
      table.free[index] = one.free && one.how !== HOW.raw ? 1 : 0
      table.homes[index] = one.home
      table.generations[index] = one.generation
      table.seals[index] = one.seal
    }
    const raw = entries.filter(({ how }) => how === HOW.raw).map(({ byte }) => Buffer.alloc(PAGE_BYTES, byte))
    return { bytes: Buffer.concat([encodeGive(table), ...raw]), said: giveSaid(table, Buffer.concat(raw)) }
  })

const giveSaid = (table: GiveTable, contents: Uint8Array): string => {
  const { number, count, pages, how, free, homes, generations, seals } = table
  const listed = [pages, how, free, homes, generations].map((list) => [...list.subarray(0, count)])
  return said('give', number, listed, [...seals.subarray(0, count)], crc32(contents))
}

const runs = fc
  .record({
    number,
    sum: u64,
    runs: fc.uniqueArray(fc.tuple(fc.nat(99), fc.integer({ min: 1, max: 10 }), generation, home), {
      minLength: 1,
      selector: ([first]) => first,
    }),
  })
  .map(({ number, sum, runs }): Sent => {
    const list = runs.sort(([a], [b]) => a - b).flatMap(([first, ...rest]) => [first * 10, ...rest])
    return { bytes: encodeRuns({ number, sum, runs: Uint32Array.from(list) }), said: said('runs', number, sum, list) }
  })

const cross = fc
  .record({
    number,
    vcpu: fc.nat(BOUNDS.vcpus - 1),
    generation,
    steps: fc.maxSafeNat(),
    registers: fc.uint8Array({ minLength: 1024, maxLength: 1024 }),
  })
  .map(({ number, vcpu, generation, steps, registers }): Sent => {
    const bytes = encodeCross({ number, vcpu, generation, state: { steps, registers } })
    return { bytes, said: said('cross', number, vcpu, generation, steps, crc32(registers)) }
  })

const ask = fc
  .uint32Array({ minLength: 1, maxLength: MAX_NEEDS, max: BOUNDS.pageCount - 1 })
  .map((pages): Sent => ({ bytes: encodeAsk(pages, pages.length), said: said('ask', [...pages]) }))
const applied = fc.nat().map((count): Sent => ({ bytes: encodeApplied(count), said: said('applied', count) }))
const welcome = fc.constant<Sent>({
  bytes: encodeControl({ type: 'welcome', capabilities: [] }),
  said: said('control', 'welcome'),
})

function readerInto(heard: string[]): ExchangeReader {
  return new ExchangeReader(BOUNDS, {
    control: ({ type }) => heard.push(said('control', type)),
    give: (table, contents) => heard.push(giveSaid(table, contents)),
    runs: ({ number, sum, runs }) => heard.push(said('runs', number, sum, [...runs])),
    cross: ({ number, vcpu, generation, state: { steps, registers } }) =>
      heard.push(said('cross', number, vcpu, generation, steps, crc32(registers))),
    ask: (pages) => heard.push(said('ask', [...pages])),
    applied: (count) => heard.push(said('applied', count)),
  })
}

describe('frames of the exchange', () => {
  it('are read back one by one, however the bytes are cut', () => {
    const all = fc.array(fc.oneof(give, runs, cross, ask, applied, welcome), { minLength: 1, maxLength: 5 })
    const cuts = fc.array(fc.integer({ min: 1, max: 5000 }), { minLength: 1, maxLength: 30 })
    fc.assert(
      fc.property(all, cuts, (sent, sizes) => {
        const heard: string[] = []
        const reader = readerInto(heard)
        const bytes = Buffer.concat(sent.map(({ bytes }) => bytes))
        for (let at = 0, turn = 0; at < bytes.length; turn++) {
          const size = sizes[turn % sizes.length] as number
          reader.push(bytes.subarray(at, at + size))
          at += size
        }
        expect(heard).toEqual(sent.map(({ said }) => said))
      }),
      seeded(200),
    )
  })

  it('with a byte changed are refused by name, but for the contents of pages, which have seals', () => {
    fc.assert(
      fc.property(
        fc.oneof(give, runs, cross, ask, applied),
        fc.nat(),
        fc.integer({ min: 1, max: 255 }),
        (sent, at, flip) => {
          const bytes = Uint8Array.from(sent.bytes)
          const place = at % bytes.length
          bytes[place] = (bytes[place] as number) ^ flip
          const heard: string[] = []
          try {
            readerInto(heard).push(bytes)
          } catch (thrown) {
            expect(thrown).toBeInstanceOf(GodwitError)
            expect((thrown as GodwitError).code).not.toBe('internal')
            return
          }
          // A length that grew waits for more; what came whole was a give with other contents.
          if (heard.length > 0) expect(heard).not.toEqual([sent.said])
          if (heard.length > 0) expect(sent.said.startsWith('["give"')).toBe(true)
        },
      ),
      seeded(500),
    )
  })

  it('of another type with the same payload are no frames: a count of frames would be the number of a page', () => {
    const count = encodeApplied(7)
    count[5] = FRAME_TYPE.ask
    const heard: string[] = []
    expect(() => readerInto(heard).push(count)).toThrow(expect.objectContaining({ code: 'bad-frame' }))
    expect(heard).toEqual([])
  })

  const frame = (type: FrameType, payload: Uint8Array, checked = payload.length): Uint8Array => {
    const header = new Uint8Array(FRAME_HEADER_BYTES)
    encodeHeader(header, 0, {
      type,
      length: payload.length,
      round: 0,
      check: checkOf(type, payload.subarray(0, checked)),
    })
    return Buffer.concat([header, payload])
  }
  const words = (...list: number[]): Uint8Array => new Uint8Array(Uint32Array.from(list).buffer)
  const { give: GIVE, runs: RUNS, cross: CROSS, ask: ASK, applied: APPLIED } = FRAME_TYPE
  const registers = Array.from({ length: 256 }, () => 0)
  const raw = 2
  const hostile: [string, string, Uint8Array][] = [
    ['a give of no pages', 'bad-frame', frame(GIVE, words(1, 0, 0, 0, 0, 0, 0))],
    ['a give of too many pages', 'bad-frame', frame(GIVE, words(1, BATCH_PAGES + 1, 0, 0, 0, 0, 0))],
    ['a give without room for its tables', 'bad-frame', frame(GIVE, words(1, 2, 0, 0, 0, 0, 0))],
    ['a give without its content', 'bad-frame', frame(GIVE, words(1, 1, 0, raw, 0, 0, 2))],
    ['a page outside the guest', 'bad-run', frame(GIVE, words(1, 1, 1000, 1, 0, 0, 2))],
    ['a page twice', 'bad-run', frame(GIVE, words(1, 2, 5, 1, 0, 0, 5, 1, 0, 0, 2, 2))],
    ['an unknown encoding', 'bad-encoding', frame(GIVE, words(1, 1, 5, 4, 0, 0, 2))],
    ['a flag that is none', 'bad-frame', frame(GIVE, words(1, 1, 5, 1 | (2 << 8), 0, 0, 2))],
    ['a home that is none', 'bad-frame', frame(GIVE, words(1, 1, 5, 1 | (5 << 16), 0, 0, 2))],
    ['generation 0', 'bad-frame', frame(GIVE, words(1, 1, 5, 1, 0, 0, 0))],
    ['number 0', 'bad-frame', frame(GIVE, words(0, 1, 5, 1, 0, 0, 2))],
    ['no runs', 'bad-frame', frame(RUNS, words(1, 0, 0, 0))],
    ['half a run', 'bad-frame', frame(RUNS, words(1, 0, 0, 0, 1, 1))],
    ['runs outside the guest', 'bad-run', frame(RUNS, words(1, 0, 0, 0, 999, 2, 2, 0))],
    ['a run whose end is above 2^32', 'bad-run', frame(RUNS, words(1, 0, 0, 0, 1, 2 ** 32 - 1, 2, 0))],
    ['an empty run', 'bad-run', frame(RUNS, words(1, 0, 0, 0, 9, 0, 2, 0))],
    ['runs that overlap', 'bad-run', frame(RUNS, words(1, 0, 0, 0, 9, 2, 2, 0, 10, 1, 2, 0))],
    ['a crossing of another size', 'bad-frame', frame(CROSS, words(1, 0, 2, 0, 0, 0))],
    ['a vCPU outside the guest', 'bad-frame', frame(CROSS, words(1, 4, 2, 0, 0, 0, ...registers))],
    ['more steps than can be', 'bad-frame', frame(CROSS, words(1, 0, 2, 0, 0, 2 ** 31, ...registers))],
    ['an ask of half a page', 'bad-frame', frame(ASK, Uint8Array.of(1, 0))],
    ['an ask outside the guest', 'bad-run', frame(ASK, words(1000))],
    ['half a count', 'bad-frame', frame(APPLIED, Uint8Array.of(1))],
    ['an empty frame', 'bad-frame', frame(APPLIED, new Uint8Array(0))],
    ['a frame of rounds', 'unexpected-message', frame(FRAME_TYPE.roundEnd, new Uint8Array(0))],
    ['a long control frame', 'frame-too-long', frame(FRAME_TYPE.control, new Uint8Array(10_000))],
  ]
  it.each(hostile)('%s is %s', (_, code, bytes) => {
    const heard: string[] = []
    expect(() => readerInto(heard).push(bytes)).toThrow(expect.objectContaining({ code }))
    expect(heard).toEqual([])
  })

  it('have caps that are checked before a byte of payload', () => {
    const header = new Uint8Array(FRAME_HEADER_BYTES)
    encodeHeader(header, 0, { type: RUNS, length: 16 + 16 * MAX_RUNS, round: 0 })
    new DataView(header.buffer).setUint32(8, 17 + 16 * MAX_RUNS, true)
    expect(() => readerInto([]).push(header)).toThrow(expect.objectContaining({ code: 'frame-too-long' }))
  })
})
