// What one guest process asks of another on the same host, over its page socket: hashes of its pages under a session's seed,
// and pages. Answers have no head: their length follows from the request. Pure; guest-process/page-service.ts answers,
// migration/transfer/neighbour-link.ts asks.
//
//   hashes   │ 1 u8 │ first u32 │ count u32 │ seed u64 │    → count × u64, 0 for a page of zeros (kernels/copy-hashes.ts)
//   pages    │ 2 u8 │ count u32 │ page u32 × count │        → count × 4,096 bytes

import { GodwitError } from '../errors.ts'
import { BATCH_PAGES, COPY_HASHES, PAGE_BYTES } from '../limits.ts'

const HASHES = 1
const PAGES = 2
const HASHES_BYTES = 17
const PAGES_HEAD_BYTES = 5
const LONGEST_BYTES = PAGES_HEAD_BYTES + 4 * BATCH_PAGES

export type PageRequest =
  | { readonly what: 'hashes'; readonly first: number; readonly count: number; readonly seed: bigint }
  | { readonly what: 'pages'; readonly pages: Uint32Array }

/** Bytes of the answer. */
export const answerBytes = (request: PageRequest): number =>
  request.what === 'hashes' ? 8 * request.count : PAGE_BYTES * request.pages.length

export function encodePageRequest(request: PageRequest): Buffer<ArrayBuffer> {
  if (request.what === 'hashes') {
    const bytes = Buffer.allocUnsafeSlow(HASHES_BYTES)
    bytes.writeUInt8(HASHES, 0)
    bytes.writeUInt32LE(request.first, 1)
    bytes.writeUInt32LE(request.count, 5)
    bytes.writeBigUInt64LE(request.seed, 9)
    return bytes
  }
  const { pages } = request
  const bytes = Buffer.allocUnsafeSlow(PAGES_HEAD_BYTES + 4 * pages.length)
  bytes.writeUInt8(PAGES, 0)
  bytes.writeUInt32LE(pages.length, 1)
  for (let index = 0; index < pages.length; index++) {
    bytes.writeUInt32LE(pages[index] as number, PAGES_HEAD_BYTES + 4 * index)
  }
  return bytes
}

/** Cuts a stream of bytes into requests, each inside a guest of `pageCount` pages; a push machine. */
export class PageRequestReader {
  readonly #pageCount: number
  readonly #held = Buffer.allocUnsafeSlow(LONGEST_BYTES)
  #length = 0

  constructor(pageCount: number) {
    this.#pageCount = pageCount
  }

  /**
   * The one request that `bytes` completes; null: more are needed. Throws `bad-message` for one that breaks the rules, and
   * for bytes behind it: whoever asks waits for the answer.
   */
  push(bytes: Uint8Array): PageRequest | null {
    if (this.#length + bytes.length > LONGEST_BYTES) throw bad(`is over ${LONGEST_BYTES} bytes long`)
    this.#held.set(bytes, this.#length)
    this.#length += bytes.length
    const wanted = this.#wanted()
    if (wanted === null || this.#length < wanted) return null
    if (this.#length > wanted) throw bad('has bytes behind its end')
    this.#length = 0
    return this.#held[0] === HASHES ? this.#hashes() : this.#pages(wanted)
  }

  /** Length of the request that has begun; null: it does not show yet. */
  #wanted(): number | null {
    if (this.#length === 0) return null
    if (this.#held[0] === HASHES) return HASHES_BYTES
    if (this.#held[0] !== PAGES) throw bad(`is of kind ${this.#held[0]}`)
    if (this.#length < PAGES_HEAD_BYTES) return null
    const count = this.#held.readUInt32LE(1)
    if (count === 0 || count > BATCH_PAGES) throw bad(`is for ${count} pages`)
    return PAGES_HEAD_BYTES + 4 * count
  }

  #hashes(): PageRequest {
    const [first, count] = [this.#held.readUInt32LE(1), this.#held.readUInt32LE(5)]
    const fits = count > 0 && count <= COPY_HASHES && first + count <= this.#pageCount
    if (!fits) throw bad(`is for hashes of ${count} pages from page ${first} on`)
    return { what: 'hashes', first, count, seed: this.#held.readBigUInt64LE(9) }
  }

  #pages(bytes: number): PageRequest {
    const pages = new Uint32Array((bytes - PAGES_HEAD_BYTES) / 4)
    for (let index = 0; index < pages.length; index++) {
      const page = this.#held.readUInt32LE(PAGES_HEAD_BYTES + 4 * index)
      if (page >= this.#pageCount) throw bad(`is for page ${page} of ${this.#pageCount}`)
      pages[index] = page
    }
    return { what: 'pages', pages }
  }
}

const bad = (what: string): GodwitError => new GodwitError('bad-message', `a request to a page service ${what}`)
