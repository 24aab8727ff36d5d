// A guest's two shared memories with their layout and typed views. Created once per guest process, attached by threads.

import { WASM_PAGE_BYTES } from '../limits.ts'
import { type Layout, layoutOf } from './layout.ts'

/** What a thread needs to attach: structured-cloneable. */
export interface SharedGuestMemory {
  readonly memoryBytes: number
  readonly vcpus: number
  readonly pages: WebAssembly.Memory
  readonly control: WebAssembly.Memory
}

/** The memories, the layout, and views over the control memory that every thread uses. */
export class GuestMemory {
  readonly layout: Layout
  readonly pages: WebAssembly.Memory
  readonly control: WebAssembly.Memory
  /** The guest, byte by byte. */
  readonly bytes: Uint8Array<SharedArrayBuffer>
  readonly controlBytes: Uint8Array<SharedArrayBuffer>
  readonly controlWords: Int32Array<SharedArrayBuffer>
  readonly controlFloats: Float64Array<SharedArrayBuffer>
  readonly controlLongs: BigInt64Array<SharedArrayBuffer>

  constructor(shared: SharedGuestMemory) {
    this.layout = layoutOf(shared.memoryBytes, shared.vcpus)
    this.pages = shared.pages
    this.control = shared.control
    const control = shared.control.buffer as unknown as SharedArrayBuffer
    this.bytes = new Uint8Array(shared.pages.buffer as unknown as SharedArrayBuffer)
    this.controlBytes = new Uint8Array(control)
    this.controlWords = new Int32Array(control)
    this.controlFloats = new Float64Array(control)
    this.controlLongs = new BigInt64Array(control)
  }

  /**
   * Reserves address space for a guest; memory becomes resident as it is touched. With `pages`, those of a guest of this size
   * that nothing uses any more, it begins with what they hold. Throws `bad-size`.
   */
  static create(memoryBytes: number, vcpus: number, pages: WebAssembly.Memory | null = null): GuestMemory {
    const layout = layoutOf(memoryBytes, vcpus)
    const shared = (bytes: number): WebAssembly.Memory => {
      const size = bytes / WASM_PAGE_BYTES
      return new WebAssembly.Memory({ initial: size, maximum: size, shared: true })
    }
    const control = shared(layout.controlBytes)
    return new GuestMemory({ memoryBytes, vcpus, pages: pages ?? shared(memoryBytes), control })
  }

  /** The free map, one byte a page: 1 while the guest's program has it free (R17). */
  get free(): Uint8Array<SharedArrayBuffer> {
    return this.controlBytes.subarray(this.layout.free, this.layout.free + this.layout.pageCount)
  }

  /** The form to hand to a worker thread. */
  get shared(): SharedGuestMemory {
    return {
      memoryBytes: this.layout.memoryBytes,
      vcpus: this.layout.vcpus,
      pages: this.pages,
      control: this.control,
    }
  }
}
