// How a program reads and writes the guest: every store marks its page's card. One object a vCPU, handed to `step`.

import { PAGE_BYTES, PAGE_SHIFT } from '../limits.ts'
import type { GuestMemory } from './memory.ts'
import type { Table } from './safepoint-machine.ts'

/**
 * Has element 0 and no other: an index that was rounded down to a whole element differs from its address by 0, or the
 * address is negative, fractional, misaligned or 4 GiB and more. A test by look-up, as the card's bounds are: V8 turns it
 * into a bounds check that leaves the compiled code, whereas a branch with a `throw` keeps it from peeling the loop
 * that the store is inlined into, which makes a tight loop half as fast again.
 */
const EXACT = new Uint8Array(1)

/** From an index to its page, for elements of 1, 2, 4 and 8 bytes. */
const [BYTE_SHIFT, HALF_SHIFT, WORD_SHIFT, FLOAT_SHIFT] = [PAGE_SHIFT, PAGE_SHIFT - 1, PAGE_SHIFT - 2, PAGE_SHIFT - 3]

/**
 * The guest's memory as a program sees it: addresses are bytes from 0, values little-endian. An access lies within one
 * page (R6): u16, u32, i32 and f64 at multiples of their size, byte ranges not across a page's end; anything else and
 * any address outside the guest throws RangeError. Values outside a type's range wrap, as in typed arrays.
 */
export class Accessors {
  readonly memoryBytes: number
  /** 256 words that belong to this vCPU and move along with it; zero when the guest is created. */
  readonly registers: Uint32Array<SharedArrayBuffer>
  readonly #bytes: Uint8Array<SharedArrayBuffer>
  readonly #halves: Uint16Array<SharedArrayBuffer>
  readonly #words: Uint32Array<SharedArrayBuffer>
  readonly #floats: Float64Array<SharedArrayBuffer>
  readonly #tables: readonly [Uint8Array<SharedArrayBuffer>, Uint8Array<SharedArrayBuffer>]
  #cards: Uint8Array<SharedArrayBuffer>
  readonly #free: Uint8Array<SharedArrayBuffer>

  constructor(memory: GuestMemory, registers: Uint32Array<SharedArrayBuffer>) {
    const { layout, bytes, controlBytes } = memory
    this.memoryBytes = layout.memoryBytes
    this.registers = registers
    this.#bytes = bytes
    this.#halves = new Uint16Array(bytes.buffer)
    this.#words = new Uint32Array(bytes.buffer)
    this.#floats = new Float64Array(bytes.buffer)
    const table = (offset: number) => new Uint8Array(controlBytes.buffer, offset, layout.pageCount)
    this.#tables = [table(layout.cards[0]), table(layout.cards[1])]
    this.#cards = this.#tables[0]
    this.#free = table(layout.free)
  }

  /** Marks go to this card table from now on; called by the vCPU's thread between two steps. */
  useTable(table: Table): void {
    this.#cards = this.#tables[table]
  }

  loadU8(address: number): number {
    const value = this.#bytes[address]
    if (value === undefined) throw outside(address)
    return value
  }

  loadU16(address: number): number {
    const value = this.#halves[address / 2]
    if (value === undefined) throw outside(address)
    return value
  }

  loadU32(address: number): number {
    const value = this.#words[address / 4]
    if (value === undefined) throw outside(address)
    return value
  }

  loadI32(address: number): number {
    return this.loadU32(address) | 0
  }

  loadF64(address: number): number {
    const value = this.#floats[address / 8]
    if (value === undefined) throw outside(address)
    return value
  }

  storeU8(address: number, value: number): void {
    const index = address >>> 0
    const card = this.#cards[index >>> BYTE_SHIFT]
    if (card === undefined || EXACT[index - address] === undefined) throw outside(address)
    this.#bytes[index] = value
    if (card === 0) this.#cards[index >>> BYTE_SHIFT] = 1 // R1: data first, then the mark
  }

  storeU16(address: number, value: number): void {
    const index = address >>> 1
    const card = this.#cards[index >>> HALF_SHIFT]
    if (card === undefined || EXACT[index * 2 - address] === undefined) throw outside(address)
    this.#halves[index] = value
    if (card === 0) this.#cards[index >>> HALF_SHIFT] = 1 // R1
  }

  storeU32(address: number, value: number): void {
    const index = address >>> 2
    const card = this.#cards[index >>> WORD_SHIFT]
    if (card === undefined || EXACT[index * 4 - address] === undefined) throw outside(address)
    this.#words[index] = value
    if (card === 0) this.#cards[index >>> WORD_SHIFT] = 1 // R1
  }

  storeI32(address: number, value: number): void {
    this.storeU32(address, value)
  }

  storeF64(address: number, value: number): void {
    const index = address >>> 3
    const card = this.#cards[index >>> FLOAT_SHIFT]
    if (card === undefined || EXACT[index * 8 - address] === undefined) throw outside(address)
    this.#floats[index] = value
    if (card === 0) this.#cards[index >>> FLOAT_SHIFT] = 1 // R1
  }

  /** Copies `target.length` bytes of the guest from `address` on into `target`. */
  loadBytes(address: number, target: Uint8Array): void {
    this.#checkRange(address, target.length)
    target.set(this.#bytes.subarray(address, address + target.length))
  }

  /** Copies `source` into the guest. */
  storeBytes(address: number, source: Uint8Array): void {
    this.#checkRange(address, source.length)
    if (source.length === 0) return
    this.#bytes.set(source, address)
    const card = address >>> PAGE_SHIFT // R1
    if (this.#cards[card] === 0) this.#cards[card] = 1
  }

  /**
   * Says that nobody needs what page `page` holds (R17): its bytes are not sent any more. Until `reuse` the page must not
   * be read or written; what it holds then is undefined and differs from host to host.
   */
  free(page: number): void {
    this.#checkPage(page)
    this.#free[page] = 1
    if (this.#cards[page] === 0) this.#cards[page] = 1 // R1: sent before, it is sent once more, as zero
  }

  /** Takes page `page` into use again: whatever it held, it is zero now. */
  reuse(page: number): void {
    this.#checkPage(page)
    // R17: zero first. The byte of the free map is cleared when the page has its content, the mark comes last (R1).
    this.#bytes.fill(0, page * PAGE_BYTES, (page + 1) * PAGE_BYTES)
    this.#free[page] = 0
    if (this.#cards[page] === 0) this.#cards[page] = 1
  }

  #checkPage(page: number): void {
    if (this.#free[page] === undefined) throw new RangeError(`page ${page} is outside the guest`)
  }

  #checkRange(address: number, length: number): void {
    if (!Number.isInteger(address) || address < 0 || address + length > this.memoryBytes) throw outside(address)
    if ((address % PAGE_BYTES) + length > PAGE_BYTES) {
      throw new RangeError(`${length} bytes at address ${address} cross the end of a page; split the access there`)
    }
  }
}

function outside(address: number): RangeError {
  return new RangeError(`address ${address} is outside the guest or no multiple of the value's size`)
}
