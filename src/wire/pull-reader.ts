// The destination's end of PULL frames as a pure push machine, for stream-reader.ts: claims every page of a frame before
// one byte of it is read into guest memory (R9), checks each against its seal before vCPUs may have it (R10), and reads
// what must not be placed into staging, where it is forgotten.
//
//   head ─► table ─► run of claimed raw pages | run of dropped ones ─► … ─► done

import { zero } from '../encoding/zero.ts'
import { GodwitError } from '../errors.ts'
import { Installer } from '../guest/installing.ts'
import { THREAD_BLOCK } from '../guest/layout.ts'
import type { GuestMemory } from '../guest/memory.ts'
import type { Kernels } from '../kernels/kernels.ts'
import { BATCH_PAGES, PAGE_BYTES, READ_BYTES, STAGING_BYTES } from '../limits.ts'
import { checkOf, FRAME_TYPE, type FrameHeader, requireCheck } from './frame.ts'
import {
  checkPullTable,
  decodePullHead,
  PULL_ENTRY_BYTES,
  PULL_HEAD_BYTES,
  pullEncoding,
  pullPage,
} from './pull-frame.ts'

export interface PullReaderOptions {
  readonly memory: GuestMemory
  readonly kernels: Kernels
  readonly channel: number
  /** A page came with a wrong hash and must be sent again. */
  readonly onSpoilt: (page: number) => void
  /** The last missing page is in. */
  readonly onLast: () => void
}

export class PullReader {
  /** Pages that came although they had been written here. */
  dropped = 0
  /** Pages placed so far. */
  installed = 0
  readonly #options: PullReaderOptions
  readonly #memory: GuestMemory
  readonly #installer: Installer
  readonly #table: number
  readonly #digest: number
  readonly #staging: number
  readonly #head = new Uint8Array(PULL_HEAD_BYTES)
  readonly #claimed = new Uint8Array(BATCH_PAGES)
  #state: 'head' | 'table' | 'run' = 'head'
  #frameLength = 0
  #header: FrameHeader | null = null
  #count = 0
  /** The run under way: its first entry and how many; pages of it that are settled; bytes there and wanted. */
  #first = 0
  #pages = 0
  #settled = 0
  #filled = 0
  #wanted = 0

  constructor(options: PullReaderOptions) {
    const { layout } = options.memory
    const block = layout.threadBlocks + options.channel * THREAD_BLOCK.bytes
    this.#options = options
    this.#memory = options.memory
    this.#installer = new Installer(options.memory)
    this.#table = block + THREAD_BLOCK.pullTable
    this.#digest = block + THREAD_BLOCK.digest
    this.#staging = layout.staging + options.channel * STAGING_BYTES
  }

  /** A frame begins; its header stays the caller's until the frame is complete. Throws `bad-frame`. */
  begin(header: FrameHeader): void {
    const { length } = header
    if (length < PULL_HEAD_BYTES + PULL_ENTRY_BYTES)
      throw new GodwitError('bad-frame', `a pull frame of ${length} bytes`)
    this.#frameLength = length
    this.#header = header
    this.#expect('head', PULL_HEAD_BYTES)
  }

