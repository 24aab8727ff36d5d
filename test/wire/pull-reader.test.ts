// PULL frames from the pull sender to the stream reader: every batch in any portions, and a source that breaks the rules
// R9 and R10 in every way.

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { ERROR_CODES, GodwitError } from '../../src/errors.ts'
import { resetAfterCut } from '../../src/guest/installing.ts'
import { HEADER } from '../../src/guest/layout.ts'
import { PRESENCE } from '../../src/guest/presence.ts'
import { digestTotal, loadKernels } from '../../src/kernels/kernels.ts'
import { MAX_PULL_FRAME_BYTES, READ_BYTES } from '../../src/limits.ts'
import { StreamReader } from '../../src/wire/stream-reader.ts'
import { seeded } from '../kernels/memory-fixture.ts'
import {
  absentGuest,
  frameOf,
  missingOf,
  PAGE,
  pageBytes,
  presenceOf,
  pullFrames,
  rawEntry,
  tamper,
  tampering,
  zeroEntry,
} from './pull-streams.ts'
import { feed, framesOf, guestOf, recheck, roundEnd } from './streams.ts'

const codeOf = (run: () => unknown): string | null => {
  try {
    run()
    return null
  } catch (thrown) {
    return thrown instanceof GodwitError ? thrown.code : `not coded: ${thrown}`
  }
}
const { absent, requested, installing, installed, local } = PRESENCE
const content = (value: number): Uint8Array => new Uint8Array(PAGE).fill(value)

describe('good streams', () => {
  /** All pages in a random order of random batches; long runs arise where the order is kept. */
  const plan = (pages: number) =>
    fc.record({
      pattern: fc.stringMatching(/^[rz]{1,40}$/),
      order: fc.oneof(
        fc.constant(Array.from({ length: pages }, (_, page) => page)),
        fc.shuffledSubarray(
          Array.from({ length: pages }, (_, page) => page),
          { minLength: pages, maxLength: pages },
        ),
      ),
      sizes: fc.array(fc.integer({ min: 1, max: 256 }), { minLength: 1, maxLength: 9 }),
      portions: fc.array(fc.integer({ min: 1, max: 300_000 }), { minLength: 1, maxLength: 9 }),
    })

  it.each([16, 304])('random batches of %d pages arrive whole: bytes, presence, missing, digest', (pages) => {
    fc.assert(
      fc.property(plan(pages), ({ pattern, order, sizes, portions }) => {
        const from = guestOf(pattern, pages * PAGE, 3)
        const batches: number[][] = []
        for (let at = 0, turn = 0; at < pages; turn++) {
          const size = sizes[turn % sizes.length] as number
          batches.push(order.slice(at, at + size))
          at += size
        }
        const { to, reader, spoilt, ends } = absentGuest(pages)
        let turn = 0
        let arrived = 0
        for (const [index, frame] of pullFrames(from, batches).entries()) {
          expect(ends.last).toBe(0)
          feed(reader, frame, () => portions[turn++ % portions.length] as number)
          arrived += (batches[index] as number[]).length
          expect([missingOf(to), reader.pull.installed]).toEqual([pages - arrived, arrived])
        }
        expect(Buffer.compare(from.bytes, to.bytes)).toBe(0)
        expect(digestTotal(to)).toBe(digestTotal(from))
        expect([spoilt, ends.last, reader.pull.dropped, reader.betweenFrames]).toEqual([[], 1, 0, true])
        for (let page = 0; page < pages; page++) expect(presenceOf(to, page)).toBe(installed)
      }),
      seeded(40),
    )
  })

  it('byte by byte', () => {
    const from = guestOf('rzr', 16 * PAGE, 3)
    const { to, reader } = absentGuest(16)
    for (const frame of pullFrames(from, [
      [15, 0, 3],
      [1, 2, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14],
    ]))
      feed(reader, frame, () => 1)
    expect(Buffer.compare(from.bytes, to.bytes)).toBe(0)
    expect(digestTotal(to)).toBe(digestTotal(from))
  })

  it('a page is not there before its last byte is, and pages of a long run one by one (R9)', () => {
    const from = guestOf('r', 16 * PAGE, 3)
    const [frame] = pullFrames(from, [[3, 4, 5]]) as [Uint8Array]
    const { to, reader } = absentGuest(16)
    const head = frame.length - 3 * PAGE
    feed(reader, frame.subarray(0, head), () => 1000)
    expect([3, 4, 5].map((page) => presenceOf(to, page))).toEqual([installing, installing, installing])
    feed(reader, frame.subarray(head, head + 2 * PAGE - 1), () => PAGE)
    expect([3, 4, 5].map((page) => presenceOf(to, page))).toEqual([installed, installing, installing])
    expect(missingOf(to)).toBe(15)
  })

  it('a cut in the middle of a frame: what was on its way in is missing, and comes by another lane (R23)', () => {
    const from = guestOf('rz', 32 * PAGE, 3)
    const frames = pullFrames(from, [[8, 9, 10, 11]])
    const { to, reader } = absentGuest(32)
    feed(reader, (frames[0] as Uint8Array).subarray(0, -10), () => 5000)
    resetAfterCut(to)
    expect([8, 9, 10, 11].map((page) => presenceOf(to, page))).toEqual([installed, installed, absent, absent])
    const rest = Array.from({ length: 32 }, (_, page) => page).filter((page) => page !== 8 && page !== 9)
    const lane = new StreamReader({ memory: to, kernels: loadKernels(to), channel: 2, hash: true })
    for (const again of pullFrames(from, [rest])) feed(lane, again, () => 5000)
    expect(Buffer.compare(from.bytes, to.bytes)).toBe(0)
    expect([digestTotal(to), missingOf(to)]).toEqual([digestTotal(from), 0])
  })
})

