// A batch of pages → run table and payload, for every way of encoding that looks at pages one by one. Zero pages are known
// from the scan; all others are copied (R13), classified, and given a way to travel; what does not shrink travels raw,
// from its copy. Used by the source's transfer threads; no socket, no waiting.
//
//   look     pages ─ copies ─ classes ─ sent before? a delta or reference : policy → a codec each
//   encode   copies ─ codec → payload, run table             lz4: up to GROUP_PAGES pages to one block

import { CODEC_AREA } from '../guest/layout.ts'
import type { GuestMemory } from '../guest/memory.ts'
import { type Classifier, CONTENT_CLASS, CONTENT_CLASSES } from '../kernels/classify.ts'
import { type Kernels, PAGE_CLASS } from '../kernels/kernels.ts'
import { REFERENCE_BYTES } from '../kernels/reference.ts'
import { BATCH_PAGES, GROUP_PAGES, PAGE_BYTES } from '../limits.ts'
import type { Codecs } from './codecs.ts'
import { dedup } from './dedup.ts'
import { delta } from './delta.ts'
import type { Deltas } from './deltas.ts'
import type { ForeignIndex } from './foreign-index.ts'
import { lz4 } from './lz4.ts'
import type { EncodePolicy } from './policy.ts'
import { raw } from './raw.ts'
import type { References } from './references.ts'
import { appendPage, clearRuns, type RunTable } from './runs.ts'
import { shared } from './shared.ts'
import { zero } from './zero.ts'

export interface BatchEncoderOptions {
  readonly memory: GuestMemory
  readonly kernels: Kernels
  /** Byte offset of the lane's CODEC_AREA. */
  readonly area: number
  readonly codecs: Codecs
  readonly classify: Classifier
  readonly policy: EncodePolicy
  /** Pages sent before, to refer to; null: none is. */
  readonly references: References | null
  /** Versions sent before, to compare with; null: none is. */
  readonly deltas: Deltas | null
}

/** A batch that `select` and `scan` have prepared: lists are byte offsets into the control memory. */
export interface BatchInput {
  readonly list: number
  readonly classes: number
  readonly count: number
  readonly round: number
  /** Pages may rely on what was sent before. */
  readonly rely: boolean
  /** The page hashes of this batch are in the table, and references may be made. */
  readonly refer: boolean
}

/** Told of each page: its encoding, its share of the payload in bytes, and what it took in ms. */
export type PageNote = (id: number, bytes: number, ms: number) => void

/** Pages of a batch that are measured, evenly spread over it. */
const SAMPLE_PAGES = 8

/** In place of a codec: the page is in a block that is written already. */
const IN_BLOCK = 0

export class BatchEncoder {
  readonly #options: BatchEncoderOptions
  readonly #copies: number
  readonly #words: Int32Array
  /** By index in the batch: content class, wire id of its encoding, and the page it refers to. */
  readonly #classOf = new Uint8Array(BATCH_PAGES)
  readonly #codecOf = new Uint8Array(BATCH_PAGES)
  readonly #originOf = new Uint32Array(BATCH_PAGES)
  /** Length of its delta, which has taken the place of its copy. */
  readonly #deltaBytes = new Uint16Array(BATCH_PAGES)
  readonly #classCounts = new Uint32Array(CONTENT_CLASSES)
  /** Indices of the pages of the block in hand. */
  readonly #group = new Uint16Array(GROUP_PAGES)
  /** Behind the last page of the latest block. */
  #blockEnd = 0
  // The batch in hand; kept here so that no object is made per page.
  #input: BatchInput = { list: 0, classes: 0, count: 0, round: 0, rely: false, refer: false }
  #table: RunTable | null = null
  #payload = 0
  #note: PageNote = () => {}
  #began = 0

  constructor(options: BatchEncoderOptions) {
    this.#options = options
    this.#copies = options.area + CODEC_AREA.copies
    this.#words = options.memory.controlWords
  }

  /**
   * Fills `table` and writes the payloads of its runs at `payload` of the control memory, in run order; there must be room
   * for all pages raw.
   */
  encode(table: RunTable, input: BatchInput, payload: number, note: PageNote): void {
    this.#input = input
    this.#table = table
    this.#payload = payload
    this.#note = note
    this.#look()
    clearRuns(table)
    this.#blockEnd = 0
    this.#began = performance.now()
    for (let index = 0; index < input.count; index++) this.#append(index)
    this.#remember()
  }

