// Headers and control messages: what is encoded is decoded, what is not right is named, nothing is trusted.

import fc from 'fast-check'
import { Packr } from 'msgpackr'
import { describe, expect, it } from 'vitest'
import { GodwitError } from '../../src/errors.ts'
import { MAX_CONTROL_FRAME_BYTES, MAX_PAGE_FRAME_BYTES } from '../../src/limits.ts'
import { decodeControl } from '../../src/wire/control-codec.ts'
import {
  decodeHeader,
  encodeHeader,
  FRAME_CAP,
  FRAME_HEADER_BYTES,
  FRAME_TYPE,
  type FrameHeader,
} from '../../src/wire/frame.ts'
import { ControlFrameReader } from '../../src/wire/frame-reader.ts'
import { encodeControl } from '../../src/wire/message-frame.ts'
import type { ControlMessage } from '../../src/wire/messages.ts'
import { seeded } from '../kernels/memory-fixture.ts'

const codeOf = (run: () => unknown): string | null => {
  try {
    run()
    return null
  } catch (thrown) {
    return thrown instanceof GodwitError ? thrown.code : `not coded: ${thrown}`
  }
}
const blank = (): FrameHeader => ({ type: FRAME_TYPE.control, length: 0, round: 0, check: 0 })

const hex = (length: number) => fc.stringMatching(new RegExp(`^[0-9a-f]{${length}}$`))
const epoch = fc.nat()
const messages: fc.Arbitrary<ControlMessage> = fc.oneof(
  fc.record({
    type: fc.constant('hello' as const),
    version: fc.nat({ max: 255 }),
    migration: hex(32),
    token: hex(32),
    generation: fc.nat({ max: 1_000_000 }),
    channel: fc.oneof(fc.constant('control' as const), fc.nat({ max: 15 })),
    capabilities: fc.array(fc.string({ maxLength: 20 }), { maxLength: 8 }),
  }),
  fc.record({ type: fc.constant('ping' as const), sentAt: fc.bigInt({ min: 0n, max: 2n ** 63n - 1n }) }),
  fc.record({
    type: fc.constant('pong' as const),
    sentAt: fc.bigInt({ min: 0n, max: 2n ** 62n }),
    clock: fc.bigInt({ min: 0n, max: 100n }),
  }),
  fc.record({
    type: fc.constant('placed' as const),
    round: fc.nat({ max: 100_000 }),
    bytes: fc.maxSafeNat(),
    missing: fc.option(fc.uint8Array({ maxLength: 100 })),
  }),
  fc.record({
    type: fc.constant('state' as const),
    round: fc.nat({ max: 100 }),
    epoch,
    vcpus: fc.array(
      fc.record({ steps: fc.maxSafeNat(), registers: fc.uint8Array({ minLength: 1024, maxLength: 1024 }) }),
      { minLength: 1, maxLength: 64 },
    ),
    digest: fc.option(hex(16)),
    free: fc.constant(null),
    pull: fc.boolean(),
    absent: fc.constant(null),
    shared: fc.boolean(),
    verify: fc.constantFrom('digest' as const, 'full' as const, 'none' as const),
  }),
  fc.record({
    type: fc.constant('active' as const),
    epoch,
    leftAt: fc.array(fc.bigInt({ min: 0n, max: 2n ** 60n }), { maxLength: 64 }),
    activateMs: fc.double({ min: 0, max: 1e6, noNaN: true }),
  }),
)

describe('headers', () => {
  it('come back as they were written, at any offset', () => {
    const header = fc.record({
      type: fc.constantFrom(FRAME_TYPE.pages, FRAME_TYPE.roundEnd, FRAME_TYPE.control),
      length: fc.nat({ max: 0xffffff }),
      round: fc.nat({ max: 100_000 }),
      check: fc.nat({ max: 2 ** 32 - 1 }),
    })
    fc.assert(
      fc.property(header, fc.nat({ max: 9 }), ({ type, length, ...last }, offset) => {
        const checked = type === FRAME_TYPE.control
        const [round, check] = checked ? [0, last.check] : [last.round, 0]
        const written = { type, length: length % (FRAME_CAP[type] + 1), round, check }
        const bytes = new Uint8Array(offset + FRAME_HEADER_BYTES)
        encodeHeader(bytes, offset, written)
        const read = blank()
        decodeHeader(bytes, offset, read)
        expect(read).toEqual(written)
      }),
      seeded(300),
    )
  })

  it('names each broken field', () => {
    const spoilt = (change: (view: DataView) => void, type: FrameHeader['type'] = FRAME_TYPE.pages): string | null => {
      const bytes = new Uint8Array(FRAME_HEADER_BYTES)
      encodeHeader(bytes, 0, { type, length: 0, round: 0 })
      change(new DataView(bytes.buffer))
      return codeOf(() => decodeHeader(bytes, 0, blank()))
    }
    expect(spoilt((view) => view.setUint8(0, 0))).toBe('bad-magic')
    expect(spoilt((view) => view.setUint8(4, 2))).toBe('wrong-version')
    expect(spoilt((view) => view.setUint8(5, 0))).toBe('unknown-frame')
    expect(spoilt((view) => view.setUint8(5, 15))).toBe('unknown-frame')
    expect(spoilt((view) => view.setUint16(6, 1, true))).toBe('bad-frame')
    expect(spoilt((view) => view.setUint32(8, MAX_PAGE_FRAME_BYTES + 1, true))).toBe('frame-too-long')
    expect(spoilt((view) => view.setUint32(8, MAX_CONTROL_FRAME_BYTES + 1, true), FRAME_TYPE.control)).toBe(
      'frame-too-long',
    )
    expect(spoilt((view) => view.setUint32(8, 1, true), FRAME_TYPE.roundEnd)).toBe('frame-too-long')
    expect(spoilt((view) => view.setUint32(12, 1, true), FRAME_TYPE.got)).toBe('bad-frame')
    expect(spoilt(() => {})).toBe(null)
  })
})

