// NEED and GOT frames: round trips, any portions, hostile payloads, and readers that must not take them.

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { GodwitError } from '../../src/errors.ts'
import { MAX_NEEDS } from '../../src/limits.ts'
import { decodeControl } from '../../src/wire/control-codec.ts'
import { checkOf, encodeHeader, FRAME_HEADER_BYTES, FRAME_TYPE } from '../../src/wire/frame.ts'
import { ControlFrameReader } from '../../src/wire/frame-reader.ts'
import { encodeControl } from '../../src/wire/message-frame.ts'
import type { ControlMessage } from '../../src/wire/messages.ts'
import { decodeNeeds, encodeNeeds, kindOf, NEED, needOf, pageOf } from '../../src/wire/needs.ts'
import { seeded } from '../kernels/memory-fixture.ts'

const codeOf = (run: () => unknown): string | null => {
  try {
    run()
    return null
  } catch (thrown) {
    return thrown instanceof GodwitError ? thrown.code : `not coded: ${thrown}`
  }
}
const entry = fc
  .tuple(fc.constantFrom(NEED.fault, NEED.again, NEED.unneeded), fc.nat({ max: 2 ** 30 - 1 }))
  .map(([kind, page]) => needOf(kind, page))
const entries = fc.array(entry, { minLength: 1, maxLength: MAX_NEEDS })
const got = new Uint8Array(FRAME_HEADER_BYTES)
encodeHeader(got, 0, { type: FRAME_TYPE.got, length: 0, round: 0 })
const ping = { type: 'ping', sentAt: 5n } as const
/** A NEED frame of any payload. */
const needFrame = (payload: Uint8Array): Uint8Array => {
  const header = new Uint8Array(FRAME_HEADER_BYTES)
  encodeHeader(header, 0, {
    type: FRAME_TYPE.need,
    length: payload.length,
    round: 0,
    check: checkOf(FRAME_TYPE.need, payload),
  })
  return Buffer.concat([header, payload])
}

/** A reader that writes down what it hears, in order. */
function listener(): {
  reader: ControlFrameReader<ControlMessage>
  heard: unknown[]
  push: (bytes: Uint8Array) => void
} {
  const heard: unknown[] = []
  const reader = new ControlFrameReader(decodeControl, undefined, {
    need: (needs) => heard.push([...needs]),
    got: () => heard.push('got'),
  })
  return { reader, heard, push: (bytes) => reader.push(bytes, (message) => heard.push(message)) }
}

describe('needs', () => {
  it('come back as they were written', () => {
    fc.assert(
      fc.property(entries, (list) => {
        const frame = encodeNeeds(Uint32Array.from(list), list.length)
        const read = decodeNeeds(frame.subarray(FRAME_HEADER_BYTES))
        expect([...read]).toEqual(list)
      }),
      seeded(300),
    )
    expect([kindOf(needOf(NEED.unneeded, 2 ** 20 - 1)), pageOf(needOf(NEED.unneeded, 2 ** 20 - 1))]).toEqual([
      2,
      2 ** 20 - 1,
    ])
  })

  it('any payload is entries of known kinds or bad-frame', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 4 * MAX_NEEDS + 16 }), (payload) => {
        const code = codeOf(() => {
          const read = decodeNeeds(payload)
          expect(read.length).toBe(payload.length / 4)
          expect(read.length).toBeLessThanOrEqual(MAX_NEEDS)
          for (const one of read) expect(kindOf(one)).toBeLessThanOrEqual(NEED.unneeded)
        })
        expect([null, 'bad-frame']).toContain(code)
      }),
      seeded(10_000),
    )
  })

  it('names what is wrong', () => {
    expect(codeOf(() => decodeNeeds(new Uint8Array(0)))).toBe('bad-frame')
    expect(codeOf(() => decodeNeeds(new Uint8Array(3)))).toBe('bad-frame')
    expect(codeOf(() => decodeNeeds(new Uint8Array(4 * MAX_NEEDS + 4)))).toBe('bad-frame')
    expect(codeOf(() => decodeNeeds(Uint8Array.of(0, 0, 0, 0xc0)))).toBe('bad-frame')
    expect(codeOf(() => decodeNeeds(Uint8Array.of(0xff, 0xff, 0xff, 0xbf)))).toBe(null)
  })
})

