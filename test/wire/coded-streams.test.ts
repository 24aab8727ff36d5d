// Coded frames under attack: frames of mixed encodings, made by the real encoder and then spoilt, end in a named error or
// in pages of their runs; nothing else of guest or control memory is written.

import assert from 'node:assert/strict'
import fc from 'fast-check'
import { beforeAll, expect, it } from 'vitest'
import { ERROR_CODES, GodwitError } from '../../src/errors.ts'
import { CODEC_AREA, THREAD_BLOCK } from '../../src/guest/layout.ts'
import { GuestMemory } from '../../src/guest/memory.ts'
import { loadKernels } from '../../src/kernels/kernels.ts'
import { READ_BYTES, STAGING_BYTES } from '../../src/limits.ts'
import { fillPage as fillContent } from '../../src/programs/contents.ts'
import { StreamReader } from '../../src/wire/stream-reader.ts'
import { BatchStream } from '../encoding/batch-stream.ts'
import { RandomPolicy } from '../encoding/random-policy.ts'
import { fillPage, sameBytes, seeded } from '../kernels/memory-fixture.ts'

const PAGES = 48
/** Pages before and behind those that are sent, which must stay as they are. */
const GUARDED = 8
const SEED = 77n
const memory = GuestMemory.create(PAGES * 4096, 1)
const { layout, bytes, controlBytes } = memory
const kernels = loadKernels(memory)
/** The reader works as channel 1; what belongs to its neighbours must stay as it is. */
const CHANNEL = 1
const clean = new Uint8Array(PAGES * 4096)
const frames: Buffer[] = []

beforeAll(async () => {
  for (let seed = 0; seed < 24; seed++) {
    const policy = () => new RandomPolicy(seed, 0)
    const stream = await BatchStream.open({ pages: PAGES, mode: 'adaptive', policy })
    const words = new Uint32Array(stream.from.bytes.buffer)
    const inner = Array.from({ length: PAGES - 2 * GUARDED }, (_, index) => GUARDED + index)
    const content = (['mix', 'dup', 'text'] as const)[seed % 3] as 'mix'
    for (const page of inner) fillContent(stream.from.bytes, words, content, seed, page)
    for (const page of inner)
      if (page % 5 === 0) stream.from.bytes.copyWithin(page * 4096, (page - 2) * 4096, (page - 1) * 4096)
    stream.round(inner)
    frames.push(...stream.frames)
    for (const page of inner) stream.from.bytes[page * 4096 + 5] = seed
    stream.round(inner.filter((page) => page % 3 !== 0))
    // The same frame as one of round 0: the attack is on a reader of its own.
    for (const frame of stream.frames) frame.writeUInt32LE(0, 12)
    frames.push(...stream.frames)
  }
  for (let page = 0; page < PAGES; page++) fillPage(memory, page, page)
  clean.set(bytes)
})

const mutation = fc.record({
  kind: fc.constantFrom('set', 'set', 'flip', 'table', 'copy', 'count', 'length'),
  at: fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
  value: fc.oneof(fc.constantFrom(0, 1, 127, 128, 255), fc.nat(255)),
})

/** Spoils the frame; its lengths stay true in most cases, or no attack would get behind the header. */
function spoil(frame: Buffer, changes: readonly { kind: string; at: number; value: number }[]): Buffer {
  const runs = frame.readUInt32LE(16)
  const payload = 24 + runs * 16
  for (const { kind, at, value } of changes) {
    const place = payload + Math.floor(at * (frame.length - payload))
    const run = 24 + Math.floor(at * runs) * 16
    if (kind === 'set') frame[place] = value
    else if (kind === 'flip') frame[place] = (frame[place] as number) ^ (1 << (value & 7))
    else if (kind === 'table') frame[run + 8] = value % 11
    else if (kind === 'copy') frame.copyWithin(place, payload, payload + value)
    else if (kind === 'count') frame.writeUInt32LE((value % 20) + 1, run + 4)
    else moveLength(frame, run, value % 2 === 0 ? value : -value)
  }
  return frame
}

