// Requests and answers in frames: what goes in comes out, whatever the portions; what breaks a rule is refused by name.

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { GodwitError } from '../../src/errors.ts'
import { ANSWERS } from '../../src/guest/service-ports.ts'
import { MAX_VCPUS, SERVICE_REPLY_BYTES, SERVICE_REQUEST_BYTES } from '../../src/limits.ts'
import { FRAME_TYPE } from '../../src/wire/frame.ts'
import { FrameBatch } from '../../src/wire/frame-batch.ts'
import { decodeLine, encodeLine, lineEnd } from '../../src/wire/line-messages.ts'
import { LineReader } from '../../src/wire/line-reader.ts'
import {
  AnswerCursor,
  answerSize,
  RequestCursor,
  requestSize,
  writeAnswerHead,
  writeRequestHead,
} from '../../src/wire/service-frames.ts'

const sequence = fc.integer({ min: 1, max: Number.MAX_SAFE_INTEGER })
const vcpu = fc.integer({ min: 0, max: MAX_VCPUS - 1 })
const bytes = fc.uint8Array({ maxLength: 300 })

interface RequestEntry {
  vcpu: number
  sequence: number
  bytes: Uint8Array
}
interface AnswerEntry extends RequestEntry {
  kind: number
}

/** Frames of a batch, and each frame's own bytes. */
function sink(type: typeof FRAME_TYPE.requests | typeof FRAME_TYPE.answers) {
  const frames: Buffer[] = []
  const batch = new FrameBatch(type, (frame, sent) => {
    frames.push(Buffer.from(frame))
    sent()
  })
  return { frames, batch }
}

function requestFrames(entries: readonly RequestEntry[], flushAfter = Number.POSITIVE_INFINITY): Buffer[] {
  const { frames, batch } = sink(FRAME_TYPE.requests)
  for (const [index, entry] of entries.entries()) {
    const at = batch.reserve(requestSize(entry.bytes.length))
    writeRequestHead(batch.view, at, entry.bytes.length, entry.vcpu, entry.sequence, entry.sequence - 1, index)
    batch.bytes.set(entry.bytes, at + requestSize(0))
    if ((index + 1) % flushAfter === 0) batch.flush()
  }
  batch.flush()
  return frames
}

/** The payloads of a stream that comes in these portions. */
function payloadsOf(type: typeof FRAME_TYPE.requests | typeof FRAME_TYPE.answers, stream: Buffer, portion: number) {
  const reader = new LineReader(type)
  reader.greeted = true
  const payloads: Uint8Array[] = []
  for (let at = 0; at < stream.length; at += portion) {
    reader.push(stream.subarray(at, at + portion))
    while (reader.next()) payloads.push(Uint8Array.from(reader.payload))
  }
  expect(reader.midFrame).toBe(false)
  return payloads
}

const codeOf = (work: () => unknown): string | null => {
  try {
    work()
    return null
  } catch (error) {
    return error instanceof GodwitError ? error.code : String(error)
  }
}

describe('requests', () => {
  test('come out as they went in, in portions of any size', () => {
    const entries = fc.array(fc.record({ vcpu, sequence, bytes }), { maxLength: 30 })
    fc.assert(
      fc.property(
        entries,
        fc.integer({ min: 1, max: 5 }),
        fc.integer({ min: 1, max: 3000 }),
        (sent, every, portion) => {
          const cursor = new RequestCursor()
          const got: RequestEntry[] = []
          for (const payload of payloadsOf(FRAME_TYPE.requests, Buffer.concat(requestFrames(sent, every)), portion)) {
            cursor.begin(payload)
            while (cursor.next()) {
              expect(cursor.acknowledged).toBe(cursor.sequence - 1)
              expect(cursor.nowMs).toBe(got.length)
              const own = Uint8Array.from(cursor.payload.subarray(cursor.at, cursor.at + cursor.length))
              got.push({ vcpu: cursor.vcpu, sequence: cursor.sequence, bytes: own })
            }
          }
          expect(got).toEqual(sent)
        },
      ),
    )
  })

  test('that are small go in one frame, one that is large in a frame of its own', () => {
    const small = { vcpu: 0, sequence: 1, bytes: new Uint8Array(100) }
    const large = { vcpu: 0, sequence: 2, bytes: new Uint8Array(SERVICE_REQUEST_BYTES) }
    expect(requestFrames(new Array(100).fill(small))).toHaveLength(1)
    expect(requestFrames([small, large, small])).toHaveLength(3)
  })

  test.each<[string, string, (view: DataView) => void]>([
    ['a vCPU that no guest has', 'bad-frame', (view) => view.setUint32(4, MAX_VCPUS, true)],
    ['a length above the cap', 'frame-too-long', (view) => view.setUint32(0, SERVICE_REQUEST_BYTES + 1, true)],
    ['a length above the frame', 'bad-frame', (view) => view.setUint32(0, 17, true)],
    ['a sequence beyond 2^53', 'bad-frame', (view) => view.setFloat64(8, 2 ** 53, true)],
    ['half a sequence', 'bad-frame', (view) => view.setFloat64(8, 2.5, true)],
    ['a sequence that is no number', 'bad-frame', (view) => view.setFloat64(8, Number.NaN, true)],
    ['a sequence below 0', 'bad-frame', (view) => view.setFloat64(8, -1, true)],
    ['its own reply acknowledged', 'bad-frame', (view) => view.setFloat64(16, 5, true)],
    ['no time', 'bad-frame', (view) => view.setFloat64(24, Number.POSITIVE_INFINITY, true)],
  ])('with %s are refused', (_, code, spoil) => {
    const [frame] = requestFrames([{ vcpu: 1, sequence: 5, bytes: new Uint8Array(10) }]) as [Buffer]
    const payload = Uint8Array.from(frame.subarray(16))
    const cursor = new RequestCursor()
    cursor.begin(payload)
    expect([cursor.next(), cursor.next()]).toEqual([true, false])
    spoil(new DataView(payload.buffer))
    cursor.begin(payload)
    expect(codeOf(() => cursor.next())).toBe(code)
    cursor.begin(payload.subarray(0, 20))
    expect(codeOf(() => cursor.next())).toBe('bad-frame')
  })
})

