// The destination's end of a data channel as a pure push machine: `next` says where the coming bytes belong, `advance`
// that they are there. Raw pages land in guest memory without a copy, or in staging when runs are short. It knows no
// socket; used by the destination's transfer threads and by the simulation.
//
//   header ─PAGES─► table ──► payload (direct, staged or coded) ─► header
//      │                                          └── 'fetch': pages of other guests are wanted, and placed by the caller
//      └─PULL─────► pull-reader.ts ─► header, and `advance` answers 'pulled'
//      └─ROUND_END─► header, and `advance` answers 'round-end'
//      └─CONTROL──► control ─► header, and `advance` throws the peer's abort

import type { ReferenceSession } from '../encoding/encoding.ts'
import { FrameDecoder } from '../encoding/frame-decoder.ts'
import { raw } from '../encoding/raw.ts'
import { createRunTable, directPays, listRunPages, type RunTable } from '../encoding/runs.ts'
import { WantedPages } from '../encoding/shared.ts'
import { zero } from '../encoding/zero.ts'
import { assert, GodwitError } from '../errors.ts'
import { CODEC_AREA, HEADER, THREAD_BLOCK } from '../guest/layout.ts'
import type { GuestMemory } from '../guest/memory.ts'
import type { Kernels } from '../kernels/kernels.ts'
import { createReferenceKernel, type ReferenceKernel } from '../kernels/reference.ts'
import { BATCH_PAGES, PAGE_BYTES, READ_BYTES, STAGING_BYTES } from '../limits.ts'
import { decodeChannel } from './channel-codec.ts'
import { checkOf, decodeHeader, FRAME_HEADER_BYTES, FRAME_TYPE, type FrameHeader, requireCheck } from './frame.ts'
import { decodeRuns, decodeTableHead, RUN_BYTES, TABLE_HEAD_BYTES } from './page-frame.ts'
import { PullReader } from './pull-reader.ts'

/** Control frames on a data channel are a welcome or an abort; both are small. */
export const CHANNEL_CONTROL_BYTES = 8192
/** Pages are hashed in portions of at least this many, while they are still in the cache. */
const HASH_PAGES = 16

export interface StreamReaderOptions {
  readonly memory: GuestMemory
  readonly kernels: Kernels
  /** Index of the channel: its thread block and staging area are used. */
  readonly channel: number
  /** Keep page hashes and this channel's part of the digest (R15). */
  readonly hash: boolean
  /** The round that begins the stream; later ones count up from it. */
  readonly firstRound?: number
  /** The source must answer the hello with a welcome before anything else. */
  readonly awaitWelcome?: boolean
  /** The urgent lane: it takes no part in rounds. */
  readonly urgent?: boolean
  /** Without it the stream may not hold references. */
  readonly session?: Omit<ReferenceSession, 'wanted'>
  /** All pages of a frame of that round are placed, but for those that have to be fetched. */
  readonly onPlaced?: (table: RunTable, round: number) => void
  /** Pull phase: a page came with a wrong hash; the last missing page is in. */
  readonly onSpoilt?: (page: number) => void
  readonly onLast?: () => void
}

type State = 'header' | 'table' | 'direct' | 'staged' | 'coded' | 'control' | 'pull' | 'failed'
/**
 * What `advance` reports: a round has ended on this channel, a pull frame is complete, or pages of other guests have to be
 * fetched before the stream is read on.
 */
export type Reached = 'more' | 'round-end' | 'pulled' | 'fetch'