/** Payload bytes of one run become another's, so that their sum stays. */
function moveLength(frame: Buffer, run: number, by: number): void {
  const [one, other] = [frame.readUInt32LE(run + 12) + by, frame.readUInt32LE(36) - by]
  if (run === 24 || one < 0 || other < 0) return
  frame.writeUInt32LE(one, run + 12)
  frame.writeUInt32LE(other, 36)
}

// Where others have the processors, a multiple of the seconds that it takes.
it('10,000 spoilt frames write nothing but the pages of their runs', { timeout: 120_000 }, () => {
  const area = layout.codecs + CHANNEL * CODEC_AREA.bytes
  const staging = layout.staging + CHANNEL * STAGING_BYTES
  const block = layout.threadBlocks + CHANNEL * THREAD_BLOCK.bytes
  /** The ends of what the reader may use, and a stretch of its neighbours on both sides. */
  const guards = [
    area - 256,
    area + CODEC_AREA.bytes,
    staging - 256,
    staging + STAGING_BYTES,
    block - 256,
    layout.references,
  ]
  const codes = new Map<string, number>()
  let whole = 0
  fc.assert(
    fc.property(fc.nat(), fc.array(mutation, { minLength: 1, maxLength: 4 }), (pick, changes) => {
      const frame = spoil(Buffer.from(frames[pick % frames.length] as Buffer), changes)
      bytes.set(clean)
      for (const guard of guards) controlBytes.fill(0xa5, guard, guard + 256)
      // A frame is shorter than its pages, so nothing comes near the end of staging.
      controlBytes.fill(0xa5, staging + PAGES * 4096, staging + PAGES * 4096 + 65_536)
      const missing: number[] = []
      const session = { seed: SEED, missing: (page: number) => missing.push(page) }
      const reader = new StreamReader({ memory, kernels, channel: CHANNEL, hash: true, session })
      const code = read(reader, frame)
      codes.set(code ?? 'none', (codes.get(code ?? 'none') ?? 0) + 1)
      for (const guard of guards)
        for (let at = 0; at < 256; at += 3) assert.equal(controlBytes[guard + at], 0xa5, `${guard + at}`)
      for (let at = 0; at < 65_536; at += 61) assert.equal(controlBytes[staging + PAGES * 4096 + at], 0xa5)
      const touched = pagesOf(frame)
      for (let page = 0; page < PAGES; page++) {
        if (touched.has(page) && !missing.includes(page)) continue
        const at = page * 4096
        assert.ok(sameBytes(bytes.subarray(at, at + 4096), clean.subarray(at, at + 4096)), `page ${page} changed`)
      }
      if (code === null && reader.betweenFrames) whole++
    }),
    seeded(10_000),
  )
  // The attack has got everywhere: to the table's checks, to the decoders, and through.
  expect(codes.get('bad-payload')).toBeGreaterThan(1000)
  expect(whole).toBeGreaterThan(1000)
  for (const code of codes.keys()) expect(code === 'none' || Object.hasOwn(ERROR_CODES, code)).toBe(true)
  expect(codes.has('internal')).toBe(false)
})

/** Feeds one frame; the code of the error it ends in. */
function read(reader: StreamReader, frame: Buffer): string | null {
  try {
    for (let at = 0; at < frame.length; ) {
      const into = reader.next()
      assert.ok(into.length > 0 && into.length <= READ_BYTES)
      const size = Math.min(into.length, frame.length - at)
      into.set(frame.subarray(at, at + size))
      at += size
      reader.advance(size)
    }
    return null
  } catch (thrown) {
    assert.ok(thrown instanceof GodwitError, String(thrown))
    return thrown.code
  }
}

/** The pages that the frame's table names. */
function pagesOf(frame: Buffer): Set<number> {
  const pages = new Set<number>()
  for (let run = 0; run < frame.readUInt32LE(16); run++) {
    const first = frame.readUInt32LE(24 + run * 16)
    for (let page = first; page < first + Math.min(PAGES, frame.readUInt32LE(28 + run * 16)); page++) pages.add(page)
  }
  return pages
}
