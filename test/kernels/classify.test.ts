// The classifier against its plain twin, at its thresholds, and on the mutator's pages.

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { CODEC_AREA } from '../../src/guest/layout.ts'
import {
  CONTENT_CLASS,
  CONTENT_CLASSES,
  loadClassifier,
  SIMILAR_LEAST,
  TOP_BITS_BELOW,
  WIDTHS_MOST,
  ZERO_BYTES_LEAST,
} from '../../src/kernels/classify.ts'
import { contentClassOf } from '../../src/kernels/classify-twin.ts'
import { anyPage, bytesOf, contentPage } from '../encoding/page-arbitraries.ts'
import { PAGE_BYTES, sameBytes, seeded, twoGuests } from './memory-fixture.ts'

const [memory] = twoGuests(16)
const area = memory.layout.codecs
const tables = area + CODEC_AREA.tables
const classify = loadClassifier(memory, tables)

/** Class by kernel and twin, which must agree; the kernel writes to its dictionary only. */
function classOf(page: Uint8Array): number {
  memory.controlBytes.set(page, area + 32)
  memory.controlBytes.fill(0xa5, tables, tables + 4096)
  const found = classify(area + 32)
  expect(found).toBe(contentClassOf(page))
  expect(sameBytes(memory.controlBytes.subarray(area + 32, area + 32 + PAGE_BYTES), page)).toBe(true)
  expect(memory.controlBytes.subarray(tables + 64, tables + 4096).every((byte) => byte === 0xa5)).toBe(true)
  return found
}
const page = (word: (index: number) => number): Uint8Array =>
  bytesOf(Uint32Array.from({ length: 1024 }, (_, index) => word(index)))
/** Words that repeat nowhere, without zero bytes. */
const scattered = (index: number): number => (Math.imul(index + 1, 0x9e3779b1) ^ (index << 7)) | 0x01010101

describe('classify', () => {
  it('agrees with its twin on any page', () => {
    fc.assert(
      fc.property(anyPage, (bytes) => {
        expect(classOf(bytes)).toBeLessThan(CONTENT_CLASSES)
      }),
      seeded(600),
    )
  })

  it("tells the kinds of the mutator's pages", () => {
    const wanted = {
      zero: 'uniform',
      sparse: 'zeroRich',
      integers: 'columns',
      text: 'textLike',
      random: 'noise',
    } as const
    for (let number = 0; number < 60; number++) {
      const { kind, bytes } = contentPage('mix', number)
      expect([kind, classOf(bytes)]).toEqual([kind, CONTENT_CLASS[wanted[kind]]])
    }
  })

  it('uniform: one repeated 64-bit word, and no word less', () => {
    expect(classOf(page((index) => [0x12345678, 0x9abcdef1][index % 2] as number))).toBe(CONTENT_CLASS.uniform)
    expect(classOf(page((index) => 0x11111111 + (index % 4)))).not.toBe(CONTENT_CLASS.uniform)
    for (const odd of [0, 1, 2, 511, 1023]) {
      expect(classOf(page((index) => (index === odd ? 0x12345679 : 0x12345678)))).toBe(CONTENT_CLASS.strong)
    }
  })

  it('zero-rich: from half of the bytes', () => {
    const withZeros = (zeros: number): Uint8Array =>
      page(scattered).map((byte, at) => (at % 2048 < zeros / 2 ? 0 : byte))
    expect(classOf(withZeros(ZERO_BYTES_LEAST))).toBe(CONTENT_CLASS.zeroRich)
    expect(classOf(withZeros(ZERO_BYTES_LEAST - 2))).not.toBe(CONTENT_CLASS.zeroRich)
  })

  it('strong: from half of the words it looks at', () => {
    // The first word of the sample fills its slot; the next ones are similar to it.
    const withSimilar = (similar: number): Uint8Array => {
      let looked = 0
      return page((index) => {
        if ((index >> 4) % 4 !== 0) return scattered(index)
        return looked++ <= similar ? 0x45670000 | (1 + (index % 1000)) : scattered(index)
      })
    }
    expect(classOf(withSimilar(SIMILAR_LEAST))).toBe(CONTENT_CLASS.strong)
    expect(classOf(withSimilar(SIMILAR_LEAST / 2))).toBe(CONTENT_CLASS.noise)
  })

  it('columns: while the widths together are small enough', () => {
    const withWidths = (sum: number): Uint8Array =>
      page((index) => {
        const value = (Math.imul(index + 1, 0x9e3779b1) ^ Math.imul(index, 0x85ebca6b)) >>> 0
        const width = Math.floor(sum / 4) + (index % 4 < sum % 4 ? 1 : 0)
        return index < 4 ? 0xffffffff >>> (32 - width) : index < 8 ? 0 : value >>> (32 - width)
      })
    expect(classOf(withWidths(WIDTHS_MOST))).toBe(CONTENT_CLASS.columns)
    expect(classOf(withWidths(WIDTHS_MOST + 1))).not.toBe(CONTENT_CLASS.columns)
  })

  it('text-like: below a twentieth of bytes with the top bit', () => {
    const withTops = (tops: number): Uint8Array =>
      page(scattered).map((byte, at) => (at % 7 === 0 && at < 7 * tops ? byte | 0x80 : (byte & 0x7f) | 1))
    expect(classOf(withTops(TOP_BITS_BELOW - 1))).toBe(CONTENT_CLASS.textLike)
    expect(classOf(withTops(TOP_BITS_BELOW))).toBe(CONTENT_CLASS.noise)
  })
})