  /** Measures `codecs` on up to SAMPLE_PAGES pages of a batch; `scratch` is where their output goes, and is left. */
  sample({ list, classes, count }: BatchInput, codecs: readonly number[], scratch: number): void {
    const { memory, kernels, classify, policy, area } = this.#options
    const copy = area + CODEC_AREA.group
    const stride = Math.max(1, Math.floor(count / SAMPLE_PAGES))
    for (let index = 0; index < count; index += stride) {
      if (memory.controlBytes[classes + index] === PAGE_CLASS.zero) continue
      kernels.takeRun((this.#words[list / 4 + index] as number) >>> 0, 1, copy)
      const pageClass = classify(copy)
      for (const codec of codecs) {
        const began = performance.now()
        const bytes = this.#codeOne(codec, copy, scratch)
        policy.note(pageClass, codec, bytes < 0 ? PAGE_BYTES : bytes, performance.now() - began)
      }
    }
  }

  #codeOne(codec: number, copy: number, to: number): number {
    const { codecs, policy } = this.#options
    if (codec === lz4.id) return codecs.encodeGroup(1, to, PAGE_BYTES - 1)
    return codecs.encodePage(codec, copy, to, policy.limitOf(codec))
  }

  /** R13: the pages of this batch were sent live: no copy of them is what the destination holds. */
  forget({ list, count }: BatchInput): void {
    const { references, deltas } = this.#options
    for (let index = 0; index < count; index++) {
      const page = (this.#words[list / 4 + index] as number) >>> 0
      references?.index.forget(page)
      deltas?.forget(page)
    }
  }

  #pageOf(index: number): number {
    return (this.#words[this.#input.list / 4 + index] as number) >>> 0
  }

  /** Copies every page that is not zero, finds its class, and says how it is to travel. */
  #look(): void {
    const { memory, kernels, classify, policy } = this.#options
    const { classes, count } = this.#input
    this.#classCounts.fill(0)
    this.#began = performance.now()
    let pages = 0
    for (let index = 0; index < count; index++) {
      if (memory.controlBytes[classes + index] === PAGE_CLASS.zero) {
        this.#codecOf[index] = zero.id
        continue
      }
      const copy = this.#copies + index * PAGE_BYTES
      // R13: codecs see this copy, never the page that a vCPU may be writing.
      kernels.takeRun(this.#pageOf(index), 1, copy)
      const pageClass = classify(copy)
      this.#classOf[index] = pageClass
      this.#classCounts[pageClass] = (this.#classCounts[pageClass] as number) + 1
      pages++
      if (this.#tryDelta(index)) continue
      this.#codecOf[index] = this.#reference(index, pageClass) || policy.codecOf(pageClass)
    }
    policy.noteClasses(this.#classCounts, pages, this.#spent())
  }

  /**
   * Whether a delta can do. It takes the place of the copy, which is not needed any more: whether it is small enough must
   * be known before a block of lz4 goes on behind the page.
   */
  #tryDelta(index: number): boolean {
    const { references, deltas, memory, area } = this.#options
    const page = this.#pageOf(index)
    const { rely, refer, round } = this.#input
    if (deltas === null || !rely || !deltas.has(page)) return false
    const copy = this.#copies + index * PAGE_BYTES
    const scratch = area + CODEC_AREA.group
    const began = performance.now()
    const bytes = deltas.encodePage(page, copy, scratch, round)
    if (bytes < 0) return false
    memory.controlBytes.copyWithin(copy, scratch, scratch + bytes)
    this.#deltaBytes[index] = bytes
    this.#codecOf[index] = delta.id
    if (refer) references?.index.note(page, round)
    const ms = performance.now() - began
    // Not a part of what it takes to look at pages.
    this.#began += ms
    this.#note(delta.id, bytes, ms)
    return true
  }

  /**
   * The wire id of dedup, or of shared, if the destination holds a page of this content, or another guest there does; else
   * 0, and others may refer to this one.
   */
  #reference(index: number, pageClass: number): number {
    const { references } = this.#options
    const page = this.#pageOf(index)
    const { refer, round } = this.#input
    // One word says as much as a reference.
    if (references === null || !refer || pageClass === CONTENT_CLASS.uniform) return 0
    const origin = references.index.find(page, round)
    if (origin >= 0) {
      this.#originOf[index] = origin
      return dedup.id
    }
    // In the first round only: what is missing then is not referred to for ever.
    if (references.foreign !== null && round === 0 && this.#tryShared(index, references.foreign)) return shared.id
    // It will be in this frame, in front of the pages that may refer to it.
    references.index.note(page, round)
    return 0
  }

  /** Whether another guest at the destination holds the content. The reference takes the place of the copy. */
  #tryShared(index: number, foreign: ForeignIndex): boolean {
    const { memory, area, references } = this.#options
    const copy = this.#copies + index * PAGE_BYTES
    const record = area + CODEC_AREA.group
    // R13: the hash is of the copy.
    const bytes = (references as References).write(copy, 0, record)
    const page = foreign.find(this.#words[record / 4 + 1] as number, this.#words[record / 4 + 2] as number)
    if (page < 0) return false
    this.#words[record / 4] = page
    memory.controlBytes.copyWithin(copy, record, record + bytes)
    return true
  }

  #append(index: number): void {
    const codec = this.#codecOf[index] as number
    if (codec === zero.id) this.#added(index, zero.id, 0)
    else if (codec === IN_BLOCK) appendPage(this.#table as RunTable, this.#pageOf(index), lz4.id, 0)
    else if (codec === lz4.id) this.#appendBlock(index)
    else if (codec === dedup.id) this.#appendReference(index)
    else if (codec === shared.id) this.#appendShared(index)
    else if (codec === delta.id) this.#appendDelta(index)
    else this.#appendCoded(index, codec)
  }

  /** Where the next payload goes. */
  get #to(): number {
    return this.#payload + (this.#table as RunTable).totalPayloadBytes
  }

  /** Milliseconds since this was last read. */
  #spent(): number {
    const now = performance.now()
    const ms = now - this.#began
    this.#began = now
    return ms
  }

  /** The page's payload of `bytes` is written. */
  #added(index: number, id: number, bytes: number, ms = 0): void {
    appendPage(this.#table as RunTable, this.#pageOf(index), id, bytes)
    this.#note(id, bytes, ms)
  }

  #appendReference(index: number): void {
    const { references } = this.#options
    const from = this.#copies + index * PAGE_BYTES
    const bytes = (references as References).write(from, this.#originOf[index] as number, this.#to)
    this.#added(index, dedup.id, bytes, this.#spent())
  }

  #appendShared(index: number): void {
    const from = this.#copies + index * PAGE_BYTES
    this.#options.memory.controlBytes.copyWithin(this.#to, from, from + REFERENCE_BYTES)
    this.#added(index, shared.id, REFERENCE_BYTES, this.#spent())
  }

