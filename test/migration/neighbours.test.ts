// What a destination says of the other guests at its host before it is ready, and what the source makes of it, hostile
// words included.

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ForeignIndex } from '../../src/encoding/foreign-index.ts'
import { GodwitError } from '../../src/errors.ts'
import { COPY_HASHES, MAX_CONTROL_FRAME_BYTES, MAX_FOREIGN_PAGES, MAX_NEIGHBOURS } from '../../src/limits.ts'
import { type Neighbourhood, NeighbourLearner, tellNeighbours } from '../../src/migration/neighbours.ts'
import type { ControlLink, Neighbour, PageDestination } from '../../src/migration/ports.ts'
import { refersToOthers, settingsSchema } from '../../src/migration/settings.ts'
import { encodeControl } from '../../src/wire/message-frame.ts'
import { type MessageOf, messageSchemas } from '../../src/wire/messages.ts'
import { seeded } from '../kernels/memory-fixture.ts'

const clock = { now: () => 0, nowNs: () => 0n, sleep: async () => {} }
const breathe = async (): Promise<void> => {}
type Told = MessageOf<'neighbour'>

/** The hash of a page of a neighbour. */
const hashOf = (guest: number, page: number): bigint => BigInt(guest + 1) * 1_000_000n + BigInt(page)

/** Neighbours of these sizes; `answers(guest, first)`: whether it does. */
function neighbourhood(sizes: readonly number[], answers: (guest: number, first: number) => boolean): Neighbourhood {
  return {
    guests: sizes.map((pages, guest) => ({ path: `/${guest}`, pages })),
    hashes: async (guest, first, count) => {
      if (!answers(guest, first)) throw new GodwitError('link-lost', 'gone')
      const hashes = new BigUint64Array(COPY_HASHES)
      for (let at = 0; at < count; at++) hashes[at] = hashOf(guest, first + at)
      return new Uint8Array(hashes.buffer)
    },
    close: () => {},
  }
}

async function saidBy(
  neighbours: Neighbourhood | null,
): Promise<{ said: Told[]; shared: readonly Neighbour[] | null }> {
  const said: Told[] = []
  let shared: readonly Neighbour[] | null = null
  const control = { send: (message: Told) => said.push(message), flushed: async () => {} }
  const pages = {
    share: (told: readonly Neighbour[]) => {
      shared = told
    },
  }
  await tellNeighbours(control as unknown as ControlLink, pages as unknown as PageDestination, { neighbours, clock })
  return { said, shared }
}

async function learnt(said: readonly Told[]): Promise<ForeignIndex | null> {
  const learner = new NeighbourLearner()
  for (const message of said) learner.take(message)
  const memory = await learner.index(breathe)
  return memory === null ? null : new ForeignIndex(memory)
}
const find = (index: ForeignIndex | null, hash: bigint): number => index?.find(Number(hash), 0) ?? -2

describe('the destination', () => {
  it('without neighbours says nothing', async () => {
    expect(await saidBy(null)).toEqual({ said: [], shared: null })
    expect(await learnt([])).toBeNull()
  })

  it('tells of every page of each, in frames within the cap, numbered through', async () => {
    const sizes = [COPY_HASHES + 7, 16, 300]
    const { said, shared } = await saidBy(neighbourhood(sizes, () => true))
    expect(said.map(({ index, first }) => [index, first])).toEqual([
      [0, 0],
      [0, COPY_HASHES],
      [1, 0],
      [2, 0],
    ])
    for (const message of said) {
      expect(encodeControl(message).length).toBeLessThan(MAX_CONTROL_FRAME_BYTES)
      expect(messageSchemas.neighbour.safeParse(message).success).toBe(true)
    }
    expect(shared?.map(({ pages }) => pages)).toEqual(sizes)
    const index = await learnt(said)
    for (const [guest, base] of [
      [0, 0],
      [1, COPY_HASHES + 7],
      [2, COPY_HASHES + 23],
    ] as const) {
      for (const page of [0, 1, (sizes[guest] as number) - 1])
        expect(find(index, hashOf(guest, page))).toBe(base + page)
    }
    expect(find(index, 1n)).toBe(-1)
  })

  it('leaves out who does not answer, and tells zeros for who goes while it is asked', async () => {
    const sizes = [16, COPY_HASHES + 9, 32]
    const { said, shared } = await saidBy(
      neighbourhood(sizes, (guest, first) => guest !== 0 && (guest !== 1 || first === 0)),
    )
    expect(said.map(({ index, first, pages }) => [index, first, pages])).toEqual([
      [0, 0, COPY_HASHES + 9],
      [0, COPY_HASHES, COPY_HASHES + 9],
      [1, 0, 32],
    ])
    expect(shared?.map(({ path }) => path)).toEqual(['/1', '/2'])
    const index = await learnt(said)
    expect(find(index, hashOf(1, 5))).toBe(5)
    expect(find(index, hashOf(1, COPY_HASHES))).toBe(-1)
    expect(find(index, hashOf(2, 0))).toBe(COPY_HASHES + 9)
    expect(said[1]?.hashes).toEqual(new Uint8Array(8 * 9))
  })
})

