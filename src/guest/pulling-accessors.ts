// The accessors of a vCPU whose pages may be absent: each access tests presence first (R8). Exchanged for the plain ones
// at a step boundary only, so that a guest that is all there pays nothing for the test.

import { PAGE_BYTES, PAGE_SHIFT } from '../limits.ts'
import { Accessors } from './accessors.ts'
import type { GuestMemory } from './memory.ts'
import type { PageFaults } from './page-faults.ts'
import { PRESENCE } from './presence.ts'

const { present } = PRESENCE

export class PullingAccessors extends Accessors {
  readonly #presence: Uint8Array<SharedArrayBuffer>
  readonly #faults: PageFaults

  constructor(memory: GuestMemory, registers: Uint32Array<SharedArrayBuffer>, faults: PageFaults) {
    super(memory, registers)
    const { presence, pageCount } = memory.layout
    this.#presence = new Uint8Array(memory.controlBytes.buffer, presence, pageCount)
    this.#faults = faults
  }

  /** An access lies within one page (R6). What lies outside the guest is left to the access itself to refuse. */
  #require(address: number): void {
    this.requirePage(address >>> PAGE_SHIFT)
  }

  protected requirePage(page: number): void {
    if (this.#presence[page] !== present) this.#faults.need(page)
  }

  override loadU8(address: number): number {
    this.#require(address)
    return super.loadU8(address)
  }

  override loadU16(address: number): number {
    this.#require(address)
    return super.loadU16(address)
  }

  override loadU32(address: number): number {
    this.#require(address)
    return super.loadU32(address)
  }

  override loadF64(address: number): number {
    this.#require(address)
    return super.loadF64(address)
  }

  override storeU8(address: number, value: number): void {
    this.#require(address)
    super.storeU8(address, value)
  }

  override storeU16(address: number, value: number): void {
    this.#require(address)
    super.storeU16(address, value)
  }

  override storeU32(address: number, value: number): void {
    this.#require(address)
    super.storeU32(address, value)
  }

  override storeF64(address: number, value: number): void {
    this.#require(address)
    super.storeF64(address, value)
  }

  override loadBytes(address: number, target: Uint8Array): void {
    this.#require(address)
    super.loadBytes(address, target)
  }

  /** A page that is free need not come (R17): what it held at the source is nothing any more. */
  override free(page: number): void {
    this.replace(page, () => super.free(page))
  }

  override reuse(page: number): void {
    this.replace(page, () => super.reuse(page))
  }

  override storeBytes(address: number, source: Uint8Array): void {
    const whole = source.length === PAGE_BYTES && address % PAGE_BYTES === 0 && address < this.memoryBytes
    if (whole) return this.replace(address / PAGE_BYTES, () => super.storeBytes(address, source))
    this.#require(address)
    super.storeBytes(address, source)
  }

  /** A page that is written as a whole need not come first (R9). */
  protected replace(page: number, write: () => void): void {
    const claimed = this.#faults.claimWhole(page)
    if (!claimed) this.#faults.need(page)
    write()
    if (claimed) this.#faults.wrote(page)
  }
}
