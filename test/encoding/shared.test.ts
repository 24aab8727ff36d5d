// References to other guests: what is right is placed, what is wrong, gone or changed is missing, what is hostile is
// refused, and no other page is touched in any case. The encoder makes them in the first round only.

import assert from 'node:assert/strict'
import fc from 'fast-check'
import { beforeEach, describe, expect, it } from 'vitest'
import { createReferenceWriter } from '../../src/encoding/dedup.ts'
import type { EncodingContext } from '../../src/encoding/encoding.ts'
import { appendPage, clearRuns, createRunTable } from '../../src/encoding/runs.ts'
import { shared } from '../../src/encoding/shared.ts'
import type { GodwitError } from '../../src/errors.ts'
import { CODEC_AREA, HEADER } from '../../src/guest/layout.ts'
import { GuestMemory } from '../../src/guest/memory.ts'
import { digestTotal, loadKernels, resetDigest } from '../../src/kernels/kernels.ts'
import { REFERENCE_BYTES } from '../../src/kernels/reference.ts'
import { encodePageFrameHead, PAGE_FRAME_HEAD_BYTES } from '../../src/wire/page-frame.ts'
import { StreamReader } from '../../src/wire/stream-reader.ts'
import { fillPage, PAGE_BYTES, sameBytes, seeded } from '../kernels/memory-fixture.ts'
import { BatchStream } from './batch-stream.ts'
import { SEED } from './encoding-with.ts'

const PAGES = 32
const FOREIGN = 24
const memory = GuestMemory.create(PAGES * PAGE_BYTES, 1)
const kernels = loadKernels(memory)
const neighbour = GuestMemory.create(32 * PAGE_BYTES, 1)
const { controlBytes, controlWords, layout } = memory
const missing: number[] = []
const session = { seed: SEED, missing: (page: number) => missing.push(page) }
const context: EncodingContext = { memory, kernels, area: layout.codecs + CODEC_AREA.bytes, session }
const write = createReferenceWriter(context, SEED)
const before = new Uint8Array(PAGES * PAGE_BYTES)
for (let page = 0; page < FOREIGN; page++) fillPage(neighbour, page, 100 + (page % 6))

beforeEach(() => {
  for (let page = 0; page < PAGES; page++) fillPage(memory, page, page % 6)
  before.set(memory.bytes)
  controlWords[HEADER.foreignPages] = FOREIGN
})

const pageOf = (bytes: Uint8Array, page: number): Uint8Array =>
  bytes.subarray(page * PAGE_BYTES, (page + 1) * PAGE_BYTES)

interface Reference {
  /** The foreign page whose content is meant, and the one that is named. */
  readonly like: number
  readonly foreign: number
  readonly flip?: number | null
}

/** A frame of one run of references. */
function frameOf(first: number, references: readonly Reference[]): Buffer {
  const table = createRunTable()
  clearRuns(table)
  const records = references.map(({ like, foreign, flip = null }, index) => {
    appendPage(table, first + index, shared.id, REFERENCE_BYTES)
    const [from, to] = [context.area, context.area + CODEC_AREA.group]
    controlBytes.set(pageOf(neighbour.bytes, like), from)
    const record = controlBytes.slice(to, to + write(from, foreign, to))
    const bit = flip === null ? null : flip % (8 * REFERENCE_BYTES)
    if (bit !== null) record[bit >> 3] = (record[bit >> 3] as number) ^ (1 << (bit & 7))
    return record
  })
  const head = Buffer.alloc(PAGE_FRAME_HEAD_BYTES)
  return Buffer.concat([head.subarray(0, encodePageFrameHead(head, 0, table, 0)), ...records])
}

