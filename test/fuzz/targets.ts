// What can be fuzzed, by name. A new encoding needs one line here.

import { createReferenceWriter, dedup } from '../../src/encoding/dedup.ts'
import { delta } from '../../src/encoding/delta.ts'
import { createFillEncoder, fill } from '../../src/encoding/fill.ts'
import { createLz4Encoder, lz4 } from '../../src/encoding/lz4.ts'
import { LZ4_KERNEL } from '../../src/encoding/lz4-backend.ts'
import { createPackedEncoder, packed } from '../../src/encoding/packed.ts'
import { createPatternEncoder, pattern } from '../../src/encoding/pattern.ts'
import { raw } from '../../src/encoding/raw.ts'
import { shared } from '../../src/encoding/shared.ts'
import { createSparseEncoder, sparse } from '../../src/encoding/sparse.ts'
import { zero } from '../../src/encoding/zero.ts'
import { GodwitError } from '../../src/errors.ts'
import { GuestMemory } from '../../src/guest/memory.ts'
import { loadLz4 } from '../../src/kernels/lz4.ts'
import { createLz4Twin } from '../../src/kernels/lz4-twin.ts'
import { GROUP_PAGES, PAGE_BYTES, READ_BYTES } from '../../src/limits.ts'
import { ReplyParser } from '../../src/load/reply-parser.ts'
import {
  checkedBytes,
  createGiveTable,
  decodeApplied,
  decodeAsk,
  decodeCross,
  decodeGive,
  decodeRuns,
  encodeApplied,
  encodeAsk,
  encodeCross,
  encodeGive,
  encodeRuns,
} from '../../src/wire/exchange-frames.ts'
import { FRAME_HEADER_BYTES, FRAME_TYPE, type FrameType } from '../../src/wire/frame.ts'
import { FrameBatch } from '../../src/wire/frame-batch.ts'
import { decodeLine, encodeLine } from '../../src/wire/line-messages.ts'
import { LineReader } from '../../src/wire/line-reader.ts'
import {
  AnswerCursor,
  answerSize,
  RequestCursor,
  requestSize,
  writeAnswerHead,
  writeRequestHead,
} from '../../src/wire/service-frames.ts'
import { atTheEnd, guarded } from '../kernels/lz4-fixture.ts'
import { feed, framesOf, guestOf, readerFor } from '../wire/streams.ts'
import { decoderTarget, pageSeeds, payloadSeeds } from './decoder-target.ts'
import type { FuzzTarget } from './loop.ts'
import { respTarget } from './resp-target.ts'

export const TARGETS: Readonly<Record<string, () => FuzzTarget>> = {
  zero: () => decoderTarget(zero),
  raw: () =>
    decoderTarget(
      raw,
      payloadSeeds(({ memory }, from, to) => memory.controlBytes.copyWithin(to, from, from + PAGE_BYTES) && PAGE_BYTES),
    ),
  fill: () => decoderTarget(fill, pageSeeds(createFillEncoder)),
  sparse: () => decoderTarget(sparse, pageSeeds(createSparseEncoder)),
  pattern: () => decoderTarget(pattern, pageSeeds(createPatternEncoder)),
  packed: () => decoderTarget(packed, pageSeeds(createPackedEncoder)),
  // A record against zeros is a delta like any other.
  delta: () => decoderTarget(delta, pageSeeds(createSparseEncoder)),
  dedup: () =>
    decoderTarget(
      dedup,
      payloadSeeds((context, from, to) => createReferenceWriter(context, 0n)(from, 3, to)),
    ),
  shared: () =>
    decoderTarget(
      shared,
      payloadSeeds((context, from, to) => createReferenceWriter(context, 0n)(from, 3, to)),
    ),
  lz4: () => decoderTarget(lz4, [...lz4Seeds(1), ...lz4Seeds(GROUP_PAGES)]),
  'lz4-block': lz4Blocks,
  'page-frame': pageFrames,
  exchange: exchangeFrames,
  replies,
  'service-line': serviceLines,
  resp: respTarget,
}

/** Blocks of one page of content, the other pages zero. */
const lz4Seeds = (pages: number): Uint8Array[] =>
  payloadSeeds((context, _, to) => createLz4Encoder(context, LZ4_KERNEL).encodeGroup(pages, to, 4095), pages)