describe('answers', () => {
  test('come out as they went in', () => {
    const kind = fc.integer({ min: 0, max: ANSWERS.length - 1 })
    const entries = fc.array(fc.record({ vcpu, sequence, bytes, kind }), { maxLength: 30 })
    fc.assert(
      fc.property(entries, fc.integer({ min: 1, max: 3000 }), (sent, portion) => {
        const { frames, batch } = sink(FRAME_TYPE.answers)
        for (const entry of sent) {
          const at = batch.reserve(answerSize(entry.bytes.length))
          writeAnswerHead(batch.view, at, entry.bytes.length, entry.vcpu, entry.kind, entry.sequence)
          batch.bytes.set(entry.bytes, at + answerSize(0))
        }
        batch.flush()
        const cursor = new AnswerCursor()
        const got: AnswerEntry[] = []
        for (const payload of payloadsOf(FRAME_TYPE.answers, Buffer.concat(frames), portion)) {
          cursor.begin(payload)
          while (cursor.next()) {
            const own = Uint8Array.from(cursor.payload.subarray(cursor.at, cursor.at + cursor.length))
            got.push({ vcpu: cursor.vcpu, sequence: cursor.sequence, bytes: own, kind: cursor.kind })
          }
        }
        expect(got).toEqual(sent)
      }),
    )
  })

  test.each<[string, string, (view: DataView) => void]>([
    ['a vCPU that no guest has', 'bad-frame', (view) => view.setUint16(4, MAX_VCPUS, true)],
    ['an unknown kind', 'bad-frame', (view) => view.setUint8(6, ANSWERS.length)],
    ['a bit that means nothing', 'bad-frame', (view) => view.setUint8(7, 1)],
    ['no sequence', 'bad-frame', (view) => view.setFloat64(8, 0, true)],
    ['a length above the cap', 'frame-too-long', (view) => view.setUint32(0, SERVICE_REPLY_BYTES + 1, true)],
  ])('with %s are refused', (_, code, spoil) => {
    const view = new DataView(new ArrayBuffer(answerSize(8)))
    writeAnswerHead(view, 0, 8, 1, 0, 5)
    const cursor = new AnswerCursor()
    cursor.begin(new Uint8Array(view.buffer))
    expect([cursor.next(), cursor.next()]).toEqual([true, false])
    spoil(view)
    cursor.begin(new Uint8Array(view.buffer))
    expect(codeOf(() => cursor.next())).toBe(code)
  })
})

describe('a line', () => {
  const read = (frame: Uint8Array, greeted = true): string | null =>
    codeOf(() => {
      const reader = new LineReader(FRAME_TYPE.requests)
      reader.greeted = greeted
      reader.push(frame)
      while (reader.next()) {}
    })
  const [requests] = requestFrames([{ vcpu: 0, sequence: 1, bytes: new Uint8Array(9) }]) as [Buffer]

  test('takes no requests before its hello, and no frames of migrations', () => {
    expect(read(requests)).toBeNull()
    expect(read(requests, false)).toBe('unexpected-message')
    for (const type of [FRAME_TYPE.control, FRAME_TYPE.got, FRAME_TYPE.answers]) {
      const frame = Buffer.from(requests)
      frame[5] = type
      expect(read(frame)).not.toBeNull()
    }
  })

  test('notices every byte that was altered on its way', () => {
    // A length that became larger wants more.
    const stream = Buffer.concat(new Array(8192).fill(requests))
    expect(read(stream)).toBeNull()
    for (let at = 0; at < requests.length; at++) {
      const frame = Buffer.from(stream)
      frame[at] = (frame[at] as number) ^ 4
      expect([at, read(frame)]).not.toEqual([at, null])
    }
  })

  test('refuses messages that break their schema', () => {
    const refused = [
      { type: 'hello', version: 1, gateway: 0, guest: 'g' },
      { type: 'hello', version: 1, gateway: 2 ** 32, guest: 'g' },
      { type: 'hello', version: 1, gateway: 1, guest: '' },
      { type: 'here', vcpu: MAX_VCPUS },
      { type: 'elsewhere', host: 'h', port: 0 },
      { type: 'gone', vcpu: 1, more: true },
      { type: 'nothing' },
    ]
    for (const message of refused) {
      expect(codeOf(() => decodeLine(encodeLine(message as never).subarray(16)))).toBe('bad-message')
    }
    const end = decodeLine(lineEnd(new GodwitError('bad-frame', 'x'.repeat(5000))).subarray(16))
    expect(end).toMatchObject({ type: 'end', error: { code: 'bad-frame' } })
  })
})
