// Batches of every encode mode through frames and back, over rounds in which pages change, repeat and vanish.

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { lz4 } from '../../src/encoding/lz4.ts'
import { ENCODE_MODES, type EncodeMode } from '../../src/encoding/modes.ts'
import { type EncodePolicy, FallbackPolicy, ForcedPolicy } from '../../src/encoding/policy.ts'
import { CONTENT_CLASS } from '../../src/kernels/classify.ts'
import { type CONTENTS, fillPage as fillContent } from '../../src/programs/contents.ts'
import { fillPage, PAGE_BYTES, seeded } from '../kernels/memory-fixture.ts'
import { BatchStream } from './batch-stream.ts'
import { RandomPolicy } from './random-policy.ts'

/** Several batches, so that channels share a round. */
const PAGES = 640

const every = (pages: number): number[] => Array.from({ length: pages }, (_, page) => page)

type ContentName = (typeof CONTENTS)[number]

/** One change of a guest's page. */
type Change =
  | { kind: 'zero' | 'uniform' | 'random'; page: number; value: number }
  | { kind: 'copy'; page: number; value: number }
  | { kind: 'poke'; page: number; value: number }
  | { kind: 'renew'; page: number; value: number }
const change: fc.Arbitrary<Change> = fc.record({
  kind: fc.constantFrom('zero', 'uniform', 'random', 'copy', 'poke', 'poke', 'renew'),
  page: fc.nat(PAGES - 1),
  value: fc.nat(0xffff),
})

function apply(bytes: Uint8Array, fill: (page: number, seed: number) => void, { kind, page, value }: Change): void {
  const at = page * PAGE_BYTES
  if (kind === 'zero') bytes.fill(0, at, at + PAGE_BYTES)
  else if (kind === 'uniform') bytes.fill(value & 0xff, at, at + PAGE_BYTES)
  else if (kind === 'random') fill(page, value)
  else if (kind === 'copy') bytes.copyWithin(at, (value % PAGES) * PAGE_BYTES, ((value % PAGES) + 1) * PAGE_BYTES)
  else bytes[at + (value % PAGE_BYTES)] = value >> 8
}

interface History {
  readonly mode: EncodeMode
  readonly channels: number
  readonly policy?: (channel: number) => EncodePolicy
  readonly cachePages: number
  readonly content: ContentName
  readonly rounds: readonly (readonly Change[])[]
  readonly turn: number
}

/** Rounds over a guest that changes, with what was missing sent again, as rounds of a migration do. */
async function live({ cachePages, content, rounds, turn, ...how }: History): Promise<void> {
  const stream = await BatchStream.open({ pages: PAGES, deltaCache: cachePages * PAGE_BYTES, ...how })
  const { bytes } = stream.from
  const words = new Uint32Array(bytes.buffer)
  for (let page = 0; page < PAGES; page++) fillContent(bytes, words, content, turn & 7, page)
  stream.round(every(PAGES))
  for (const changes of rounds) {
    for (const one of changes) {
      if (one.kind === 'renew') fillContent(bytes, words, content, one.value & 15, one.page)
      else apply(bytes, (page, seed) => fillPage(stream.from, page, seed), one)
    }
    // Every second round sends all pages: more than one batch, most of them unchanged.
    const pages = changes.length % 2 === 0 ? every(PAGES) : changes.map(({ page }) => page)
    stream.round([...stream.missing, ...pages], (batch) => batch + turn)
  }
  expect(stream.settle()).toBeLessThanOrEqual(2)
  expect(stream.same).toBe(true)
}

const histories = fc.record({
  rounds: fc.array(fc.array(change, { minLength: 1, maxLength: 60 }), { minLength: 1, maxLength: 4 }),
  turn: fc.nat(),
  content: fc.constantFrom<ContentName>('dup', 'mix', 'text'),
  cachePages: fc.constantFrom(0, 1, 40, PAGES),
})

describe.each(ENCODE_MODES)('--encode %s', (mode) => {
  it.each([1, 3])('ends with equal pages after any changes, %i channels', async (channels) => {
    await fc.assert(
      fc.asyncProperty(histories, (history) => live({ mode, channels, ...history })),
      seeded(8),
    )
  })
})

describe('a policy that decides by lot', () => {
  it.each([1, 3])('ends with equal pages after any changes, %i channels', async (channels) => {
    await fc.assert(
      fc.asyncProperty(histories, fc.nat(), (history, seed) => {
        const policy = (channel: number): EncodePolicy => new RandomPolicy(seed + channel)
        return live({ mode: 'adaptive', channels, policy, ...history })
      }),
      seeded(30),
    )
  })
})