/** Blocks into the kernel, the first two bytes being the room for their content: byte for byte what the twin makes. */
function lz4Blocks(): FuzzTarget {
  const [memory, twinMemory] = [GuestMemory.create(64 * 1024, 1), GuestMemory.create(64 * 1024, 1)]
  const [kernel, twin] = [loadLz4(memory), createLz4Twin(twinMemory)]
  const to = memory.layout.staging + 4096
  return {
    seeds: lz4Seeds(1).map((seed) => Uint8Array.from([0, 16, ...seed.subarray(5)])),
    most: 8192,
    run(input) {
      const block = input.subarray(2)
      const room = (input[0] ?? 0) | ((input[1] ?? 0) << 8)
      const source = atTheEnd(memory, block.length)
      const target = guarded(memory, to, room)
      for (const { controlBytes } of [memory, twinMemory]) controlBytes.set(block, source.at)
      const length = kernel.decompress(source.at, block.length, to, room)
      target.check()
      if (length !== twin.decompress(source.at, block.length, to, room)) throw new Error('kernel and twin disagree')
      const [ours, theirs] = [memory, twinMemory].map(({ controlBytes }) => controlBytes.subarray(to, to + length))
      if (length > 0 && Buffer.compare(ours as Uint8Array, theirs as Uint8Array) !== 0) throw new Error('not the same')
      return length < 0 ? 'refused' : length === room ? 'full' : 'fits'
    },
  }
}

/** Streams of a gateway into the guest's end of a line, and of a guest into the gateway's: any named error is right. */
function serviceLines(): FuzzTarget {
  const portions = [7, 100, 4096, READ_BYTES]
  const batchOf = (type: typeof FRAME_TYPE.requests | typeof FRAME_TYPE.answers): Buffer => {
    const frames: Uint8Array[] = []
    const batch = new FrameBatch(type, (frame) => frames.push(frame))
    for (const length of [0, 8, 100]) {
      const requests = type === FRAME_TYPE.requests
      const at = batch.reserve(requests ? requestSize(length) : answerSize(length))
      if (requests) writeRequestHead(batch.view, at, length, 1, length + 1, length, 5)
      else writeAnswerHead(batch.view, at, length, 1, 0, length + 1)
    }
    batch.flush()
    return Buffer.concat(frames)
  }
  const hello = encodeLine({ type: 'hello', version: 1, gateway: 7, guest: 'kv' })
  const gone = encodeLine({ type: 'gone', vcpu: 3 })
  return {
    // The first byte says whose end it is.
    seeds: [
      Buffer.concat([Buffer.of(0), hello, batchOf(FRAME_TYPE.requests), batchOf(FRAME_TYPE.requests)]),
      Buffer.concat([Buffer.of(1), gone, batchOf(FRAME_TYPE.answers), gone]),
    ],
    most: 12 * 1024,
    run(input) {
      const guest = (input[0] ?? 0) % 2 === 0
      const reader = new LineReader(guest ? FRAME_TYPE.requests : FRAME_TYPE.answers)
      reader.greeted = true
      const cursor = guest ? new RequestCursor() : new AnswerCursor()
      const portion = portions[input.length % portions.length] as number
      let [messages, entries] = [0, 0]
      try {
        for (let from = 1; from < input.length; from += portion) {
          reader.push(input.subarray(from, from + portion))
          while (reader.next()) {
            if (reader.type === FRAME_TYPE.line) {
              decodeLine(reader.payload)
              messages++
              continue
            }
            for (cursor.begin(reader.payload); cursor.next(); entries++) {
              if (cursor.at + cursor.length > reader.payload.length) throw new Error('an entry beyond its frame')
            }
          }
        }
      } catch (error) {
        if (!(error instanceof GodwitError) || error.code === 'internal') throw error
        return `${error.code}: ${error.message.replace(/\d+/g, 'n')}`
      }
      return `${messages} messages, ${entries} entries${reader.midFrame ? ', in a frame' : ''}`
    },
  }
}

