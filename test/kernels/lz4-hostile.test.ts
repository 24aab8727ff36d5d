// The LZ4 decoder against bytes that nobody should send: at least 10,000 of each kind. It must say of each what the plain
// twin says, write the same, and touch nothing but its output.

import fc from 'fast-check'
import { afterAll, describe, expect, it } from 'vitest'
import { CODEC_AREA } from '../../src/guest/layout.ts'
import { loadLz4 } from '../../src/kernels/lz4.ts'
import { createLz4Twin } from '../../src/kernels/lz4-twin.ts'
import { atTheEnd, contentOf, guarded, type Said, write } from './lz4-fixture.ts'
import { sameBytes, seeded, twoGuests } from './memory-fixture.ts'

const CASES = 10_000
const [guest, twinGuest] = twoGuests(16)
const kernel = loadLz4(guest)
const twin = createLz4Twin(twinGuest)
const target = guest.layout.staging + 4096
const table = guest.layout.codecs + CODEC_AREA.tables

/** What became of the cases of one kind; a kind in which nothing passes or nothing fails would prove little. */
let [passed, refused] = [0, 0]

function decode(block: Uint8Array, capacity: number): void {
  const source = atTheEnd(guest, block.length)
  const room = guarded(guest, target, capacity)
  guest.controlBytes.set(block, source.at)
  twinGuest.controlBytes.set(block, source.at)
  const length = kernel.decompress(source.at, block.length, target, capacity)
  const expected = twin.decompress(source.at, block.length, target, capacity)
  if (length !== expected) expect.fail(`the kernel says ${length}, the twin ${expected}`)
  room.check()
  source.check()
  const [ours, theirs] = [guest, twinGuest].map(({ controlBytes }) => controlBytes.subarray(target, target + length))
  if (length >= 0 && !sameBytes(ours as Uint8Array, theirs as Uint8Array)) expect.fail('kernel and twin differ')
  if (length >= 0) passed++
  else refused++
}

const capacity = fc.oneof(fc.nat(64), fc.nat(4096), fc.constantFrom(0, 15, 16, 17, 4096, 65_536))

/** Checks one kind and that enough of its cases went either way. */
function hostile(kind: string, block: fc.Arbitrary<Uint8Array>, least: { passed: number; refused: number }): void {
  it(kind, () => {
    passed = refused = 0
    fc.assert(fc.property(block, capacity, decode), seeded(CASES))
    expect(passed + refused).toBeGreaterThanOrEqual(CASES)
    expect(passed).toBeGreaterThanOrEqual(least.passed)
    expect(refused).toBeGreaterThanOrEqual(least.refused)
  })
}

const bytes = fc.uint8Array({ maxLength: 300 })
/** Blocks that nobody has touched yet; made once, for content is dear to generate. */
const blocks = fc.sample(contentOf(1500), seeded(500)).map((content) => {
  guest.controlBytes.set(content, target)
  const length = kernel.compress(target, content.length, target + 65_536, 4096, table)
  return guest.controlBytes.slice(target + 65_536, target + 65_536 + length)
})
const valid = fc.constantFrom(...blocks)
const said = (lengths: fc.Arbitrary<number>, offsets: fc.Arbitrary<number>, honest: boolean): fc.Arbitrary<Said[]> =>
  fc.array(
    fc.tuple(lengths, fc.uint8Array({ maxLength: 40 }), offsets, lengths).map(([literals, given, offset, match]) => ({
      literals: honest ? given.length : literals,
      given,
      offset,
      match,
    })),
    { maxLength: 8 },
  )

