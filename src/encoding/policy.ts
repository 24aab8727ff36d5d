// Which codec a page gets: the policies behind `--encode`. `adaptive` asks the chooser; the name of a codec forces it on
// every page that is not zero; `fallback` tries WKdm and then LZ4.

import { CONTENT_CLASS, CONTENT_CLASSES } from '../kernels/classify.ts'
import { PAGE_BYTES } from '../limits.ts'
import { formatRate } from '../quantities.ts'
import { Chooser, WORTH_IT } from './chooser.ts'
import { fill } from './fill.ts'
import { lz4 } from './lz4.ts'
import { pattern } from './pattern.ts'
import { raw } from './raw.ts'
import { encodingById } from './registry.ts'

export interface EncodePolicy {
  /** Codecs to measure on a few pages of the next batch before `encodes` is asked, wire ids; none: nothing to learn. */
  toSample(): readonly number[]
  /** Whether the next batch is to be encoded; false: it travels straight from the guest. */
  encodes(): boolean
  /** The codec for the next page of that class, a wire id; raw's for none. */
  codecOf(pageClass: number): number
  /** The largest result, bytes, with which that codec is kept. */
  limitOf(codec: number): number
  /** What a page gets for which that codec came out larger, a wire id. */
  insteadOf(codec: number): number
  /** That codec made `bytes` of the page (PAGE_BYTES: it did not shrink) in `ms`. */
  note(pageClass: number, codec: number, bytes: number, ms: number): void
  /** Of `pages` pages looked at, `counts[c]` were of class c; looking took `ms`. */
  noteClasses(counts: Uint32Array, pages: number, ms: number): void
  /** The socket took `bytes` in `ms`; in no less, if that went `unheard` because the thread was busy when it ended. */
  noteLink(bytes: number, ms: number, unheard?: boolean): void
  /** The thread itself spent `ms` on handing `bytes` over to the socket. */
  noteCopying(bytes: number, ms: number): void
  /** What it has come to, in one line; null: it had nothing to decide. */
  verdict(): string | null
}

/** One codec for every page; wire id of raw: none but references and deltas. */
export class ForcedPolicy implements EncodePolicy {
  readonly #codec: number

  constructor(codec: number) {
    this.#codec = codec
  }

  toSample(): readonly number[] {
    return []
  }

  encodes(): boolean {
    return true
  }

  codecOf(_pageClass: number): number {
    return this.#codec
  }

  limitOf(_codec: number): number {
    return PAGE_BYTES - 1
  }

  insteadOf(_codec: number): number {
    return raw.id
  }

  note(): void {}
  noteClasses(): void {}
  noteLink(): void {}
  noteCopying(): void {}

  verdict(): null {
    return null
  }
}

/** WKdm first, and LZ4 if that leaves more than half: the hybrid that ships in a common desktop system. */
export class FallbackPolicy extends ForcedPolicy {
  constructor() {
    super(pattern.id)
  }

  override codecOf(pageClass: number): number {
    return pageClass === CONTENT_CLASS.uniform ? fill.id : pattern.id
  }

  override limitOf(codec: number): number {
    return codec === pattern.id ? PAGE_BYTES / 2 : PAGE_BYTES - 1
  }

  override insteadOf(codec: number): number {
    return codec === pattern.id ? lz4.id : raw.id
  }
}

/** While encoding does not pay, so many batches pass between two looks at a few pages. */
const SAMPLE_EVERY = 24
/** One page of so many of its class tries another codec. */
const EXPLORE_EVERY = 128
/** While encoding does not pay, and after so many batches, one in so many is decided about: a decision takes 50 µs. */
const DECIDE_EVERY = 8
/** So many writes at first say nothing about the link: code runs for the first time and nobody has touched the pages. */
const COLD_WRITES = 3

export class AdaptivePolicy implements EncodePolicy {
  readonly #codecs: readonly number[]
  readonly #chooser: Chooser
  readonly #seen = new Uint32Array(CONTENT_CLASSES)
  #batch = 0
  #writes = 0

  /** `codecs`: wire ids to choose from. `bytesPerSecond`: a limit set on this channel; null: none. */
  constructor(codecs: readonly number[], bytesPerSecond: number | null) {
    this.#codecs = codecs
    this.#chooser = new Chooser(CONTENT_CLASSES, codecs)
    if (bytesPerSecond !== null) this.#chooser.noteLink(bytesPerSecond, 1000)
  }

  toSample(): readonly number[] {
    const due = this.#batch === 0 || (!this.#chooser.outlook.on && this.#batch % SAMPLE_EVERY === 0)
    this.#batch++
    return due ? this.#codecs : []
  }

  encodes(): boolean {
    const { on } = this.#chooser.outlook
    if (!on && this.#batch > DECIDE_EVERY && this.#batch % DECIDE_EVERY !== 1) return false
    return this.#chooser.decide().on
  }

  codecOf(pageClass: number): number {
    const seen = (this.#seen[pageClass] as number) + 1
    this.#seen[pageClass] = seen
    if (!this.#chooser.knows(pageClass)) return this.#codecs[seen % this.#codecs.length] as number
    if (seen % EXPLORE_EVERY !== 0) return this.#chooser.codecOf(pageClass)
    return this.#codecs[(seen / EXPLORE_EVERY) % this.#codecs.length] as number
  }

  limitOf(): number {
    return PAGE_BYTES - 1
  }

  insteadOf(): number {
    return raw.id
  }

  note(pageClass: number, codec: number, bytes: number, ms: number): void {
    this.#chooser.note(pageClass, codec, bytes, ms)
  }

  noteClasses(counts: Uint32Array, pages: number, ms: number): void {
    this.#chooser.noteClasses(counts, pages, ms)
  }

  noteLink(bytes: number, ms: number, unheard = false): void {
    if (++this.#writes <= COLD_WRITES) return
    this.#chooser.noteLink(bytes, ms, unheard)
  }

  noteCopying(bytes: number, ms: number): void {
    if (this.#writes > COLD_WRITES) this.#chooser.noteCopying(bytes, ms)
  }

  verdict(): string | null {
    const { on, bytes, ms, link } = this.#chooser.decide()
    if (link === null) return 'compression off: the link is not known yet'
    // Every page was zero, there already or like another: what is known of codecs are guesses.
    if (!this.#chooser.begun) return null
    if (!on) return `compression off: ${this.#reasonAgainst(link)}`
    const names = new Set<string>()
    for (let one = 0; one < CONTENT_CLASSES; one++) names.add(encodingById(this.#chooser.codecOf(one)).name)
    names.delete('raw')
    return `compression on: ${[...names].join(', ')}; ${percentOf(bytes)} at ${rateOf(ms)}, link ${formatRate(link)}`
  }

  #reasonAgainst(link: number): string {
    const { bytes, ms } = this.#chooser.smallest
    if (bytes > WORTH_IT * PAGE_BYTES) return `these pages shrink to ${percentOf(bytes)} only`
    return `link ${formatRate(link)} ${PAGE_BYTES / ms < link / 1000 ? '>' : '≈'} codecs ${rateOf(ms)}`
  }
}

const percentOf = (bytes: number): string => `${Math.round((100 * bytes) / PAGE_BYTES)} % of raw`
/** Speed of what takes `ms` a page. */
const rateOf = (ms: number): string => formatRate(PAGE_BYTES / Math.max(ms / 1000, 1e-9))
