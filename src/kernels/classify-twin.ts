// classify.wat once more in plain TypeScript: what the classes mean, in the most obvious way.

import { PAGE_BYTES } from '../limits.ts'
import {
  CONTENT_CLASS,
  SIMILAR_LEAST,
  SIMILAR_SAMPLE,
  TOP_BITS_BELOW,
  WIDTHS_MOST,
  ZERO_BYTES_LEAST,
} from './classify.ts'

const WORDS = PAGE_BYTES / 4
const LINE_WORDS = 16

/** Bits that the words of one column need: those between the lowest in which they differ and the top of their range. */
function widthOf(column: readonly number[]): number {
  const differ = column.reduce((bits, word) => bits | (word ^ (column[0] as number)), 0)
  if (differ === 0) return 0
  const shift = 31 - Math.clz32(differ & -differ)
  const signed = column.map((word) => word | 0)
  const range = Math.min(...[column, signed].map((words) => Math.max(...words) - Math.min(...words)))
  return 32 - Math.clz32(range >>> shift)
}

/** Words of every fourth line that are similar to the last word with the same hash. */
function similarWords(words: readonly number[]): number {
  const dictionary = new Array<number>(16).fill(0)
  const looked = words.filter((_, index) => Math.floor(index / LINE_WORDS) % (WORDS / SIMILAR_SAMPLE) === 0)
  return looked.filter((word) => {
    const slot = Math.imul(word >>> 10, 0x9e3779b1) >>> 28
    const similar = (dictionary[slot] as number) >>> 10 === word >>> 10
    dictionary[slot] = word
    return similar
  }).length
}

/** The CONTENT_CLASS of 4,096 bytes. */
export function contentClassOf(bytes: Uint8Array): number {
  const view = new DataView(bytes.buffer, bytes.byteOffset, PAGE_BYTES)
  const words = Array.from({ length: WORDS }, (_, index) => view.getUint32(index * 4, true))
  if (words.every((word, index) => word === words[index % 2])) return CONTENT_CLASS.uniform
  const count = (holds: (byte: number) => boolean): number => bytes.reduce((sum, byte) => sum + Number(holds(byte)), 0)
  if (count((byte) => byte === 0) >= ZERO_BYTES_LEAST) return CONTENT_CLASS.zeroRich
  if (similarWords(words) >= SIMILAR_LEAST) return CONTENT_CLASS.strong
  const columns = [0, 1, 2, 3].map((column) => words.filter((_, index) => index % 4 === column))
  const widths = columns.reduce((sum, column) => sum + widthOf(column), 0)
  if (widths <= WIDTHS_MOST) return CONTENT_CLASS.columns
  return count((byte) => byte >= 0x80) < TOP_BITS_BELOW ? CONTENT_CLASS.textLike : CONTENT_CLASS.noise
}