describe('the source', () => {
  const told = (index: number, pages: number, first: number, count: number): Told => ({
    type: 'neighbour',
    index,
    pages,
    first,
    hashes: new Uint8Array(8 * count).fill(3),
  })
  const whole = (index: number, pages: number): Told[] => {
    const steps: Told[] = []
    for (let first = 0; first < pages; first += COPY_HASHES)
      steps.push(told(index, pages, first, Math.min(COPY_HASHES, pages - first)))
    return steps
  }

  it.each([
    ['a part', [told(0, 32, 0, 16)]],
    ['a part, and then another', [told(0, 32, 0, 16), told(1, 16, 0, 16)]],
    ['a hole', [told(0, 32, 0, 8), told(0, 32, 16, 16)]],
    ['a page twice', [told(0, 32, 0, 16), told(0, 32, 8, 24)]],
    ['more than there are', [told(0, 32, 0, 33)]],
    ['another size', [told(0, 32, 0, 16), told(0, 48, 16, 16)]],
    ['a neighbour too far', [told(1, 16, 0, 16)]],
    ['a neighbour twice', [told(0, 16, 0, 16), told(0, 16, 0, 16)]],
    ['too many', Array.from({ length: MAX_NEIGHBOURS + 1 }, (_, index) => told(index, 16, 0, 16))],
    ['too large', [told(0, 2 ** 20 + 1, 0, 16)]],
    [
      'too many pages',
      [...whole(0, 2 ** 20), ...whole(1, 2 ** 20), ...whole(2, 2 ** 20), ...whole(3, 2 ** 20), told(4, 16, 0, 16)],
    ],
  ] as const)('refuses %s', async (_, messages) => {
    await expect(learnt(messages)).rejects.toMatchObject({ code: 'unexpected-message', side: 'destination' })
  })

  it('takes in whatever keeps the rules, and nothing else', async () => {
    const message = fc.record({
      index: fc.nat(3),
      pages: fc.constantFrom(16, 32, 48),
      first: fc.constantFrom(0, 0, 16, 32),
      count: fc.constantFrom(16, 32),
    })
    let good = 0
    await fc.assert(
      fc.asyncProperty(fc.array(message, { minLength: 1, maxLength: 4 }), async (messages) => {
        const sizes: number[] = []
        let [at, of, right] = [0, 0, true]
        for (const { index, pages, first, count } of messages) {
          if (at === of) {
            right &&= index === sizes.length && first === 0
            sizes.push(pages)
            ;[at, of] = [0, pages]
          } else right &&= index === sizes.length - 1 && first === at && pages === of
          right &&= first + count <= pages
          at += count
        }
        right &&= at === of
        const said = messages.map(({ index, pages, first, count }) => told(index, pages, first, count))
        const code = await learnt(said).then(
          () => null,
          (error: GodwitError) => error.code,
        )
        expect(code).toBe(right ? null : 'unexpected-message')
        if (right) good++
      }),
      seeded(3000),
    )
    expect(good).toBeGreaterThan(5)
    expect(4 * 2 ** 20).toBe(MAX_FOREIGN_PAGES)
  })
})

it('only rounds that are encoded and proven refer to other guests', () => {
  const refers = (settings: object): boolean => refersToOthers(settingsSchema.parse(settings))
  expect([{}, { encode: 'dedup' }, { movement: 'stop-and-copy' }, { movement: 'hybrid' }].map(refers)).toEqual(
    Array(4).fill(true),
  )
  const none = [
    { encode: 'lz4' },
    { encode: 'zero' },
    { verify: 'none' },
    { verify: 'full' },
    { movement: 'post-copy' },
  ]
  expect([...none, { movement: 'hybrid', maxRounds: 0 }].map(refers)).toEqual(Array(6).fill(false))
})
