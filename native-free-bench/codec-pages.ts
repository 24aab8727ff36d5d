// Pages of one kind for techniques/codecs.ts: copies to encode in the codec area of one lane, as a transfer thread has
// them, room for what codecs make of them, and guest pages to decode to.

import type { EncodingContext } from '../src/encoding/encoding.ts'
import { CODEC_AREA } from '../src/guest/layout.ts'
import { GuestMemory } from '../src/guest/memory.ts'
import { loadKernels } from '../src/kernels/kernels.ts'
import { BATCH_PAGES, PAGE_BYTES } from '../src/limits.ts'
import { fillPage, type PageKind, pageKind } from '../src/programs/contents.ts'
import { MIB } from './demo.ts'

export const KINDS: readonly PageKind[] = ['zero', 'sparse', 'integers', 'text', 'random']
const MEMORY_BYTES = 32 * MIB

/** A codec as it is measured: blocks of `pages` pages. Offsets are byte offsets in the control memory. */
export interface Subject {
  readonly name: string
  readonly pages: number
  /** Untimed, once the copies are there. */
  prepare?(): void
  /** The block at `from` → `to`: its bytes, −1 when it does not shrink. */
  encode(from: number, to: number): number
  /** The block at `from` → the guest's pages from `first` on. */
  decode?(first: number, from: number, bytes: number): void
}

/** What a pass over all pages made: the bytes of each block, −1 for one that did not shrink. */
export interface Blocks {
  readonly pages: number
  readonly bytes: Int32Array
  all: number
  shrunk: number
  /** Bytes of all pages as they would travel: what did not shrink as it is. */
  bytesWithRaw: number
}

export class CodecPages {
  readonly context: EncodingContext
  readonly count = BATCH_PAGES
  /** Where the copies begin. */
  readonly copies: number
  readonly #to: number
  readonly #seed: number
  readonly #memory: GuestMemory

  constructor(seed: number) {
    const memory = GuestMemory.create(MEMORY_BYTES, 1)
    const area = memory.layout.codecs
    this.context = { memory, kernels: loadKernels(memory), area }
    this.copies = area + CODEC_AREA.copies
    this.#to = memory.layout.staging
    this.#seed = seed
    this.#memory = memory
    const words = new Uint32Array(memory.bytes.buffer)
    // The first pages are where codecs decode to.
    for (let page = this.count; page < memory.layout.pageCount; page++) {
      fillPage(memory.bytes, words, 'mix', seed, page)
    }
  }

  /** Copies of the first pages of that kind, and nothing at all where they are decoded to. */
  load(kind: PageKind): void {
    const { kernels } = this.context
    this.#memory.bytes.fill(0, 0, this.count * PAGE_BYTES)
    let copied = 0
    for (let page = this.count; copied < this.count; page++) {
      if (page === this.#memory.layout.pageCount) throw new Error(`too few pages are ${kind}`)
      if (pageKind('mix', this.#seed, page) !== kind) continue
      kernels.takeRun(page, 1, this.copies + copied * PAGE_BYTES)
      copied++
    }
  }

  each(work: (from: number, page: number) => void): void {
    for (let page = 0; page < this.count; page++) work(this.copies + page * PAGE_BYTES, page)
  }

  /** The copy becomes the guest's page. */
  place(from: number, page: number): void {
    this.#memory.bytes.set(this.#memory.controlBytes.subarray(from, from + PAGE_BYTES), page * PAGE_BYTES)
  }

  /** Inverts `length` bytes of the copies. */
  change(at: number, length: number): void {
    const bytes = this.#memory.controlBytes
    for (let index = at; index < at + length; index++) bytes[index] = ~(bytes[index] as number)
  }

  blocks({ pages }: Subject): Blocks {
    const all = this.count / pages
    return { pages, bytes: new Int32Array(all), all, shrunk: 0, bytesWithRaw: 0 }
  }

  /** One pass of the encoder; fills `blocks`. */
  encode(subject: Subject, blocks: Blocks): void {
    const step = blocks.pages * PAGE_BYTES
    blocks.shrunk = blocks.bytesWithRaw = 0
    for (let block = 0; block < blocks.all; block++) {
      const bytes = subject.encode(this.copies + block * step, this.#to + block * step)
      blocks.bytes[block] = bytes
      blocks.bytesWithRaw += bytes < 0 ? step : bytes
      if (bytes >= 0) blocks.shrunk++
    }
  }

  /** One pass of the decoder over the blocks that shrank. */
  decode(subject: Subject, blocks: Blocks): void {
    const step = blocks.pages * PAGE_BYTES
    for (let block = 0; block < blocks.all; block++) {
      const bytes = blocks.bytes[block] as number
      if (bytes >= 0) subject.decode?.(block * blocks.pages, this.#to + block * step, bytes)
    }
  }

  /** Throws unless every block that was decoded gave its pages again. */
  check(subject: Subject, blocks: Blocks): void {
    const step = blocks.pages * PAGE_BYTES
    const { bytes: guest, controlBytes } = this.#memory
    for (let block = 0; block < blocks.all; block++) {
      if ((blocks.bytes[block] as number) < 0) continue
      const at = this.copies + block * step
      const equal = Buffer.compare(
        guest.subarray(block * step, (block + 1) * step),
        controlBytes.subarray(at, at + step),
      )
      if (equal !== 0) throw new Error(`${subject.name}: block ${block} came back as another`)
    }
  }
}
