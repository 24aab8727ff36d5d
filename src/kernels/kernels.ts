// The typed binding of the SIMD kernels: every thread that touches page content loads one over the guest's two shared
// memories. Page numbers select pages; all other offsets are byte offsets into the control memory; a list is u32[] of
// page numbers there. Callers pass lists they made themselves or runs they have checked against the guest's size.

import { assert } from '../errors.ts'
import type { GuestMemory } from '../guest/memory.ts'
import { MODULE_BASE64 } from './kernels.bytes.ts'
import { instantiate } from './module.ts'

export { digestTotal, resetDigest } from './digest.ts'

/** `scan` stores one of these per page. */
export const PAGE_CLASS = { raw: 0, zero: 1 } as const

/**
 * Passes over guest pages. kernels.wat does them at memory speed, twin.ts in plain TypeScript, with equal results.
 * `scan`, `hashRun` and `audit` take a page whose byte of the free map is set as a zero page, whatever it holds (R17).
 */
export interface Kernels {
  /**
   * One pass over the listed pages: stores a PAGE_CLASS byte each at `classesOffset`; with `hash` 1 also puts the page's
   * hash into the table (zero page: 0, else XXH64 with seed 0) and adds term(new) − term(old) to the i64 digest slot.
   * With `hash` 0 neither table nor slot is touched. Returns the number of zero pages.
   */
  scan(
    listOffset: number,
    count: number,
    classesOffset: number,
    hashesOffset: number,
    digestOffset: number,
    hash: 0 | 1,
  ): number
  /** Hashes a contiguous run into table and digest slot, as `scan` does (receiver, after placement). */
  hashRun(firstPage: number, count: number, hashesOffset: number, digestOffset: number): void
  /**
   * R10: listed pages → entries of a pull frame's table (page u32, encoding u32: 1 zero, 2 raw, seal u64) at
   * `tableOffset`; their hashes go into table and digest slot. Returns the number of zero pages.
   */
  seal(listOffset: number, count: number, tableOffset: number, hashesOffset: number, digestOffset: number): number
  /**
   * R10: checks placed pages against the seals of the entries, up to the first that differs; the hashes of the good ones
   * go into table and digest slot. Returns how many are good. Entries name pages of the guest.
   */
  unseal(tableOffset: number, count: number, hashesOffset: number, digestOffset: number): number
  /** Takes the pages of a bitmap of `words` u32 out of hash table and digest slot. */
  forget(bitmapOffset: number, words: number, hashesOffset: number, digestOffset: number): void
  /** Presence becomes PRESENT where the bitmap has the page; empties the bitmap. */
  publish(bitmapOffset: number, words: number, presenceOffset: number): void
  /** Writes a bitmap of the bytes that equal `value`; `count` is a multiple of 16. Returns how many there are. */
  findBytes(bytesOffset: number, count: number, value: number, bitmapOffset: number): number
  /** Makes pages zero; writes only to pages that are not, so fresh memory stays unallocated. */
  zeroRun(firstPage: number, count: number): void
  /** Listed pages → staging, 4,096 bytes each, in list order. */
  gather(listOffset: number, count: number, stagingOffset: number): void
  /** Staging → listed pages. */
  scatter(listOffset: number, count: number, stagingOffset: number): void
  /** A contiguous run → staging. */
  takeRun(firstPage: number, count: number, stagingOffset: number): void
  /** Staging → a contiguous run. */
  placeRun(firstPage: number, count: number, stagingOffset: number): void
  /**
   * ORs one-byte cards (non-zero: marked) into a bitmap (bit p&7 of byte p>>3) and zeroes them (R1: the table must be
   * quiet). `pageCount` is a multiple of 16. Returns how many cards were marked.
   */
  harvest(cardsOffset: number, pageCount: number, bitmapOffset: number): number
  /** Index of the first non-zero word (u32) of a bitmap, from `fromWord` on; when there is none, `endWord` or `fromWord`, the larger. */
  nextMarked(bitmapOffset: number, fromWord: number, endWord: number): number
  /** Index within the run of the first page that differs from staging, or −1. */
  compare(firstPage: number, count: number, stagingOffset: number): number
  /** Number of the first page of the run whose hash is not the table's, or −1; writes nothing (R16). */
  audit(firstPage: number, count: number, hashesOffset: number): number
  /** Sum of the digest terms of a run, from the table, 0 ≤ sum < 2^64. */
  digestOf(hashesOffset: number, firstPage: number, count: number): bigint
}

/** Throws `internal` unless the run lies in the guest: a kernel must never see one that does not. */
export function assertRun(memory: GuestMemory, firstPage: number, count: number): void {
  const inside = firstPage >= 0 && count >= 0 && firstPage + count <= memory.layout.pageCount
  // Made only then: a crossing asks for thousands of runs.
  if (!inside) assert(false, `run of ${count} pages at page ${firstPage} outside the guest`)
}

/** Throws `internal` unless harvest can take whole 16-card steps; every guest's page count is such a number. */
export function assertHarvest(pageCount: number): void {
  assert(pageCount % 16 === 0, `harvest of ${pageCount} cards: not a multiple of 16`)
}

/** Loads the kernels over one guest's memories: compiled once per thread, instantiated per guest, a few microseconds. */
export function loadKernels(memory: GuestMemory): Kernels {
  const { layout } = memory
  const raw = instantiate<Kernels>(MODULE_BASE64, memory, { free: layout.free })
  return {
    scan: raw.scan,
    hashRun(firstPage, count, hashesOffset, digestOffset) {
      assertRun(memory, firstPage, count)
      raw.hashRun(firstPage, count, hashesOffset, digestOffset)
    },
    zeroRun(firstPage, count) {
      assertRun(memory, firstPage, count)
      raw.zeroRun(firstPage, count)
    },
    gather: raw.gather,
    scatter: raw.scatter,
    takeRun(firstPage, count, stagingOffset) {
      assertRun(memory, firstPage, count)
      raw.takeRun(firstPage, count, stagingOffset)
    },
    placeRun(firstPage, count, stagingOffset) {
      assertRun(memory, firstPage, count)
      raw.placeRun(firstPage, count, stagingOffset)
    },
    harvest(cardsOffset, pageCount, bitmapOffset) {
      assertHarvest(pageCount)
      return raw.harvest(cardsOffset, pageCount, bitmapOffset)
    },
    seal: raw.seal,
    unseal: raw.unseal,
    forget: raw.forget,
    publish: raw.publish,
    findBytes: raw.findBytes,
    nextMarked: raw.nextMarked,
    compare(firstPage, count, stagingOffset) {
      assertRun(memory, firstPage, count)
      return raw.compare(firstPage, count, stagingOffset)
    },
    audit(firstPage, count, hashesOffset) {
      assertRun(memory, firstPage, count)
      return raw.audit(firstPage, count, hashesOffset)
    },
    digestOf(hashesOffset, firstPage, count) {
      assertRun(memory, firstPage, count)
      return BigInt.asUintN(64, raw.digestOf(hashesOffset, firstPage, count))
    },
  }
}