/** Streams of page frames into a reader: any named error is right, `internal` is none of them. */
function pageFrames(): FuzzTarget {
  const memory = GuestMemory.create(64 * 1024, 1)
  const portions = [7, 100, 4096, READ_BYTES]
  return {
    seeds: ['z', 'zzzzzzzzr', 'rzzzzzzzzzzzzzzr'].map((pattern) =>
      Buffer.concat(framesOf(guestOf(pattern, 64 * 1024), 0)),
    ),
    most: 12 * 1024,
    run(input) {
      const reader = readerFor(memory)
      let ended: number[] = []
      try {
        ended = feed(reader, input, () => portions[input.length % portions.length] as number)
      } catch (error) {
        if (!(error instanceof GodwitError) || error.code === 'internal') throw error
        return `${error.code}: ${error.message.replace(/\d+/g, 'n')}`
      }
      return `${ended.length} rounds, ${reader.betweenFrames ? 'between frames' : 'in a frame'}`
    },
  }
}

/** One payload of the exchange, its type in front, as if its check were right: named errors only, and nothing outside the guest. */
function exchangeFrames(): FuzzTarget {
  const bounds = { pageCount: 64, vcpus: 4 }
  const table = createGiveTable()
  const registers = new Uint8Array(1024)
  Object.assign(table, { number: 1, count: 2 })
  table.pages.set([3, 9])
  table.how.set([1, 3])
  table.generations.set([2, 5])
  const frames = [
    encodeGive(table),
    encodeRuns({ number: 1, sum: 7n, runs: Uint32Array.of(0, 3, 2, 1, 9, 1, 3, 0) }),
    encodeCross({ number: 1, vcpu: 1, generation: 2, state: { steps: 9, registers } }),
    encodeAsk(Uint32Array.of(1, 2), 2),
    encodeApplied(3),
  ]
  const inside = (pages: Iterable<number>): void => {
    for (const page of pages) if (page >= bounds.pageCount) throw new Error('a page outside the guest')
  }
  return {
    seeds: frames.map((frame) => Uint8Array.from([frame[5] as number, ...frame.subarray(FRAME_HEADER_BYTES)])),
    most: 6000,
    run(input) {
      const type = (FRAME_TYPE.give + ((input[0] ?? 0) % 5)) as FrameType
      const payload = input.subarray(1)
      try {
        checkedBytes(type, payload)
        if (type === FRAME_TYPE.give) {
          decodeGive(payload, bounds, table)
          inside(table.pages.subarray(0, table.count))
        } else if (type === FRAME_TYPE.runs) {
          const { runs } = decodeRuns(payload, bounds)
          inside(
            runs.filter((_, index) => index % 4 === 0).map((first, run) => first + (runs[run * 4 + 1] as number) - 1),
          )
        } else if (type === FRAME_TYPE.cross) decodeCross(payload, bounds)
        else if (type === FRAME_TYPE.ask) inside(decodeAsk(payload, bounds))
        else decodeApplied(payload)
      } catch (error) {
        if (!(error instanceof GodwitError) || error.code === 'internal') throw error
        return `${type} ${error.code}: ${error.message.replace(/\d+/g, 'n')}`
      }
      return `${type} taken`
    },
  }
}

/** Replies of a server, whole and in portions: both ways the same kinds in the same order, and the same error. */
function replies(): FuzzTarget {
  const kindsOf = (input: Uint8Array, portion: number): string => {
    const parser = new ReplyParser()
    const kinds: string[] = []
    for (let at = 0; at < input.length && parser.error === ''; at += portion) {
      const bytes = Uint8Array.from(input.subarray(at, at + portion))
      parser.push(bytes)
      while (parser.next() === 'reply') {
        const { kind, start, length, bytes: from } = parser.reply
        if (start + length > from.length) throw new Error('a reply reaches past its bytes')
        kinds.push(kind)
      }
      bytes.fill(0x21)
    }
    return `${kinds.slice(0, 2)} ${Math.min(kinds.length, 3)}: ${parser.error}`
  }
  return {
    seeds: ['+OK\r\n', '-ERR no\r\n:12\r\n', '$3\r\nabc\r\n$-1\r\n', '*2\r\n*1\r\n:1\r\n$0\r\n\r\n'].map((text) =>
      Buffer.from(text),
    ),
    most: 512,
    run(input) {
      const whole = kindsOf(input, Math.max(1, input.length))
      for (const portion of [1, 7]) if (kindsOf(input, portion) !== whole) throw new Error('portions make a difference')
      return whole.replace(/0x../, '0x')
    },
  }
}