describe('the lz4 decoder takes any bytes', () => {
  hostile('random ones', bytes, { passed: 10, refused: 5000 })

  const change = fc.tuple(fc.nat(), fc.nat(255), fc.constantFrom('set', 'flip', 'insert', 'delete'))
  const changed = fc.tuple(valid, fc.array(change, { minLength: 1, maxLength: 4 })).map(([block, changes]) => {
    const out = [...block]
    for (const [where, value, how] of changes) {
      const at = where % (out.length + 1)
      if (how === 'insert') out.splice(at, 0, value)
      else if (how === 'delete') out.splice(at, 1)
      else if (at < out.length) out[at] = how === 'set' ? value : (out[at] as number) ^ (1 << (value & 7))
    }
    return Uint8Array.from(out)
  })
  hostile('valid blocks, altered', changed, { passed: 500, refused: 2000 })

  const cut = fc.tuple(valid, fc.nat()).map(([block, where]) => block.subarray(0, where % block.length))
  hostile('valid blocks, cut short', cut, { passed: 10, refused: 5000 })

  const near = fc.oneof(fc.nat(48), fc.constantFrom(0, 1, 2, 3, 7, 8, 15, 16, 17, 65_535))
  const offsets = fc.tuple(said(fc.nat(40), near, true), bytes).map(([sequences, last]) => write(sequences, last))
  hostile('offsets that point at themselves, before the output, or nowhere', offsets, { passed: 500, refused: 2000 })

  const long = fc.oneof(fc.nat(300), fc.nat(5000), fc.constantFrom(14, 15, 16, 269, 270, 271, 65_535, 65_536, 200_000))
  const few = fc.oneof(fc.integer({ min: 1, max: 20 }), near)
  const lengths = fc
    .tuple(said(long, few, true), said(long, few, false), bytes, fc.boolean())
    .map(([honest, lying, last, truth]) => write(truth ? honest : lying, last))
  hostile('lengths that run past both ends or go round and round', lengths, { passed: 500, refused: 2000 })

  const chains = fc
    .record({
      head: fc.constantFrom([], [0xf0], [0x1f, 7, 1, 0], [0x4f, 7, 8, 9, 0, 3, 0]),
      count: fc.oneof(fc.nat(20), fc.nat(2000)),
      tail: fc.oneof(
        fc.uint8Array({ maxLength: 12 }),
        fc.nat(254).map((byte) => Uint8Array.of(byte, 0)),
      ),
    })
    .map(({ head, count, tail }) => Uint8Array.from([...head, ...Array<number>(count).fill(255), ...tail]))
  hostile('chains of 255 that never end or add up to anything', chains, { passed: 100, refused: 5000 })
})

describe('the lz4 decoder', () => {
  it('refuses what the format rules out, one rule at a time', () => {
    const run = (block: number[], room = 64): number => {
      const source = atTheEnd(guest, block.length)
      guest.controlBytes.set(block, source.at)
      return kernel.decompress(source.at, block.length, target, room)
    }
    expect(run([]), 'no token').toBe(-1)
    expect(run([0x00]), 'an empty block').toBe(0)
    expect(run([0x10, 7]), 'one literal').toBe(1)
    expect(run([0x20, 7]), 'a literal that is not there').toBe(-1)
    expect(run([0x10, 7], 0), 'no room').toBe(-1)
    expect(run([0xf0]), 'a length that is not there').toBe(-1)
    expect(run([0x10, 7, 1]), 'half an offset').toBe(-1)
    expect(run([0x10, 7, 1, 0]), 'no last sequence').toBe(-1)
    expect(run([0x10, 7, 1, 0, 0x00]), 'a match of itself').toBe(5)
    expect(run([0x10, 7, 0, 0, 0x00]), 'offset 0').toBe(-1)
    expect(run([0x10, 7, 2, 0, 0x00]), 'an offset before the output').toBe(-1)
    expect(run([0x1f, 7, 1, 0, 40, 0x00], 60), 'a match that just fits').toBe(60)
    expect(run([0x1f, 7, 1, 0, 41, 0x00], 60), 'a match one too long').toBe(-1)
    expect(run([0x1f, 7, 1, 0, ...Array<number>(60_000).fill(255)]), 'a length without end').toBe(-1)
    expect(run([0x1f, 7, 1, 0, ...Array<number>(60_000).fill(255), 0, 0]), 'a length beyond any room').toBe(-1)
  })
})

afterAll(() => {
  // Nothing but the blocks, the outputs, their guards and the tables was ever written.
  const [from, to] = [target - 128, target + 65_536 + 4096]
  expect(guest.controlBytes.subarray(0, from).every((byte) => byte === 0)).toBe(true)
  expect(guest.controlBytes.subarray(to, table).every((byte) => byte === 0)).toBe(true)
  expect(guest.bytes.every((byte) => byte === 0)).toBe(true)
})