describe('a reader with feedback', () => {
  it('hears needs, acknowledgements and messages in order, in any portions', () => {
    const parts = fc.array(fc.oneof(entries, fc.constant('got' as const), fc.constant(ping)), { maxLength: 12 })
    fc.assert(
      fc.property(parts, fc.array(fc.integer({ min: 1, max: 3000 }), { minLength: 1 }), (sent, portions) => {
        const frames = sent.map((part) =>
          part === 'got'
            ? got
            : Array.isArray(part)
              ? encodeNeeds(Uint32Array.from(part), part.length)
              : encodeControl(part),
        )
        const stream = Buffer.concat(frames)
        const { reader, heard, push } = listener()
        for (let at = 0, turn = 0; at < stream.length; turn++) {
          const size = portions[turn % portions.length] as number
          push(stream.subarray(at, at + size))
          at += size
        }
        expect(heard).toEqual(sent)
        expect(reader.midFrame).toBe(false)
      }),
      seeded(200),
    )
  })

  it('refuses by name whatever a hostile destination sends', () => {
    const good = Buffer.concat([
      encodeNeeds(Uint32Array.of(1, 2, 3), 3),
      got,
      encodeControl(ping),
      needFrame(new Uint8Array(8)),
    ])
    const inputs = fc.tuple(
      fc.array(fc.tuple(fc.nat(good.length - 1), fc.nat(255)), { minLength: 1, maxLength: 4 }),
      fc.integer({ min: 1, max: 100 }),
    )
    fc.assert(
      fc.property(inputs, ([changes, portion]) => {
        const stream = Buffer.from(good)
        for (const [at, value] of changes) stream[at] = value
        const { push } = listener()
        const code = codeOf(() => {
          for (let at = 0; at < stream.length; at += portion) push(stream.subarray(at, at + portion))
        })
        expect(code === null || !/not coded|internal/.test(code)).toBe(true)
      }),
      seeded(10_000),
    )
  })

  it('names what is wrong with a frame before its payload is there', () => {
    const heads: [string, (header: DataView) => void][] = [
      ['frame-too-long', (header) => header.setUint32(8, 4 * MAX_NEEDS + 1, true)],
      ['bad-message', (header) => header.setUint32(8, 0, true)],
      ['unexpected-message', (header) => header.setUint8(5, FRAME_TYPE.pull)],
      ['unexpected-message', (header) => header.setUint8(5, FRAME_TYPE.pages)],
    ]
    for (const [code, change] of heads) {
      const head = Uint8Array.from(needFrame(new Uint8Array(4)).subarray(0, FRAME_HEADER_BYTES))
      change(new DataView(head.buffer))
      expect(codeOf(() => listener().push(head))).toBe(code)
    }
    // A need that was altered on its way would be a page that nobody asks for.
    const altered = Uint8Array.from(needFrame(new Uint8Array(4)))
    altered[FRAME_HEADER_BYTES] = 1
    expect(codeOf(() => listener().push(altered))).toBe('bad-frame')
    const long = got.slice()
    new DataView(long.buffer).setUint32(8, 1, true)
    expect(codeOf(() => listener().push(long))).toBe('frame-too-long')
    expect(codeOf(() => listener().push(needFrame(new Uint8Array(6))))).toBe('bad-frame')
  })

  it('a reader of control frames alone takes neither', () => {
    for (const frame of [got, encodeNeeds(Uint32Array.of(1), 1)]) {
      expect(codeOf(() => new ControlFrameReader(decodeControl).push(frame, () => {}))).toBe('unexpected-message')
    }
  })
})