describe('bytes', () => {
  const sent = async (mode: EncodeMode, content: ContentName, bytesPerSecond = 10_000_000) => {
    const stream = await BatchStream.open({ pages: 2048, mode, bytesPerSecond })
    const { bytes } = stream.from
    for (let page = 0; page < 2048; page++) fillContent(bytes, new Uint32Array(bytes.buffer), content, 3, page)
    stream.round(every(2048))
    stream.settle()
    expect(stream.same).toBe(true)
    return stream
  }

  it('adaptive on a slow link is below the best single codec by a twentieth (MECOM)', async () => {
    const singles = await Promise.all(
      (['pattern', 'packed', 'lz4', 'sparse'] as const).map((mode) => sent(mode, 'mix')),
    )
    const adaptive = await sent('adaptive', 'mix')
    expect(adaptive.bytes).toBeLessThanOrEqual(0.95 * Math.min(...singles.map(({ bytes }) => bytes)))
  })

  it('a duplicate travels as a reference of 12 bytes', async () => {
    const stream = await sent('dedup', 'dup')
    const counts = stream.counts()
    expect(counts.dedup?.bytes).toBe(12 * (counts.dedup?.pages ?? 0))
    expect(counts.dedup?.pages).toBeGreaterThan(0.2 * 2048)
  })

  it('a page that changed by a few bytes travels as a delta', async () => {
    const stream = await sent('delta', 'random')
    stream.counts()
    for (let page = 0; page < 2048; page++) stream.from.bytes[page * PAGE_BYTES + 77] = 1
    stream.round(every(2048))
    expect(stream.same).toBe(true)
    expect(stream.counts().delta).toMatchObject({ pages: 2048 })
  })

  it('pages sent live are no base for deltas and references (R13)', async () => {
    // An unlimited link: adaptive sends what it has, straight from the guest.
    const stream = await sent('adaptive', 'random', 1e15)
    expect(stream.counts().raw?.pages).toBe(2048)
    for (const encoding of stream.encodings) encoding?.policy.noteLink(1_000_000, 1e9)
    for (let page = 0; page < 2048; page++) stream.from.bytes[page * PAGE_BYTES + 77] = 1
    for (let round = 0; round < 40; round++) {
      for (const encoding of stream.encodings) encoding?.policy.noteLink(1_000, 1000)
    }
    stream.round(every(2048))
    expect(stream.counts().delta).toBeUndefined()
    expect(stream.same).toBe(true)
  })

  it('a reference to a page that changed underway is asked for again, never believed', async () => {
    const stream = await sent('dedup', 'random')
    stream.counts()
    stream.from.bytes.copyWithin(9 * PAGE_BYTES, 5 * PAGE_BYTES, 6 * PAGE_BYTES)
    // The destination's origin is not what the source believes.
    stream.to.bytes[5 * PAGE_BYTES] = (stream.to.bytes[5 * PAGE_BYTES] as number) ^ 1
    stream.round([9])
    expect(stream.counts().dedup).toMatchObject({ pages: 1 })
    expect(stream.missing).toEqual([9])
    stream.round([...stream.missing, 5], () => 0, false)
    expect(stream.missing).toEqual([])
    expect(stream.same).toBe(true)
  })

  it('a page that changed too much for a delta does not break the block of lz4 around it', async () => {
    const stream = await BatchStream.open({ pages: 16, mode: 'adaptive', policy: () => new ForcedPolicy(lz4.id) })
    const { bytes } = stream.from
    const words = new Uint32Array(bytes.buffer)
    // A version of page 3 alone is there to compare with.
    fillContent(bytes, words, 'text', 1, 3)
    stream.round([3])
    for (let page = 0; page < 16; page++) fillContent(bytes, words, 'text', 2, page)
    stream.round(every(16))
    expect(stream.same).toBe(true)
    expect(stream.counts().lz4).toMatchObject({ pages: 17 })
  })

  it('a codec that gives a page to lz4 within a block does not break the block', async () => {
    const first = new FallbackPolicy()
    const policy = Object.assign(new FallbackPolicy(), {
      // Every second page tries WKdm first.
      codecOf: () => (turn++ % 2 === 0 ? lz4.id : first.codecOf(CONTENT_CLASS.textLike)),
    })
    let turn = 0
    const stream = await BatchStream.open({ pages: 16, mode: 'adaptive', policy: () => policy })
    const { bytes } = stream.from
    for (let page = 0; page < 16; page++) fillContent(bytes, new Uint32Array(bytes.buffer), 'text', 2, page)
    stream.round(every(16))
    expect(stream.same).toBe(true)
    expect(stream.counts().lz4?.pages).toBeGreaterThanOrEqual(8)
  })
})