describe('a source that breaks a rule', () => {
  const good = content(7)
  const cases: [string, string, Uint8Array[]][] = [
    ['duplicate-page', 'a page twice in one frame', [frameOf([zeroEntry(3), zeroEntry(3)])]],
    [
      'duplicate-page',
      'a raw page twice in one frame',
      [frameOf([rawEntry(3, good), rawEntry(3, good)], Buffer.concat([good, good]))],
    ],
    ['duplicate-page', 'a page in two frames', [frameOf([zeroEntry(3)]), frameOf([zeroEntry(3)])]],
    ['bad-run', 'a page outside the guest', [frameOf([zeroEntry(16)])]],
    ['bad-run', 'a page far outside', [frameOf([{ ...zeroEntry(0), page: 0xffff_ffff }])]],
    [
      'bad-run',
      'a good page, then one outside: nothing of the frame is taken',
      [frameOf([zeroEntry(15), zeroEntry(16)])],
    ],
    ['bad-encoding', 'encoding 0', [frameOf([{ ...zeroEntry(3), encoding: 0 }])]],
    ['bad-encoding', 'encoding 3', [frameOf([{ ...zeroEntry(3), encoding: 3 }])]],
    ['bad-encoding', 'an encoding of many bytes', [frameOf([{ ...zeroEntry(3), encoding: 0x101 }])]],
    ['bad-frame', 'no pages', [frameOf([zeroEntry(3)], undefined, { count: 0 })]],
    ['bad-frame', 'reserved bytes', [frameOf([zeroEntry(3)], undefined, { second: 1 })]],
    ['frame-too-long', '257 pages', [frameOf([zeroEntry(3)], undefined, { count: 257 })]],
    ['frame-too-long', '4 Gi pages', [frameOf([zeroEntry(3)], undefined, { count: 0xffff_ffff })]],
    ['bad-frame', 'a table longer than the frame', [frameOf([zeroEntry(3)], undefined, { count: 2 })]],
    ['bad-frame', 'too short for a page', [frameOf([], undefined, { count: 1 })]],
    ['bad-frame', 'content behind zero pages', [frameOf([zeroEntry(3)], good)]],
    ['bad-frame', 'content too short', [frameOf([rawEntry(3, good)], good.subarray(1))]],
    ['bad-frame', 'content too long', [frameOf([rawEntry(3, good)], Buffer.concat([good, good]))]],
    ['bad-frame', 'no content', [frameOf([rawEntry(3, good)])]],
    ['unexpected-message', 'pages of a round (R9)', [framesOf(guestOf('r', 16 * PAGE), 0)[0] as Uint8Array]],
    ['unexpected-message', 'the end of a round', [roundEnd(0)]],
  ]
  it.each(cases)('%s: %s', (code, what, frames) => {
    const { to, reader } = absentGuest(16)
    const before = to.bytes.slice()
    expect(codeOf(() => feed(reader, Buffer.concat(frames), () => 1000))).toBe(code)
    // A page that came once before its second copy may be there, nothing else is touched.
    const untouched = what.startsWith('a page in two') ? [0, 1, 2, 4, 15] : [0, 1, 2, 3, 4, 15]
    for (const page of untouched) expect(Buffer.compare(pageBytes(to, page), before.subarray(0, PAGE))).toBe(0)
    if (code !== 'duplicate-page') expect(missingOf(to)).toBe(16)
    // After it the stream is dead: what still comes lands nowhere.
    expect(() => reader.advance(0)).toThrow(/failed/)
    reader.next().fill(0xee)
    expect(to.bytes.includes(0xee)).toBe(false)
  })

  it('a length above the cap is refused by its header', () => {
    const frame = frameOf([zeroEntry(3)])
    new DataView(frame.buffer).setUint32(8, MAX_PULL_FRAME_BYTES + 1, true)
    expect(codeOf(() => feed(absentGuest(16).reader, frame, () => 1000))).toBe('frame-too-long')
  })

  it('pages of the pull phase before the switch: unexpected-message', () => {
    const { to, reader } = absentGuest(16)
    Atomics.store(to.controlWords, HEADER.pulling, 0)
    expect(codeOf(() => feed(reader, frameOf([zeroEntry(3)]), () => 1000))).toBe('unexpected-message')
  })

  it('a frame of a round that began before the switch is not placed after it (R9)', () => {
    for (const pattern of ['rrzrz', 'r']) {
      const { to, reader } = absentGuest(32)
      Atomics.store(to.controlWords, HEADER.pulling, 0)
      const [frame] = framesOf(guestOf(pattern, 32 * PAGE), 0) as [Uint8Array]
      feed(reader, frame.subarray(0, 30), () => 1000)
      Atomics.store(to.controlWords, HEADER.pulling, 1)
      expect(codeOf(() => feed(reader, frame.subarray(30), () => 1000))).toBe('unexpected-message')
      expect(to.bytes.every((byte) => byte === 0xdd)).toBe(true)
    }
  })

  it('rounds on the urgent lane: unexpected-message', () => {
    const { to } = absentGuest(16)
    Atomics.store(to.controlWords, HEADER.pulling, 0)
    const reader = () =>
      new StreamReader({ memory: to, kernels: loadKernels(to), channel: 1, hash: true, urgent: true })
    for (const frame of framesOf(guestOf('r', 16 * PAGE), 0)) {
      expect(codeOf(() => feed(reader(), frame, () => 1000))).toBe('unexpected-message')
    }
  })

  it.each([
    ['content', (frame: Uint8Array) => frame.fill(8, -1)],
    ['seal', (frame: Uint8Array) => recheck(frame.fill(8, 24 + 16 + 8, 24 + 16 + 9), 24 + 3 * 16)],
  ])('a wrong %s: not installed, told once, the others are; a good copy installs (R10)', (_, spoil) => {
    const { to, reader, spoilt, ends } = absentGuest(16)
    const frame = frameOf([rawEntry(4, good), rawEntry(5, good), zeroEntry(6)], Buffer.concat([good, good]))
    spoil(frame)
    feed(reader, frame, () => 1500)
    expect(spoilt).toEqual([5])
    expect([4, 5, 6].map((page) => presenceOf(to, page))).toEqual([installed, requested, installed])
    expect([missingOf(to), reader.pull.installed, reader.betweenFrames]).toEqual([14, 2, true])
    feed(reader, frameOf([rawEntry(5, good)], good), () => 1500)
    expect([presenceOf(to, 5), missingOf(to), ends.last]).toEqual([installed, 13, 0])
    expect(Buffer.compare(pageBytes(to, 5), good)).toBe(0)
    expect(digestTotal(to)).toBe(loadKernels(to).digestOf(to.layout.hashes, 0, 16))
  })

  it('a page number that was altered on its way ends the link: nobody would send that page again', () => {
    const { to, reader, spoilt } = absentGuest(16)
    const frame = frameOf([rawEntry(4, good)], good)
    frame[24] = 5
    expect(codeOf(() => feed(reader, frame, () => 1500))).toBe('bad-frame')
    expect([spoilt, missingOf(to), presenceOf(to, 4), presenceOf(to, 5)]).toEqual([[], 16, absent, absent])
  })

  it('a zero page under the number of another is noticed (R10)', () => {
    const { to, reader, spoilt } = absentGuest(16)
    feed(reader, frameOf([{ ...zeroEntry(3), page: 9 }]), () => 1500)
    expect([spoilt, presenceOf(to, 9), presenceOf(to, 3)]).toEqual([[9], requested, absent])
  })
})

