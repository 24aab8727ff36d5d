// The chooser against a small world: codecs of known speed and ratio, a link of known rate, and noise.

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Chooser, type Outlook } from '../../src/encoding/chooser.ts'
import { raw } from '../../src/encoding/raw.ts'
import { PAGE_BYTES } from '../../src/limits.ts'
import { seeded } from '../kernels/memory-fixture.ts'

/** What a codec makes of a page of a class. */
interface Made {
  readonly bytes: number
  readonly ms: number
}
interface World {
  /** By class: share of the pages, and what each codec makes of one. */
  readonly classes: readonly { share: number; made: readonly Made[] }[]
  readonly lookMs: number
  readonly bytesPerSecond: number
}
/** Wire ids that stand for the codecs of a world. */
const codecsOf = ({ classes }: World): number[] => (classes[0]?.made ?? []).map((_, codec) => 3 + codec)

/** Shows a chooser so many batches of the world. */
function shown(world: World, batches = 200, chooser = new Chooser(world.classes.length, codecsOf(world))): Chooser {
  const counts = Uint32Array.from(world.classes, ({ share }) => Math.round(share * 10_000))
  const pages = counts.reduce((sum, one) => sum + one, 0)
  for (let batch = 0; batch < batches; batch++) {
    chooser.noteLink(world.bytesPerSecond / 100, 10)
    chooser.noteClasses(counts, pages, pages * world.lookMs)
    for (const [one, { made }] of world.classes.entries()) {
      for (const [codec, { bytes, ms }] of made.entries()) chooser.note(one, 3 + codec, bytes, ms)
    }
  }
  return chooser
}

/** Time to completion of a page, ms, with this codec a class (−1: raw). */
function completion(world: World, choice: readonly number[]): number {
  let [bytes, ms] = [16, world.lookMs]
  const total = world.classes.reduce((sum, { share }) => sum + share, 0)
  for (const [one, { share, made }] of world.classes.entries()) {
    const codec = made[choice[one] as number]
    bytes += (share / total) * (codec?.bytes ?? PAGE_BYTES)
    ms += (share / total) * (codec?.ms ?? 0)
  }
  return Math.max(ms, (bytes / world.bytesPerSecond) * 1000)
}

function best(world: World): number {
  let choices: number[][] = [[]]
  for (const { made } of world.classes) {
    choices = choices.flatMap((front) => [-1, ...made.keys()].map((codec) => [...front, codec]))
  }
  return Math.min(...choices.map((choice) => completion(world, choice)))
}

const MB = 1e6
/** Class 0 shrinks well and quickly, class 1 somewhat and slowly, class 2 not at all. */
const TYPICAL: World = {
  classes: [
    {
      share: 0.3,
      made: [
        { bytes: 700, ms: 0.004 },
        { bytes: 400, ms: 0.012 },
      ],
    },
    {
      share: 0.4,
      made: [
        { bytes: 3900, ms: 0.005 },
        { bytes: 2000, ms: 0.014 },
      ],
    },
    {
      share: 0.3,
      made: [
        { bytes: 4096, ms: 0.006 },
        { bytes: 4096, ms: 0.002 },
      ],
    },
  ],
  lookMs: 0.002,
  bytesPerSecond: 0,
}
const typical = (bytesPerSecond: number): World => ({ ...TYPICAL, bytesPerSecond })