describe('control messages', () => {
  it('survive the wire in any portions, bigints included', () => {
    fc.assert(
      fc.property(
        fc.array(messages, { minLength: 1, maxLength: 4 }),
        fc.integer({ min: 1, max: 5000 }),
        (sent, portion) => {
          const stream = Buffer.concat(sent.map(encodeControl))
          const heard: ControlMessage[] = []
          const reader = new ControlFrameReader(decodeControl)
          for (let at = 0; at < stream.length; at += portion) {
            reader.push(stream.subarray(at, at + portion), (message) => heard.push(message))
          }
          expect(reader.midFrame).toBe(false)
          expect(heard).toEqual(sent)
        },
      ),
      seeded(100),
    )
  })

  it('random bytes are refused by name', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        expect(codeOf(() => decodeControl(bytes))).toBe('bad-message')
      }),
      seeded(1000),
    )
  })

  it('a message with any byte changed is decoded to something plain or refused by name', () => {
    fc.assert(
      fc.property(messages, fc.nat(), fc.nat({ max: 255 }), (message, at, value) => {
        const bytes = encodeControl(message).subarray(FRAME_HEADER_BYTES)
        bytes[at % bytes.length] = value
        expect([null, 'bad-message']).toContain(codeOf(() => decodeControl(bytes)))
      }),
      seeded(1000),
    )
  })

  const loose = new Packr({ useRecords: false, moreTypes: true, structuredClone: true })
  const records = new Packr({ useRecords: true })
  const hostile: [string, Uint8Array][] = [
    ['nothing', new Uint8Array(0)],
    ['an array', loose.pack([1])],
    ['an unknown type', loose.pack({ type: 'nonsense' })],
    ['a missing field', loose.pack({ type: 'commit' })],
    ['a field too many', loose.pack({ type: 'commit', epoch: 1, more: 1 })],
    ['a Map extension key', loose.pack(new Map<unknown, unknown>([[1, 2]]))],
    ['a Set', loose.pack({ type: 'commit', epoch: new Set([1]) })],
    ['a Date', loose.pack({ type: 'commit', epoch: new Date() })],
    ['an Error', loose.pack({ type: 'commit', epoch: new Error('x') })],
    ['a record', records.pack({ type: 'commit', epoch: 1 })],
    ['__proto__', loose.pack(JSON.parse('{"type":"commit","epoch":1,"__proto__":{"polluted":1}}'))],
    ['two messages', Buffer.concat([loose.pack({ type: 'commit', epoch: 1 }), loose.pack(1)])],
    ['a promise of 4 Gi elements', Uint8Array.of(0xdd, 0xff, 0xff, 0xff, 0xff)],
    ['a promise of 4 Gi pairs', Uint8Array.of(0xdf, 0xff, 0xff, 0xff, 0xff)],
    ['a promise of 4 GiB', Uint8Array.of(0xc6, 0xff, 0xff, 0xff, 0xff)],
    ['deep nesting', new Uint8Array(100_000).fill(0x91)],
  ]
  it.each(hostile)('refuses %s', (_what, bytes) => {
    expect(codeOf(() => decodeControl(bytes))).toBe('bad-message')
    expect(({} as { polluted?: number }).polluted).toBeUndefined()
  })

  it('takes no more than its cap, and only control frames', () => {
    const small = new ControlFrameReader(decodeControl, 100)
    const long = encodeControl({ type: 'welcome', capabilities: ['x'.repeat(64), 'y'.repeat(64)] })
    expect(codeOf(() => small.push(long, () => {}))).toBe('frame-too-long')
    const end = new Uint8Array(FRAME_HEADER_BYTES)
    encodeHeader(end, 0, { type: FRAME_TYPE.roundEnd, length: 0, round: 3 })
    expect(codeOf(() => new ControlFrameReader(decodeControl).push(end, () => {}))).toBe('unexpected-message')
    const empty = new Uint8Array(FRAME_HEADER_BYTES)
    encodeHeader(empty, 0, { type: FRAME_TYPE.control, length: 0, round: 0 })
    expect(codeOf(() => new ControlFrameReader(decodeControl).push(empty, () => {}))).toBe('bad-message')
  })
})