  /** Where the next bytes must go: never empty, at most READ_BYTES. */
  next(): Uint8Array {
    const from = this.#filled
    const to = Math.min(this.#wanted, from + READ_BYTES)
    if (this.#state === 'head') return this.#head.subarray(from, to)
    if (this.#state === 'table') return this.#memory.controlBytes.subarray(this.#table + from, this.#table + to)
    if (this.#claimed[this.#first] === 0) {
      return this.#memory.controlBytes.subarray(this.#staging + from, this.#staging + to)
    }
    const start = pullPage(this.#memory, this.#table, this.#first) * PAGE_BYTES
    return this.#memory.bytes.subarray(start + from, start + to)
  }

  /** `size` bytes are where `next` said. True: the frame is complete. Throws named errors. */
  advance(size: number): boolean {
    this.#filled += size
    if (this.#state === 'run') this.#settleRun()
    if (this.#filled < this.#wanted) return false
    if (this.#state === 'head') {
      this.#count = decodePullHead(this.#head, this.#frameLength)
      this.#expect('table', this.#count * PULL_ENTRY_BYTES)
      return false
    }
    if (this.#state === 'table') {
      // Before anything is claimed: an altered page number would be a page that never comes, whatever the seals say.
      const table = this.#memory.controlBytes.subarray(this.#table, this.#table + this.#wanted)
      requireCheck(this.#header as FrameHeader, checkOf(FRAME_TYPE.pull, this.#head, table))
      checkPullTable(this.#memory, this.#table, this.#count, this.#frameLength)
      this.#claimAll()
      return this.#nextRun(0)
    }
    return this.#nextRun(this.#first + this.#pages)
  }

  #expect(state: 'head' | 'table' | 'run', wanted: number): void {
    this.#state = state
    this.#filled = 0
    this.#wanted = wanted
  }

  #page(entry: number): number {
    return pullPage(this.#memory, this.#table, entry)
  }

  #isZero(entry: number): boolean {
    return pullEncoding(this.#memory, this.#table, entry) === zero.id
  }

  /** R9. A page that is here already, and was not written here, breaks the rule that every page is sent once. */
  #claimAll(): void {
    for (let entry = 0; entry < this.#count; entry++) {
      const page = this.#page(entry)
      const claim = this.#installer.claim(page)
      if (claim === 'here-already') {
        throw new GodwitError('duplicate-page', `page ${page} came twice`, { side: 'source' })
      }
      this.#claimed[entry] = claim === 'claimed' ? 1 : 0
      if (claim === 'claimed') continue
      // R23: once each; a source that sends them for ever would be acknowledged for ever.
      if (++this.dropped > this.#memory.layout.pageCount) {
        throw new GodwitError('duplicate-page', `page ${page} was written here and came more than once`, {
          side: 'source',
        })
      }
    }
  }

  /** Goes to the next run of raw pages, placing zero pages on the way. True: there is none. */
  #nextRun(from: number): boolean {
    let entry = from
    for (; entry < this.#count && this.#isZero(entry); entry++) {
      if (this.#claimed[entry] === 0) continue
      this.#options.kernels.zeroRun(this.#page(entry), 1)
      this.#settle(entry, 1)
    }
    if (entry === this.#count) return true
    this.#first = entry
    this.#settled = 0
    const [page, claimed] = [this.#page(entry), this.#claimed[entry]]
    let pages = 1
    for (; entry + pages < this.#count; pages++) {
      const next = entry + pages
      if (this.#isZero(next) || this.#claimed[next] !== claimed || this.#page(next) !== page + pages) break
    }
    this.#pages = pages
    this.#expect('run', pages * PAGE_BYTES)
    return false
  }

  #settleRun(): void {
    const complete = Math.floor(this.#filled / PAGE_BYTES)
    const fresh = complete - this.#settled
    if (fresh === 0) return
    if (this.#claimed[this.#first] === 1) this.#settle(this.#first + this.#settled, fresh)
    this.#settled = complete
  }

  /** R10: pages whose seal holds are installed; the others are asked for again. */
  #settle(firstEntry: number, count: number): void {
    const { kernels, onSpoilt, onLast } = this.#options
    const { hashes } = this.#memory.layout
    const end = firstEntry + count
    for (let entry = firstEntry; entry < end; ) {
      const good = kernels.unseal(this.#table + entry * PULL_ENTRY_BYTES, end - entry, hashes, this.#digest)
      for (const stop = entry + good; entry < stop; entry++) {
        this.installed++
        if (this.#installer.install(this.#page(entry))) onLast()
      }
      if (entry === end) return
      this.#installer.spoil(this.#page(entry))
      onSpoilt(this.#page(entry))
      entry++
    }
  }
}