/** Feeds a frame; `copyOf` puts the content of a foreign page into the copies, or says that nobody sent it. */
function feed(frame: Buffer, copyOf: (foreign: number) => Uint8Array | null): string | null {
  missing.length = 0
  resetDigest(memory)
  kernels.hashRun(0, PAGES, layout.hashes, layout.threadBlocks)
  const reader = new StreamReader({ memory, kernels, channel: 0, hash: true, session })
  try {
    for (let at = 0; at < frame.length; ) {
      const into = reader.next()
      const size = Math.min(into.length, frame.length - at)
      into.set(frame.subarray(at, at + size))
      at += size
      const reached = reader.advance(size)
      assert.equal(reached, at === frame.length ? 'fetch' : 'more')
    }
  } catch (thrown) {
    return (thrown as GodwitError).code ?? 'internal'
  }
  for (let index = reader.wanted.count - 1; index >= 0; index--) {
    const copy = copyOf(reader.wanted.foreign[index] as number)
    // Copies lie anywhere in the area.
    if (copy !== null) reader.copies.set(copy, (index + 3) * PAGE_BYTES)
    reader.placeWanted(index, copy === null ? null : index + 3)
  }
  reader.endWanted()
  assert.ok(reader.betweenFrames)
  // R15: table and digest are those of the pages as they are.
  const digest = digestTotal(memory)
  resetDigest(memory)
  kernels.hashRun(0, PAGES, layout.hashes, layout.threadBlocks)
  assert.equal(digest, digestTotal(memory))
  return null
}
const honest = (foreign: number): Uint8Array => pageOf(neighbour.bytes, foreign)

describe('references to other guests', () => {
  it('place what the foreign page holds', () => {
    expect(
      feed(
        frameOf(
          3,
          [6, 7, 23].map((foreign) => ({ like: foreign, foreign })),
        ),
        honest,
      ),
    ).toBeNull()
    for (const [at, foreign] of [6, 7, 23].entries()) {
      expect(sameBytes(pageOf(memory.bytes, 3 + at), honest(foreign))).toBe(true)
    }
    expect(missing).toEqual([])
  })

  it('to what has changed, or what nobody sends, leave the page alone and name it missing', () => {
    const references = [
      { like: 1, foreign: 2 },
      { like: 3, foreign: 9 },
      { like: 5, foreign: 5 },
    ]
    expect(feed(frameOf(20, references), (foreign) => (foreign === 5 ? null : honest(foreign)))).toBeNull()
    expect([...missing].sort()).toEqual([20, 22])
    for (const page of [20, 22]) expect(sameBytes(pageOf(memory.bytes, page), pageOf(before, page))).toBe(true)
    expect(sameBytes(pageOf(memory.bytes, 21), honest(3))).toBe(true)
  })

  it('to pages that there are none of are bad-payload', () => {
    for (const foreign of [FOREIGN, 31, 0x7fffffff, 0x80000000, 0xffffffff]) {
      expect(feed(frameOf(20, [{ like: 4, foreign }]), honest)).toBe('bad-payload')
    }
    controlWords[HEADER.foreignPages] = 0
    expect(feed(frameOf(20, [{ like: 4, foreign: 0 }]), honest)).toBe('bad-payload')
    expect(sameBytes(memory.bytes, before)).toBe(true)
  })

  it('in a stream that knows no other guests are bad-payload', () => {
    expect(() => shared.createDecoder(context)).toThrow(/stream that has none/)
  })
})

