// The allocator of a shard: slots of a few sizes, each page holding one size, and whole pages. What it knows lies in the
// header and the page table, so it moves with the guest. A page that holds nothing is declared free at once (R17).

import { assert } from '../../errors.ts'
import type { Accessors } from '../../guest/accessors.ts'
import { PAGE_BYTES, PAGE_SHIFT } from '../../limits.ts'
import { firstDataPage, HEADER, LINE, PAGE_KIND } from './arena-layout.ts'
import type { PageRange } from './shares.ts'

/** Multiples of 16 that leave little of a page unused. */
const SLOT_BYTES: readonly number[] = [
  16, 32, 48, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320, 384, 448, 512, 672, 816, 1024, 1360, 2048,
]
const SLOTS_IN_PAGE = SLOT_BYTES.map((bytes) => Math.floor(PAGE_BYTES / bytes))
/** The largest slot; what is larger takes whole pages. */
export const MAX_SLOT_BYTES = 2048
/** From a length in sixteenths, rounded up, to the size of slots that holds it. */
const SIZE_OF = Uint8Array.from({ length: MAX_SLOT_BYTES / 16 + 1 }, (_, units) =>
  SLOT_BYTES.findIndex((bytes) => bytes >= units * 16),
)

/** Whether two lengths, at most `MAX_SLOT_BYTES`, take slots of the same size. */
export const sameSlots = (a: number, b: number): boolean => SIZE_OF[(a + 15) >>> 4] === SIZE_OF[(b + 15) >>> 4]

export class Arena {
  readonly range: PageRange
  readonly #accessors: Accessors
  readonly #header: number
  /** Where the line of page 0 would lie. */
  readonly #lines: number

  constructor(accessors: Accessors, range: PageRange) {
    this.range = range
    this.#accessors = accessors
    this.#header = range.from * PAGE_BYTES
    this.#lines = (range.from + 1) * PAGE_BYTES - range.from * LINE.bytes
  }

