// Where things lie in the pages of one shard. All of it is guest memory: the store has no state anywhere else.
//
//   │ header │ page table: 16 bytes a page │ data pages: used before … │ fresh: never used │
//   from                                   firstDataPage                                   to
//
// A data page is free (declared so, R17), or has slots of one size, or is a whole page of a tree. A page number or an
// address of 0 means none: the first page of a share is its header.

import type { FillContext } from '../../guest/program.ts'
import { PAGE_BYTES } from '../../limits.ts'
import { type PageRange, shareOf, storePages } from './shares.ts'

/** Byte offsets in the header page. */
export const HEADER = {
  /** What says that the share is formatted, and its size. */
  magic: 0,
  pages: 4,
  /** First page that was never used, top of the stack of pages that were given back, and pages in use. */
  fresh: 8,
  freePages: 12,
  usedPages: 16,
  /** The removed hashes, a list through their last word. */
  removed: 20,
  /** Two words: the key of the hash function. */
  hashKey: 24,
  /** The dictionary of keys. */
  keys: 32,
  /** The heap of deadlines: its tree's root and pages, and its nodes. */
  heapRoot: 48,
  heapPages: 52,
  heapNodes: 56,
  /** f64: the latest time that a request brought, and counters for INFO. */
  clock: 64,
  commands: 72,
  hits: 80,
  misses: 88,
  expired: 96,
  /** One word a size of slots: the first page that has room. */
  roomy: 128,
} as const

/** 'GKV1'. */
export const MAGIC = 0x31564b47

/** Byte offsets in a page's line of the page table. */
export const LINE = {
  bytes: 16,
  /** u16: `PAGE_KIND`, or the size of its slots. */
  kind: 0,
  /** u16: slots in use. */
  used: 2,
  /** u16: one more than the first slot that was given back; each such slot begins with the next. */
  given: 4,
  /** u16: slots that were ever used; those behind them are fresh. */
  fresh: 6,
  /** u32: neighbours in the list of pages with room; of a free page `next` is the one below it on the stack. */
  previous: 8,
  next: 12,
} as const

/** Values of `LINE.kind` beside the sizes, which count from 0 on. */
export const PAGE_KIND = { free: 0xffff, whole: 0xfffe } as const

/** Byte offsets in an entry, a key or a field with its value. */
export const ENTRY = {
  /** u32: the next entry of the bucket. First, so that an entry and a bucket are links alike. */
  next: 0,
  hash: 4,
  /** u16 each. */
  keyLength: 8,
  type: 10,
  /** u32 each: length and place of a string; the place of a hash's dictionary. */
  length: 12,
  value: 16,
  /** u32: one more than its place in the heap of deadlines. */
  deadline: 20,
  key: 24,
} as const

/** Byte offsets in the four words of a dictionary: its buckets' slot or root, pages (0: a slot), buckets, entries. */
export const DICTIONARY = { root: 0, pages: 4, buckets: 8, entries: 12 } as const
/** A hash's dictionary, and the word that links it to the next removed one. */
export const HASH = { removed: 16, bytes: 20 } as const

export const TYPE = { string: 0, hash: 1 } as const

/** Pages that the page table takes, and the first page behind it. */
export const tablePages = ({ from, to }: PageRange): number => Math.ceil(((to - from) * LINE.bytes) / PAGE_BYTES)
export const firstDataPage = (range: PageRange): number => range.from + 1 + tablePages(range)

/** First content of a store's guest: zero pages everywhere, and all but headers, page tables and sessions are free (R17). */
export function fillStore({ free, firstPage, pageCount, memoryBytes, vcpus }: FillContext): void {
  for (let vcpu = 0; vcpu < vcpus; vcpu++) {
    const range = storePages(shareOf(memoryBytes, vcpu, vcpus))
    const from = Math.max(firstPage, firstDataPage(range))
    const to = Math.min(firstPage + pageCount, range.to)
    if (from < to) free.fill(1, from, to)
  }
}
