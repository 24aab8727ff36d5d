// Encoding 7: one LZ4 block for up to GROUP_PAGES pages, which need not be neighbours. In a frame, a run with payload
// begins a block; the runs of this encoding that follow without payload take the block's next pages, and other encodings'
// runs may lie between them. The block ends exactly with the last of its runs.
//
//   runs      7×3 lz4, 900 bytes │ 10×1 zero │ 11×2 lz4, 0 bytes │ 20×1 lz4, 300 bytes
//   blocks    ╰── pages 7 8 9 ───────────────── 11 12 ─────────╯   ╰── page 20 ──────╯

import { CODEC_AREA } from '../guest/layout.ts'
import { LZ4_CONTENT_BYTES, type Lz4Kernel, loadLz4 } from '../kernels/lz4.ts'
import { GROUP_PAGES, PAGE_BYTES } from '../limits.ts'
import type { EncodingContext, PageEncoding, RunDecoder } from './encoding.ts'
import type { Lz4Backend, Lz4Library } from './lz4-backend.ts'
import { badPayload } from './payload.ts'

/** Several pages → one block. */
export interface GroupEncoder {
  /**
   * Encodes the copies (R13) of `pages` pages, 1 to GROUP_PAGES, that lie at CODEC_AREA.group to `to`, a byte offset in the
   * control memory. Returns the length in bytes, or −1 when it would exceed `limitBytes`; nothing outside
   * [to, to + limitBytes) and the scratch tables is written either way. A block that is sent is shorter than its pages.
   */
  encodeGroup(pages: number, to: number, limitBytes: number): number
}

/** An encoder of one transfer thread. With the kernel it allocates nothing, with lz4-napi a buffer a block. */
export function createLz4Encoder(context: EncodingContext, backend: Lz4Backend): GroupEncoder {
  const { memory, area } = context
  if (backend.library !== null) return libraryEncoder(context, backend.library)
  const kernel = loadLz4(memory)
  const [group, tables] = [area + CODEC_AREA.group, area + CODEC_AREA.tables]
  return { encodeGroup: (pages, to, limit) => kernel.compress(group, pages * PAGE_BYTES, to, limit, tables) }
}

/** Bytes that lz4-napi puts in front of a block. */
const SIZE_BYTES = 4

function libraryEncoder({ memory, area }: EncodingContext, library: Lz4Library): GroupEncoder {
  const control = Buffer.from(memory.control.buffer as unknown as ArrayBuffer)
  const group = area + CODEC_AREA.group
  const views = Array.from({ length: GROUP_PAGES }, (_, last) =>
    control.subarray(group, group + (last + 1) * PAGE_BYTES),
  )
  return {
    encodeGroup(pages, to, limitBytes) {
      const made = library.compressSync(views[pages - 1] as Buffer)
      const length = made.length - SIZE_BYTES
      if (length > limitBytes) return -1
      made.copy(control, to, SIZE_BYTES)
      return length
    },
  }
}

/** Places the pages of blocks; `left` pages of the last one still wait for their runs. */
class Lz4Decoder implements RunDecoder {
  readonly #context: EncodingContext
  readonly #kernel: Lz4Kernel
  readonly #group: number
  #left = 0
  #next = 0

  constructor(context: EncodingContext) {
    this.#context = context
    this.#kernel = loadLz4(context.memory)
    this.#group = context.area + CODEC_AREA.group
  }

  decodeRun(firstPage: number, count: number, from: number, payloadBytes: number): void {
    if (payloadBytes > 0) this.#begin(from, payloadBytes)
    if (count > this.#left) throw this.#broken(`${count} pages of a block that has ${this.#left} left`)
    this.#context.kernels.placeRun(firstPage, count, this.#group + this.#next * PAGE_BYTES)
    this.#next += count
    this.#left -= count
  }

  #begin(from: number, payloadBytes: number): void {
    this.endFrame()
    const bytes = this.#kernel.decompress(from, payloadBytes, this.#group, LZ4_CONTENT_BYTES)
    if (bytes < 0) throw this.#broken(`${payloadBytes} bytes that are no block of at most ${GROUP_PAGES} pages`)
    if (bytes === 0 || bytes % PAGE_BYTES !== 0) throw this.#broken(`a block of ${bytes} bytes, not whole pages`)
    if (payloadBytes >= bytes) throw this.#broken(`${bytes} bytes of pages in a block of ${payloadBytes}`)
    this.#left = bytes / PAGE_BYTES
    this.#next = 0
  }

  endFrame(): void {
    if (this.#left !== 0) throw this.#broken(`a block with ${this.#left} pages more than its runs`)
  }

  /** The error; whatever comes after it begins anew. */
  #broken(what: string): Error {
    this.#left = 0
    return badPayload('lz4', what)
  }
}

/** Throws `bad-payload` unless the run can be a part of one block: a payload is the whole block's, so it may be above raw. */
function checkPayload(count: number, payloadBytes: number): void {
  const pages = Number.isInteger(count) && count >= 1 && count <= GROUP_PAGES
  if (pages && Number.isInteger(payloadBytes) && payloadBytes >= 0 && payloadBytes < LZ4_CONTENT_BYTES) return
  throw badPayload('lz4', `${count} pages with ${payloadBytes} payload bytes`)
}

export const lz4: PageEncoding = {
  id: 7,
  name: 'lz4',
  place: 'staging',
  maxPayloadBytes: () => LZ4_CONTENT_BYTES - 1,
  checkPayload,
  createDecoder: (context) => new Lz4Decoder(context),
}