describe('pages that were written here', () => {
  const write = (to: ReturnType<typeof absentGuest>['to'], page: number): void => {
    Atomics.store(to.controlBytes, to.layout.presence + page, local)
    pageBytes(to, page).fill(0x11)
    Atomics.sub(to.controlWords, HEADER.missing, 1)
  }

  it('are dropped between others, and not a byte of them is touched (R9, R23)', () => {
    const from = guestOf('rrrrz', 16 * PAGE, 3)
    const { to, reader, ends } = absentGuest(16)
    for (const page of [0, 4, 6, 15]) write(to, page)
    const all = Array.from({ length: 16 }, (_, page) => page)
    for (const frame of pullFrames(from, [all])) feed(reader, frame, () => 1111)
    for (const page of all) {
      const expected = [0, 4, 6, 15].includes(page) ? content(0x11) : pageBytes(from, page)
      expect(Buffer.compare(pageBytes(to, page), expected)).toBe(0)
    }
    expect([missingOf(to), reader.pull.dropped, reader.pull.installed, ends.last]).toEqual([0, 4, 12, 1])
    expect(presenceOf(to, 4)).toBe(local)
  })

  it('cannot be sent for ever', () => {
    const { to, reader } = absentGuest(16)
    write(to, 5)
    const frame = frameOf([zeroEntry(5)])
    const codes = Array.from({ length: 17 }, () => codeOf(() => feed(reader, frame, () => 100)))
    expect(codes).toEqual([...new Array(16).fill(null), 'duplicate-page'])
    expect(Buffer.compare(pageBytes(to, 5), content(0x11))).toBe(0)
  })
})