export class StreamReader {
  /** The round whose pages are expected; one more after each ROUND_END. */
  round: number
  /** Whether pages may come: the source's welcome was read, or none is awaited. */
  welcomed: boolean
  /** Bytes of the page frames begun so far, headers included. */
  pageFrameBytes = 0
  readonly pull: PullReader
  /** What the last frame wants of other guests. */
  readonly wanted: WantedPages
  /** Where copies of their pages are read, 4,096 bytes each, before they are placed. */
  readonly copies: Uint8Array
  readonly #memory: GuestMemory
  readonly #kernels: Kernels
  readonly #hash: boolean
  readonly #urgent: boolean
  readonly #digest: number
  readonly #list: number
  readonly #classes: number
  readonly #staging: number
  readonly #onPlaced: (table: RunTable, round: number) => void
  readonly #table: RunTable = createRunTable(BATCH_PAGES)
  readonly #decoder: FrameDecoder
  readonly #area: number
  readonly #session: Omit<ReferenceSession, 'wanted'> | undefined
  #references: ReferenceKernel | null = null
  readonly #header: FrameHeader = { type: FRAME_TYPE.roundEnd, length: 0, round: 0, check: 0 }
  readonly #scratch = new Uint8Array(TABLE_HEAD_BYTES + BATCH_PAGES * RUN_BYTES)
  #state: State = 'header'
  /** Bytes of the present header, table, run or staged payload: there, and wanted. */
  #filled = 0
  #wanted = FRAME_HEADER_BYTES
  #control: Uint8Array = new Uint8Array(0)
  #run = 0
  /** Pages of the present run (direct) or frame (staged) that are placed and hashed. */
  #settled = 0

  constructor(options: StreamReaderOptions) {
    const { layout } = options.memory
    const block = layout.threadBlocks + options.channel * THREAD_BLOCK.bytes
    this.round = options.firstRound ?? 0
    this.welcomed = options.awaitWelcome !== true
    this.#memory = options.memory
    this.#kernels = options.kernels
    this.#hash = options.hash
    this.#urgent = options.urgent === true
    this.#onPlaced = options.onPlaced ?? (() => {})
    this.#digest = block + THREAD_BLOCK.digest
    this.#list = block + THREAD_BLOCK.list
    this.#classes = block + THREAD_BLOCK.classes
    this.#staging = layout.staging + options.channel * STAGING_BYTES
    const { memory, kernels, channel, session, onSpoilt = () => {}, onLast = () => {} } = options
    const area = layout.codecs + channel * CODEC_AREA.bytes
    this.#area = area
    this.#session = session
    this.copies = memory.controlBytes.subarray(area + CODEC_AREA.copies, area + CODEC_AREA.group)
    this.wanted = new WantedPages(() => Atomics.load(memory.controlWords, HEADER.foreignPages))
    const wanting = session && { session: { ...session, wanted: this.wanted } }
    this.#decoder = new FrameDecoder({ memory, kernels, area, ...wanting })
    this.pull = new PullReader({ memory, kernels, channel, onSpoilt, onLast })
  }

  /** Whether the stream stands between two frames: an end of the connection cuts none. */
  get betweenFrames(): boolean {
    return this.#state === 'header' && this.#filled === 0
  }