  #appendDelta(index: number): void {
    const from = this.#copies + index * PAGE_BYTES
    const bytes = this.#deltaBytes[index] as number
    this.#options.memory.controlBytes.copyWithin(this.#to, from, from + bytes)
    appendPage(this.#table as RunTable, this.#pageOf(index), delta.id, bytes)
  }

  /** One page by its codec; by what the policy names instead if it does not shrink enough. */
  #appendCoded(index: number, codec: number): void {
    const { policy, codecs } = this.#options
    if (codec === raw.id) return this.#appendRaw(index, 0)
    const from = this.#copies + index * PAGE_BYTES
    const bytes = codecs.encodePage(codec, from, this.#to, policy.limitOf(codec))
    const ms = this.#spent()
    policy.note(this.#classOf[index] as number, codec, bytes < 0 ? PAGE_BYTES : bytes, ms)
    if (bytes >= 0) return this.#added(index, codec, bytes, ms)
    // A block ends before the next one begins: within one there is raw alone.
    const instead = index < this.#blockEnd ? raw.id : policy.insteadOf(codec)
    this.#codecOf[index] = instead
    if (instead === lz4.id) this.#appendBlock(index)
    else this.#appendRaw(index, ms)
  }

  #appendRaw(index: number, ms: number): void {
    const from = this.#copies + index * PAGE_BYTES
    this.#options.memory.controlBytes.copyWithin(this.#to, from, from + PAGE_BYTES)
    this.#added(index, raw.id, PAGE_BYTES, ms + this.#spent())
  }

  /** One block of the page at `first` and of the lz4 pages behind it; raw, all of them, if it does not shrink. */
  #appendBlock(first: number): void {
    const { codecs, policy } = this.#options
    const pages = this.#gather(first)
    const bytes = codecs.encodeGroup(pages, this.#to, pages * PAGE_BYTES - 1)
    const ms = this.#spent() / pages
    const each = bytes >= 0 ? bytes / pages : PAGE_BYTES
    for (let member = 0; member < pages; member++) {
      const index = this.#group[member] as number
      policy.note(this.#classOf[index] as number, lz4.id, each, ms)
      this.#codecOf[index] = bytes >= 0 ? IN_BLOCK : raw.id
      if (bytes >= 0) this.#blockEnd = index + 1
      if (bytes >= 0) this.#note(lz4.id, each, ms)
    }
    if (bytes >= 0) appendPage(this.#table as RunTable, this.#pageOf(first), lz4.id, bytes, true)
    else this.#appendRaw(first, ms)
  }

  /**
   * Copies of the lz4 pages from `first` on → the group area; how many. Up to the first of another class: a block tells
   * what the codec makes of a class only if it holds no other.
   */
  #gather(first: number): number {
    const { memory, area } = this.#options
    let pages = 0
    for (let index = first; index < this.#input.count && pages < GROUP_PAGES; index++) {
      if (this.#codecOf[index] !== lz4.id) continue
      if (this.#classOf[index] !== this.#classOf[first]) break
      const from = this.#copies + index * PAGE_BYTES
      memory.controlBytes.copyWithin(area + CODEC_AREA.group + pages * PAGE_BYTES, from, from + PAGE_BYTES)
      this.#group[pages++] = index
    }
    return pages
  }

  /** R13: every copy that travels becomes the version sent; zeros and references leave none. */
  #remember(): void {
    const { references, deltas } = this.#options
    for (let index = 0; index < this.#input.count; index++) {
      const codec = this.#codecOf[index] as number
      const page = this.#pageOf(index)
      if (codec === zero.id || codec === dedup.id || codec === shared.id) {
        references?.index.forget(page)
        deltas?.forget(page)
      } else if (codec !== delta.id) {
        deltas?.put(page, this.#copies + index * PAGE_BYTES, this.#input.round)
      }
    }
  }
}