it('hostile references: right, missing or refused, and no other page changes', () => {
  const foreign = fc.oneof(fc.nat(FOREIGN - 1), fc.nat(FOREIGN + 2), fc.integer({ min: 0, max: 0xffffffff }))
  const reference = fc.record({
    like: fc.nat(FOREIGN - 1),
    any: foreign,
    honest: fc.boolean(),
    flip: fc.option(fc.nat(95), { freq: 3 }),
  })
  /** What the neighbour sends: its page, another one, or nothing. */
  const answer = fc.constantFrom('page', 'page', 'page', 'other', 'nothing')
  const counts = { good: 0, missing: 0, refused: 0 }
  fc.assert(
    fc.property(
      fc.array(reference, { minLength: 1, maxLength: 4 }),
      fc.nat(PAGES - 4),
      fc.array(answer, { minLength: 4, maxLength: 4 }),
      (references, first, answers) => {
        memory.bytes.set(before)
        const frame = frameOf(
          first,
          references.map(({ like, any, honest: right, flip }) => ({ like, foreign: right ? like : any, flip })),
        )
        let asked = 0
        const code = feed(frame, (page) => {
          const how = answers[asked++ % answers.length]
          return how === 'page' ? honest(page) : how === 'other' ? honest((page + 1) % FOREIGN) : null
        })
        assert.ok(code === null || code === 'bad-payload', `${code}`)
        const [start, stop] = [first * PAGE_BYTES, (first + references.length) * PAGE_BYTES]
        assert.ok(sameBytes(memory.bytes.subarray(0, start), before.subarray(0, start)))
        assert.ok(sameBytes(memory.bytes.subarray(stop), before.subarray(stop)))
        for (const [index, { like }] of references.entries()) {
          const page = first + index
          const now = pageOf(memory.bytes, page)
          const [same, meant] = [sameBytes(now, pageOf(before, page)), sameBytes(now, honest(like))]
          // A page is what was meant, or what it was.
          assert.ok(code === null && !missing.includes(page) ? meant : same)
        }
        if (code !== null) counts.refused++
        else if (missing.length > 0) counts.missing++
        else counts.good++
      },
    ),
    seeded(10_000),
  )
  for (const count of Object.values(counts)) expect(count).toBeGreaterThan(150)
}, 60_000)

describe('the encoder', () => {
  const every = Array.from({ length: 300 }, (_, page) => page)
  async function begin(mode: 'dedup' | 'adaptive', channels = 1): Promise<{ stream: BatchStream; other: GuestMemory }> {
    const other = GuestMemory.create(320 * PAGE_BYTES, 1)
    for (let page = 0; page < 320; page++) fillPage(other, page, page)
    const stream = await BatchStream.open({ pages: 304, mode, channels, neighbour: other })
    // Two thirds are there already, in another order; some of the guest's own are alike; some are of one byte.
    for (const page of every) fillPage(stream.from, page, page % 3 === 0 ? 1000 + (page >> 3) : 319 - page)
    for (const page of [5, 50, 250]) {
      stream.from.bytes.fill(7, page * PAGE_BYTES, (page + 1) * PAGE_BYTES)
      other.bytes.fill(7, page * PAGE_BYTES, (page + 1) * PAGE_BYTES)
    }
    stream.tell()
    return { stream, other }
  }

  it.each([
    ['dedup', 1],
    ['dedup', 3],
    ['adaptive', 2],
  ] as const)('%s over %i channels refers to what is there', async (mode, channels) => {
    const { stream } = await begin(mode, channels)
    stream.round(every, (batch) => batch)
    expect(stream.missing).toEqual([])
    expect(stream.same).toBe(true)
    const counts = stream.counts()
    expect(counts.shared?.pages).toBeGreaterThan(190)
    expect(counts.shared?.bytes).toBe(REFERENCE_BYTES * (counts.shared?.pages ?? 0))
    expect(counts.dedup?.pages).toBeGreaterThan(40)
    // Later rounds refer to no other guest.
    for (const page of every) fillPage(stream.from, page, 319 - ((page + 1) % 300))
    stream.round(every)
    expect(stream.counts().shared).toBeUndefined()
    stream.settle()
    expect(stream.same).toBe(true)
  })

  it('what has changed there meanwhile is missing once, and then sent', async () => {
    const { stream, other } = await begin('dedup')
    for (let page = 0; page < 320; page += 2) fillPage(other, page, 5000 + page)
    stream.round(every)
    expect(stream.missing.length).toBeGreaterThan(80)
    expect(stream.settle()).toBe(1)
    expect(stream.same).toBe(true)
    expect(stream.counts().shared?.pages).toBeGreaterThan(190)
  })

  it('makes none where no page may refer to another', async () => {
    const { stream } = await begin('dedup')
    stream.round(every, () => 0, false)
    expect(stream.counts().shared).toBeUndefined()
    expect(stream.same).toBe(true)
  })
})