  /** Everything is free from now on; nothing that was taken may be used any more. Takes a while for each page. */
  reset(): void {
    const accessors = this.#accessors
    const first = firstDataPage(this.range)
    const end = accessors.loadU32(this.#header + HEADER.fresh)
    for (let page = first; page < end; page++) {
      if (accessors.loadU16(this.#line(page) + LINE.kind) !== PAGE_KIND.free) accessors.free(page)
    }
    accessors.storeU32(this.#header + HEADER.fresh, first)
    accessors.storeU32(this.#header + HEADER.freePages, 0)
    accessors.storeU32(this.#header + HEADER.usedPages, 0)
    for (const size of SLOT_BYTES.keys()) accessors.storeU32(this.#header + HEADER.roomy + 4 * size, 0)
  }

  /** Pages in use beside the header and the page table. */
  get usedPages(): number {
    return this.#accessors.loadU32(this.#header + HEADER.usedPages)
  }

  /** The address of a whole page, zero; null: none is left. */
  takePage(): number | null {
    const page = this.#take(PAGE_KIND.whole)
    return page === 0 ? null : page * PAGE_BYTES
  }

  givePage(address: number): void {
    const page = address >>> PAGE_SHIFT
    assert(this.#accessors.loadU16(this.#line(page) + LINE.kind) === PAGE_KIND.whole, `page ${page} is no whole page`)
    this.#give(page)
  }

  /** The address, a multiple of 16, of a slot for `bytes`, at most `MAX_SLOT_BYTES`; null: no memory is left. */
  take(bytes: number): number | null {
    const accessors = this.#accessors
    const size = SIZE_OF[(bytes + 15) >>> 4] as number
    const roomy = this.#header + HEADER.roomy + 4 * size
    let page = accessors.loadU32(roomy)
    if (page === 0) {
      page = this.#take(size)
      if (page === 0) return null
      accessors.storeU32(roomy, page)
    }
    const line = this.#line(page)
    const given = accessors.loadU16(line + LINE.given)
    const slot = given === 0 ? accessors.loadU16(line + LINE.fresh) : given - 1
    const address = page * PAGE_BYTES + slot * (SLOT_BYTES[size] as number)
    if (given === 0) accessors.storeU16(line + LINE.fresh, slot + 1)
    else accessors.storeU16(line + LINE.given, accessors.loadU16(address))
    const used = accessors.loadU16(line + LINE.used) + 1
    accessors.storeU16(line + LINE.used, used)
    if (used === SLOTS_IN_PAGE[size]) this.#unlist(line, roomy)
    return address
  }

  /** Gives a slot back. */
  give(address: number): void {
    const accessors = this.#accessors
    const page = address >>> PAGE_SHIFT
    const line = this.#line(page)
    const size = accessors.loadU16(line + LINE.kind)
    const used = accessors.loadU16(line + LINE.used)
    assert(size < SLOT_BYTES.length && used > 0, `no slot is in use at ${address}`)
    const roomy = this.#header + HEADER.roomy + 4 * size
    if (used === SLOTS_IN_PAGE[size]) this.#list(page, line, roomy)
    if (used === 1) {
      this.#unlist(line, roomy)
      this.#give(page)
      return
    }
    accessors.storeU16(line + LINE.used, used - 1)
    accessors.storeU16(address, accessors.loadU16(line + LINE.given))
    accessors.storeU16(line + LINE.given, (address - page * PAGE_BYTES) / (SLOT_BYTES[size] as number) + 1)
  }

  /** The size of a slot in use. */
  slotBytes(address: number): number {
    return SLOT_BYTES[this.#accessors.loadU16(this.#line(address >>> PAGE_SHIFT) + LINE.kind)] as number
  }

  #line(page: number): number {
    return this.#lines + page * LINE.bytes
  }

  /** A page of that kind with a fresh line, or 0. */
  #take(kind: number): number {
    const accessors = this.#accessors
    let page = accessors.loadU32(this.#header + HEADER.freePages)
    if (page !== 0) {
      accessors.storeU32(this.#header + HEADER.freePages, accessors.loadU32(this.#line(page) + LINE.next))
    } else {
      page = accessors.loadU32(this.#header + HEADER.fresh)
      if (page >= this.range.to) return 0
      accessors.storeU32(this.#header + HEADER.fresh, page + 1)
    }
    accessors.reuse(page) // R17
    const line = this.#line(page)
    accessors.storeU16(line + LINE.kind, kind)
    for (let at = line + LINE.used; at < line + LINE.previous; at += 2) accessors.storeU16(at, 0)
    accessors.storeU32(line + LINE.previous, 0)
    accessors.storeU32(line + LINE.next, 0)
    accessors.storeU32(this.#header + HEADER.usedPages, this.usedPages + 1)
    return page
  }

  #give(page: number): void {
    const accessors = this.#accessors
    const line = this.#line(page)
    accessors.storeU16(line + LINE.kind, PAGE_KIND.free)
    accessors.storeU32(line + LINE.next, accessors.loadU32(this.#header + HEADER.freePages))
    accessors.storeU32(this.#header + HEADER.freePages, page)
    accessors.storeU32(this.#header + HEADER.usedPages, this.usedPages - 1)
    accessors.free(page) // R17
  }

  /** Puts a page in front of those with room; `roomy` is where their list begins. */
  #list(page: number, line: number, roomy: number): void {
    const accessors = this.#accessors
    const next = accessors.loadU32(roomy)
    accessors.storeU32(line + LINE.previous, 0)
    accessors.storeU32(line + LINE.next, next)
    if (next !== 0) accessors.storeU32(this.#line(next) + LINE.previous, page)
    accessors.storeU32(roomy, page)
  }

  #unlist(line: number, roomy: number): void {
    const accessors = this.#accessors
    const [previous, next] = [accessors.loadU32(line + LINE.previous), accessors.loadU32(line + LINE.next)]
    accessors.storeU32(previous === 0 ? roomy : this.#line(previous) + LINE.next, next)
    if (next !== 0) accessors.storeU32(this.#line(next) + LINE.previous, previous)
  }
}