/** The right check for whatever table a pull frame has now. */
function recheckTable(frame: Uint8Array): Uint8Array {
  const copy = Uint8Array.from(frame)
  if (copy.length < 24) return copy
  const end = 24 + 16 * new DataView(copy.buffer).getUint32(16, true)
  return end <= copy.length ? recheck(copy, end) : copy
}

it('10,000 hostile streams: coded errors, bounded reads, nothing written outside what the table claims', () => {
  const codes = new Set<string>()
  const from = guestOf('rzrr', 16 * PAGE, 5)
  // Page 2 was written here, pages 12 to 15 are present: none of them may change.
  const frames = pullFrames(from, [
    [0, 1, 4, 3],
    [2, 5],
    [11, 10, 9],
    [6, 7, 8],
  ])
  const { to } = absentGuest(16)
  const start = { control: to.controlBytes.slice(0, to.layout.threadBlocks), bytes: to.bytes.slice() }
  const kept = [2, 12, 13, 14, 15]
  start.control[to.layout.presence + 2] = local
  start.control.fill(PRESENCE.present, to.layout.presence + 12, to.layout.presence + 16)
  const kernels = loadKernels(to)
  const inputs = fc.record({
    how: fc.array(tampering, { minLength: 1, maxLength: 3 }),
    portion: fc.integer({ min: 1, max: 20_000 }),
    // Whoever tampers knowingly puts the right check in.
    rechecked: fc.boolean(),
  })
  fc.assert(
    fc.property(inputs, ({ how, portion, rechecked }) => {
      to.controlBytes.set(start.control)
      to.bytes.set(start.bytes)
      const reader = new StreamReader({ memory: to, kernels, channel: 0, hash: true })
      const tampered = how.reduce(tamper, frames)
      const stream = Buffer.concat(rechecked ? tampered.map(recheckTable) : tampered)
      const code = codeOf(() => {
        for (let at = 0; at < stream.length; ) {
          const target = reader.next()
          if (target.length === 0 || target.length > READ_BYTES) throw new Error(`a read of ${target.length} bytes`)
          const size = Math.min(target.length, portion, stream.length - at)
          target.set(stream.subarray(at, at + size))
          at += size
          reader.advance(size)
        }
      })
      for (const page of kept) expect(Buffer.compare(pageBytes(to, page), start.bytes.subarray(0, PAGE))).toBe(0)
      for (let page = 0; page < 16; page++) {
        const state = presenceOf(to, page)
        // Whoever may see a page sees the source's bytes of it.
        if (state === installed) expect(Buffer.compare(pageBytes(to, page), pageBytes(from, page))).toBe(0)
        if (state === absent) expect(pageBytes(to, page)[0]).toBe(0xdd)
      }
      if (code === null) return
      expect(Object.hasOwn(ERROR_CODES, code) && code !== 'internal').toBe(true)
      codes.add(code)
    }),
    { ...seeded(10_000), seed: Number(process.env.GODWIT_SEED ?? 20_261_122) },
  )
  expect(codes.size).toBeGreaterThan(6)
}, 120_000)