  /** Where the next bytes must go: never empty, at most READ_BYTES. */
  next(): Uint8Array {
    const from = this.#filled
    const to = Math.min(this.#wanted, from + READ_BYTES)
    switch (this.#state) {
      case 'direct': {
        const start = (this.#table.firstPage[this.#run] as number) * PAGE_BYTES
        return this.#memory.bytes.subarray(start + from, start + to)
      }
      case 'staged':
      case 'coded':
        return this.#memory.controlBytes.subarray(this.#staging + from, this.#staging + to)
      case 'control':
        return this.#control.subarray(from, to)
      case 'pull':
        return this.pull.next()
      case 'failed':
        return this.#scratch
      default:
        return this.#scratch.subarray(from, to)
    }
  }

  /**
   * Tells that `size` bytes were written where `next` said. 'pulled': a pull frame is complete. 'round-end': the round `this.round - 1` is complete on this
   * channel and its pages are placed. Throws a named error when the stream breaks a rule, and for ever after.
   */
  advance(size: number): Reached {
    assert(this.#state !== 'failed', 'a stream that failed was read on')
    assert(this.wanted.count === 0, 'a stream that waits for pages was read on')
    try {
      if (this.#state === 'pull') return this.#onPull(size)
      assert(size >= 0 && size <= Math.min(READ_BYTES, this.#wanted - this.#filled), 'more bytes than asked for')
      this.#filled += size
      return this.#step()
    } catch (thrown) {
      this.#state = 'failed'
      throw thrown
    }
  }

  /**
   * After 'fetch': entry `index` of what is wanted is at `copy` of the copies, or nowhere (null). R13: the copy is hashed, then
   * placed; R15: then the guest page is hashed. Otherwise the page is missing.
   */
  placeWanted(index: number, copy: number | null): void {
    const [page, record] = [this.wanted.page[index] as number, this.wanted.record[index] as number]
    const session = this.#session as ReferenceSession
    this.#references ??= createReferenceKernel(this.#memory, session.seed)
    const at = this.#area + CODEC_AREA.copies + (copy ?? 0) * PAGE_BYTES
    if (copy === null || this.#references.placeCopy(record, page, at) === 0) session.missing(page)
    else if (this.#hash) this.#kernels.hashRun(page, 1, this.#memory.layout.hashes, this.#digest)
  }

  /** After 'fetch': every entry was placed, or is missing; the stream may be read on. */
  endWanted(): void {
    this.wanted.count = 0
  }

  #onPull(size: number): Reached {
    if (!this.pull.advance(size)) return 'more'
    this.#expect('header', FRAME_HEADER_BYTES)
    return 'pulled'
  }

  /** R9: unclaimed pages are placed in rounds only, and every round ends before the switch. */
  #requireRounds(): void {
    if (this.#urgent || Atomics.load(this.#memory.controlWords, HEADER.pulling) !== 0) {
      throw new GodwitError('unexpected-message', 'pages of a round on the urgent lane or after the switch')
    }
  }

  #step(): Reached {
    switch (this.#state) {
      case 'direct':
        this.#requireRounds()
        this.#settleDirect()
        return 'more'
      case 'staged':
        this.#requireRounds()
        this.#settleStaged()
        return 'more'
      case 'coded':
        this.#requireRounds()
        this.#settleCoded()
        return this.wanted.count === 0 ? 'more' : 'fetch'
      default:
    }
    if (this.#filled < this.#wanted) return 'more'
    if (this.#state === 'header') return this.#onHeader()
    if (this.#state === 'table') this.#onTable()
    else this.#onControl()
    return 'more'
  }

  #expect(state: State, wanted: number): void {
    this.#state = state
    this.#filled = 0
    this.#wanted = wanted
  }

  #endFrame(): void {
    this.#onPlaced(this.#table, this.round)
    this.#expect('header', FRAME_HEADER_BYTES)
  }

  #onHeader(): Reached {
    decodeHeader(this.#scratch, 0, this.#header)
    const { type, length, round } = this.#header
    if (type === FRAME_TYPE.control) {
      if (length === 0) throw new GodwitError('bad-message', 'an empty control message')
      if (length > CHANNEL_CONTROL_BYTES) throw new GodwitError('frame-too-long', `${length} bytes of control message`)
      this.#control = new Uint8Array(length)
      this.#expect('control', length)
      return 'more'
    }
    if (!this.welcomed) throw new GodwitError('unexpected-message', 'page data before the welcome')
    if (type === FRAME_TYPE.pull) {
      if (Atomics.load(this.#memory.controlWords, HEADER.pulling) === 0) {
        throw new GodwitError('unexpected-message', 'pages of the pull phase before the switch')
      }
      this.pageFrameBytes += FRAME_HEADER_BYTES + length
      this.#expect('pull', 0)
      this.pull.begin(this.#header)
      return 'more'
    }
    if (type !== FRAME_TYPE.pages && type !== FRAME_TYPE.roundEnd) {
      throw new GodwitError('unexpected-message', `a frame of type ${type} towards the destination`)
    }
    this.#requireRounds()
    // R12: rounds follow each other, and a round that has ended gets no more pages.
    if (round !== this.round) throw new GodwitError('bad-round', `a frame of round ${round} in round ${this.round}`)
    if (type === FRAME_TYPE.roundEnd) {
      this.round++
      this.#expect('header', FRAME_HEADER_BYTES)
      return 'round-end'
    }
    if (length < TABLE_HEAD_BYTES + RUN_BYTES) throw new GodwitError('bad-frame', `a page frame of ${length} bytes`)
    this.pageFrameBytes += FRAME_HEADER_BYTES + length
    // Head and first run come in one read: every page frame has them.
    this.#expect('table', TABLE_HEAD_BYTES + RUN_BYTES)
    return 'more'
  }

  #onTable(): void {
    const { length } = this.#header
    this.#requireRounds()
    const runs = decodeTableHead(this.#scratch, length)
    const tableBytes = TABLE_HEAD_BYTES + runs * RUN_BYTES
    if (this.#filled < tableBytes) {
      this.#wanted = tableBytes
      return
    }
    decodeRuns(this.#scratch, runs, length, this.#memory.layout.pageCount, this.#table)
    this.#settled = 0
    this.#run = -1
    if (this.#table.codedPages > 0) {
      this.#expect('coded', this.#table.totalPayloadBytes)
      return
    }
    if (this.#table.rawPages === 0 || directPays(this.#table)) {
      this.#nextDirect()
      return
    }
    this.#placeZeroRuns()
    listRunPages(this.#table, raw.id, this.#memory, this.#list)
    this.#expect('staged', this.#table.totalPayloadBytes)
  }

  /** Goes to the next run that has a payload, placing zero runs on the way. */
  #nextDirect(): void {
    this.#settled = 0
    for (;;) {
      this.#run++
      if (this.#run >= this.#table.length) {
        this.#endFrame()
        return
      }
      if (this.#table.encoding[this.#run] === raw.id) {
        this.#expect('direct', this.#table.payloadBytes[this.#run] as number)
        return
      }
      this.#placeZero(this.#run)
    }
  }

  #placeZeroRuns(): void {
    for (let run = 0; run < this.#table.length; run++) {
      if (this.#table.encoding[run] === zero.id) this.#placeZero(run)
    }
  }

  #placeZero(run: number): void {
    const [firstPage, count] = [this.#table.firstPage[run] as number, this.#table.count[run] as number]
    this.#kernels.zeroRun(firstPage, count)
    if (this.#hash) this.#kernels.hashRun(firstPage, count, this.#memory.layout.hashes, this.#digest)
  }

  #settleDirect(): void {
    const complete = Math.floor(this.#filled / PAGE_BYTES)
    const fresh = complete - this.#settled
    const over = this.#filled === this.#wanted
    if (fresh >= HASH_PAGES || over) {
      // R15: hashes are taken from the guest page after placement.
      const firstPage = (this.#table.firstPage[this.#run] as number) + this.#settled
      if (this.#hash) this.#kernels.hashRun(firstPage, fresh, this.#memory.layout.hashes, this.#digest)
      this.#settled = complete
    }
    if (over) this.#nextDirect()
  }

  #settleStaged(): void {
    const complete = Math.floor(this.#filled / PAGE_BYTES)
    const fresh = complete - this.#settled
    const over = this.#filled === this.#wanted
    if (fresh >= HASH_PAGES || over) {
      const list = this.#list + this.#settled * 4
      this.#kernels.scatter(list, fresh, this.#staging + this.#settled * PAGE_BYTES)
      const { hashes } = this.#memory.layout
      if (this.#hash) this.#kernels.scan(list, fresh, this.#classes, hashes, this.#digest, 1)
      this.#settled = complete
    }
    if (over) this.#endFrame()
  }

  /** A frame with pages that must be decoded is decoded as a whole, run by run, once it is there. */
  #settleCoded(): void {
    if (this.#filled < this.#wanted) return
    this.#decoder.decode(this.#table, this.#staging, this.#hash ? this.#digest : null)
    this.#endFrame()
  }

  /** The source says welcome once, and later at most why it gives up. */
  #onControl(): void {
    requireCheck(this.#header, checkOf(this.#header.type, this.#control))
    const message = decodeChannel(this.#control)
    this.#expect('header', FRAME_HEADER_BYTES)
    if (message.type === 'welcome' && !this.welcomed) {
      this.welcomed = true
      return
    }
    if (message.type === 'abort') throw GodwitError.from(message.error, 'bad-message')
    throw new GodwitError('unexpected-message', `'${message.type}' on a data channel`)
  }
}
