// Holds the LZ4 kernel to its twin and to lz4-napi, both ways, and its output to the byte.

import fc from 'fast-check'
import { compressSync, uncompressSync } from 'lz4-napi'
import { describe, expect, it } from 'vitest'
import { CODEC_AREA } from '../../src/guest/layout.ts'
import { LZ4_BLOCK_BYTES, LZ4_CONTENT_BYTES, type Lz4Kernel, loadLz4 } from '../../src/kernels/lz4.ts'
import { createLz4Twin } from '../../src/kernels/lz4-twin.ts'
import { CONTENTS, fillPage } from '../../src/programs/contents.ts'
import { atTheEnd, contentOf, guarded } from './lz4-fixture.ts'
import { PAGE_BYTES, sameBytes, seeded, twoGuests } from './memory-fixture.ts'

const [guest, twinGuest] = twoGuests(16)
const kernel = loadLz4(guest)
const twin = createLz4Twin(twinGuest)
const { staging, codecs } = guest.layout
const table = codecs + CODEC_AREA.tables
const ROOM = 128 * 1024

/** Compresses with a table that holds anything. */
function compressed(content: Uint8Array, limit: number, by: Lz4Kernel = kernel): Uint8Array | null {
  const memory = by === twin ? twinGuest : guest
  const source = atTheEnd(memory, content.length)
  const target = guarded(memory, staging + 1024, limit)
  memory.controlBytes.set(content, source.at)
  const length = by.compress(source.at, content.length, target.at, limit, table)
  source.check()
  target.check()
  expect(sameBytes(memory.controlBytes.subarray(source.at), content)).toBe(true)
  return length < 0 ? null : memory.controlBytes.slice(target.at, target.at + length)
}

function decompressed(block: Uint8Array, capacity: number): Uint8Array | null {
  const source = atTheEnd(guest, block.length)
  const target = guarded(guest, staging + 1024, capacity)
  guest.controlBytes.set(block, source.at)
  const length = kernel.decompress(source.at, block.length, target.at, capacity)
  target.check()
  return length < 0 ? null : guest.controlBytes.slice(target.at, target.at + length)
}

const sized = (block: Uint8Array, content: number): Buffer => {
  const framed = Buffer.alloc(4 + block.length)
  framed.writeUInt32LE(content)
  framed.set(block, 4)
  return framed
}

/** Every way there and back. */
function travels(content: Uint8Array): void {
  const ours = compressed(content, ROOM) as Uint8Array
  expect(ours.length).toBeLessThanOrEqual(LZ4_BLOCK_BYTES)
  expect(sameBytes(ours, compressed(content, ROOM, twin) as Uint8Array)).toBe(true)
  expect(sameBytes(decompressed(ours, content.length) as Uint8Array, content)).toBe(true)
  expect(sameBytes(uncompressSync(sized(ours, content.length)), content)).toBe(true)
  const theirs = compressSync(Buffer.from(content)).subarray(4)
  expect(sameBytes(decompressed(theirs, content.length) as Uint8Array, content)).toBe(true)
}

describe('the lz4 kernel', () => {
  it('and its twin and lz4-napi read what each of them writes', () => {
    fc.assert(fc.property(contentOf(5000), travels), seeded(600))
    fc.assert(fc.property(contentOf(LZ4_CONTENT_BYTES), travels), seeded(60))
  })

  it('takes every length from 0 to 300 of nothing, of a word and of noise', () => {
    for (let length = 0; length <= 300; length++) {
      travels(new Uint8Array(length))
      travels(Uint8Array.from({ length }, (_, index) => index % 7))
      travels(Uint8Array.from({ length }, (_, index) => Math.imul(index + 1, 0x9e3779b1) >>> 24))
    }
  })

  it('takes groups of the pages that programs have, and 64 KiB that do not compress', () => {
    const bytes = new Uint8Array(64 * PAGE_BYTES)
    const words = new Uint32Array(bytes.buffer)
    for (const content of CONTENTS) {
      bytes.fill(0)
      for (let page = 0; page < 64; page++) fillPage(bytes, words, content, 5, page)
      for (const pages of [1, 2, 3, 16]) {
        for (let page = 0; page + pages <= 64; page += 16) {
          travels(bytes.subarray(page * PAGE_BYTES, (page + pages) * PAGE_BYTES))
        }
      }
    }
  })

  it('keeps its limit to the byte', () => {
    fc.assert(
      fc.property(contentOf(5000), fc.double({ min: 0, max: 1, noNaN: true }), (content, share) => {
        const block = compressed(content, ROOM) as Uint8Array
        expect(sameBytes(compressed(content, block.length) as Uint8Array, block)).toBe(true)
        expect(compressed(content, block.length - 1)).toBeNull()
        expect(compressed(content, Math.floor((block.length - 1) * share))).toBeNull()
        expect(sameBytes(decompressed(block, content.length) as Uint8Array, content)).toBe(true)
        if (content.length > 0) expect(decompressed(block, content.length - 1)).toBeNull()
        if (content.length > 0) expect(decompressed(block, Math.floor((content.length - 1) * share))).toBeNull()
      }),
      seeded(1500),
    )
  })

  it('writes the same block whatever its table held, and nothing beside the table', () => {
    const content = new Uint8Array(PAGE_BYTES).map((_, index) => (index * index) >> 5)
    const first = compressed(content, ROOM) as Uint8Array
    for (const value of [0, 1, 0x7f, 0xff]) {
      guest.controlBytes.fill(value, table, table + 65_536)
      expect(sameBytes(compressed(content, ROOM) as Uint8Array, first)).toBe(true)
      const beside = guest.controlBytes.subarray(table + 32_768, table + 65_536)
      expect(beside.every((byte) => byte === value)).toBe(true)
    }
  })

  it('is never given a range outside the memory or content above 64 KiB', () => {
    const end = guest.controlBytes.length
    expect(() => kernel.compress(end - 10, 11, staging, 100, table)).toThrow(/lz4/)
    expect(() => kernel.compress(staging, LZ4_CONTENT_BYTES + 1, staging, 100, table)).toThrow(/lz4/)
    expect(() => kernel.decompress(staging, 10, end - 10, 11)).toThrow(/lz4/)
    expect(() => kernel.decompress(-1, 10, staging, 11)).toThrow(/lz4/)
    expect(() => kernel.decompress(staging, LZ4_BLOCK_BYTES + 1, staging, 11)).toThrow(/lz4/)
  })
})