describe('the chooser', () => {
  it('stays off on a link faster than any codec', () => {
    expect(shown(typical(5000 * MB)).decide()).toMatchObject({ on: false })
  })

  it('takes the smallest form of each class on a slow link, and raw for what does not shrink', () => {
    const chooser = shown(typical(20 * MB))
    const { on, bytes } = chooser.decide()
    expect(on).toBe(true)
    expect([0, 1, 2].map((one) => chooser.codecOf(one))).toEqual([4, 4, raw.id])
    expect(bytes).toBeCloseTo(16 + 0.3 * 400 + 0.4 * 2000 + 0.3 * PAGE_BYTES, 0)
  })

  it('between the two takes what is quick and leaves the rest', () => {
    const chooser = shown(typical(700 * MB))
    expect(chooser.decide().on).toBe(true)
    expect(chooser.codecOf(0)).toBe(3)
    expect(chooser.codecOf(2)).toBe(raw.id)
    expect(chooser.outlook.ms).toBeLessThan(PAGE_BYTES / (700 * MB) / 0.001)
  })

  it('knows nothing before the link has shown itself, nor of classes and codecs that are not its own', () => {
    const chooser = new Chooser(2, [3])
    expect(chooser.decide()).toMatchObject({ on: false, link: null })
    chooser.note(7, 3, 1, 1)
    chooser.note(0, 9, 1, 1)
    expect(chooser.knows(0)).toBe(false)
    expect(chooser.knows(7)).toBe(true)
    expect(chooser.codecOf(7)).toBe(raw.id)
  })

  it('an interrupted thread does not lock a codec out', () => {
    const world = typical(50 * MB)
    const chooser = shown(world)
    for (let one = 0; one < 2; one++) for (const codec of [3, 4]) chooser.note(one, codec, 500, 1e6)
    expect(chooser.decide().on).toBe(true)
    expect(chooser.codecOf(0)).toBe(4)
    // Nor does a first call that takes a thousand times as long as those after it.
    const fresh = new Chooser(3, [3, 4])
    for (const codec of [3, 4]) for (let one = 0; one < 3; one++) fresh.note(one, codec, 500, 8)
    expect(shown(world, 20, fresh).decide().on).toBe(true)
  })

  it('follows a codec that has really become slow, and a link that has become fast', () => {
    const world = typical(100 * MB)
    const chooser = shown(world)
    expect(chooser.decide().on).toBe(true)
    const slow = { ...world, classes: world.classes.map(({ share, made }) => ({ share, made: made.map(tenfold) })) }
    expect(shown({ ...slow, bytesPerSecond: 1000 * MB }, 400, chooser).decide().on).toBe(false)
  })

  it('stays off where handing pages over takes as long as the link does: a loopback has one processor for both', () => {
    const world = typical(700 * MB)
    const chooser = shown(world)
    expect(chooser.decide().on).toBe(true)
    for (let write = 0; write < 9; write++) chooser.noteCopying(MB, 1000 / 750)
    expect(chooser.decide().on).toBe(false)
    // A thread that hands over ten times as fast encodes while the link carries what is there.
    for (let write = 0; write < 9; write++) chooser.noteCopying(MB, 1000 / 7000)
    expect(chooser.decide().on).toBe(true)
  })

  it('a thread that has a quarter of a processor encodes a quarter as fast, though few pages show it', () => {
    const world = typical(170 * MB)
    const chooser = shown(world)
    expect(chooser.decide().on).toBe(true)
    const batches = (others: number): void => {
      for (let batch = 0; batch < 60; batch++) {
        shown(world, 1, chooser)
        // One page in all of a batch meets the time slices of the others.
        for (let page = 0; page < 100; page++) chooser.note(0, 3, 700, 0.004)
        chooser.note(0, 3, 700, 0.4 * others)
        chooser.decide()
      }
    }
    batches(12)
    expect(chooser.decide().on).toBe(false)
    batches(0)
    expect(chooser.decide().on).toBe(true)
  })

  it('takes any measurement without an error or a promise that cannot be', () => {
    const odd = fc.oneof(
      fc.constantFrom(0, -1, 1e-300, 1e300, Number.NaN, Number.POSITIVE_INFINITY),
      fc.double({ min: 0, max: 1e6 }),
    )
    const note = fc.tuple(fc.constantFrom('link', 'codec', 'classes', 'copying'), odd, odd)
    fc.assert(
      fc.property(fc.array(note, { maxLength: 40 }), (notes) => {
        const chooser = new Chooser(3, [3, 4])
        for (const [kind, a, b] of notes) {
          if (kind === 'link') chooser.noteLink(a, b)
          else if (kind === 'copying') chooser.noteCopying(a, b)
          else if (kind === 'codec') chooser.note(0, 3, a, b)
          else chooser.noteClasses(Uint32Array.of(1, 3, 0), 4, b)
        }
        const { on, bytes, ms, link } = chooser.decide()
        expect(link === null || link > 0).toBe(true)
        if (on && !notes.some(([kind]) => kind === 'copying'))
          expect(Math.max(ms, (1000 * bytes) / (link as number))).toBeLessThan((1000 * PAGE_BYTES) / (link as number))
        for (let write = 0; write < 9; write++) chooser.noteCopying(MB, 0.1)
        // After enough honest measurements it is of this world again.
        expect(shown(typical(20 * MB), 2000, chooser).decide().on).toBe(true)
      }),
      seeded(60),
    )
  })
})

const tenfold = ({ bytes, ms }: Made): Made => ({ bytes, ms: 10 * ms })

const made = fc.record({
  bytes: fc.integer({ min: 8, max: PAGE_BYTES }),
  ms: fc.double({ min: 0.001, max: 0.05, noNaN: true }),
})
const worlds: fc.Arbitrary<World> = fc.record({
  classes: fc.array(
    fc.record({
      share: fc.double({ min: 0.05, max: 1, noNaN: true }),
      made: fc.array(made, { minLength: 3, maxLength: 3 }),
    }),
    { minLength: 3, maxLength: 3 },
  ),
  lookMs: fc.double({ min: 0.0005, max: 0.005, noNaN: true }),
  bytesPerSecond: fc.double({ min: 1 * MB, max: 5000 * MB, noNaN: true }),
})
const endOf = ({ bytes, ms, link }: Outlook): number => Math.max(ms, (1000 * bytes) / (link as number))

describe('in any world', () => {
  it('is never worse than plain sending, and says what its choice comes to', () => {
    fc.assert(
      fc.property(worlds, (world) => {
        const chooser = shown(world, 300)
        const outlook = chooser.decide()
        const plain = (1000 * PAGE_BYTES) / world.bytesPerSecond
        if (outlook.on) expect(endOf(outlook)).toBeLessThan(plain)
        const choice = world.classes.map((_, one) => chooser.codecOf(one) - 3)
        const real = completion(world, choice)
        if (outlook.on) expect(real).toBeLessThan(1.05 * plain)
        expect(Math.abs(endOf(outlook) - real)).toBeLessThan(0.05 * real)
      }),
      seeded(300),
    )
  })

  it('comes close to the best of all choices', () => {
    let [sum, worst, runs] = [0, 0, 0]
    fc.assert(
      fc.property(worlds, (world) => {
        const chooser = shown(world, 300)
        chooser.decide()
        const ratio =
          completion(
            world,
            world.classes.map((_, one) => chooser.codecOf(one) - 3),
          ) / best(world)
        sum += ratio
        runs++
        worst = Math.max(worst, ratio)
      }),
      { ...seeded(300), seed: 4711 },
    )
    expect(sum / runs).toBeLessThan(1.02)
    // One change at a time can end where only two at once would help.
    expect(worst).toBeLessThan(3)
  })
})
