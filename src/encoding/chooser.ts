// The adaptive chooser: which codec for which class of pages, from what codecs and link have shown so far. It minimises
// the time to completion of one channel, whose thread encodes pages and hands them to the kernel while the link carries
// those before: max(time to encode + bytes to hand over, bytes / link). On a loopback the two are near each other.
// Starting from raw it takes the one change that shortens that time most, again and again, until none does; so a slow
// link gets the smallest form of every class, a fast one gets raw. Pure; no page, no clock. MECOM (CLUSTER 2009) chooses
// by class alone; measuring both codec and link is ours (techniques.md §3).

import { PAGE_BYTES } from '../limits.ts'
import { LinkEstimate } from './link-estimate.ts'
import { raw } from './raw.ts'

/** What a page weighs besides its payload: its run's entry. */
const ENTRY_BYTES = 16
/** Weight of a new measurement against those before it. */
const FRESH = 1 / 16
const OUTLIER = 2
/** While pages are encoded one in so many writes counts whose end went unheard. */
const UNHEARD_EVERY = 8
/** Encoding must promise to be this much faster than plain sending to be switched on, or it would flutter. */
export const WORTH_IT = 0.92
/** A class of a smaller share than this is not decided about. */
const RARE = 1 / 4096
/** A change that gains less than this share is none: rounding must not keep the search going. */
const LEAST_GAIN = 1e-9
/** Until measured, a codec is taken to be this slow, ms a page, and to halve it. */
const PRIOR_MS = 0.008
const PRIOR_BYTES = PAGE_BYTES / 2
/** Copying a page and finding its class, ms, until measured. */
const PRIOR_LOOK_MS = 0.002

/** A codec's mean is relied on after so many pages. */
const SETTLED = 16
/** Weight of a batch's slowdown against those before it, and the most that one batch may tell. */
const FRESH_SLOWDOWN = 1 / 8
const MOST_SLOWDOWN = 16

/** A page that takes longer was not measured, and a link is between 1 byte and 1 TB a second. */
const MOST_MS = 1000
const MOST_MS_PER_BYTE = 1000
const LEAST_MS_PER_BYTE = 1e-9

/** The value, or the nearer bound; whatever is no number is the upper one: a mean must never become NaN. */
const within = (value: number, least: number, most: number): number =>
  value >= least && value <= most ? value : value < least ? least : most

const isWrite = (bytes: number): boolean => bytes >= 1 && Number.isFinite(bytes)

/** A running mean that takes its first value as it is. */
class Mean {
  samples = 0
  value: number

  constructor(prior: number) {
    this.value = prior
  }

  add(value: number): void {
    this.value += (value - this.value) * (this.samples === 0 ? 1 : FRESH)
    this.samples++
  }
}

/**
 * A running mean of times. A thread that was interrupted, or runs a codec for the first time, measures a hundredfold; one
 * such value would keep the codec from being tried again. So a value counts at most OUTLIER times the mean.
 */
class MeanTime extends Mean {
  override add(ms: number): void {
    this.value += (Math.min(ms, this.value * OUTLIER) - this.value) * FRESH
    this.samples++
  }
}

interface Candidate {
  readonly codec: number
  readonly bytes: Mean
  readonly ms: Mean
}

interface PageClass {
  /** Share of the pages that are not zero. */
  readonly share: Mean
  readonly candidates: readonly Candidate[]
  /** The candidates, and null for raw. */
  readonly options: readonly (Candidate | null)[]
  chosen: Candidate | null
}

const bytesOf = (candidate: Candidate | null): number => candidate?.bytes.value ?? PAGE_BYTES
const msOf = (candidate: Candidate | null): number => candidate?.ms.value ?? 0

/** What `decide` came to, per page that is not zero. */
export interface Outlook {
  readonly on: boolean
  /** Bytes and encoding time, ms, with the codecs chosen. */
  readonly bytes: number
  readonly ms: number
  /** Bytes per second; null: nothing was sent yet and no limit is known. */
  readonly link: number | null
}

export class Chooser {
  readonly #classes: readonly PageClass[]
  readonly #look = new MeanTime(PRIOR_LOOK_MS)
  readonly #link = new LinkEstimate()
  readonly #copying = new LinkEstimate()
  #unheard = 0
  /** Since the last decision: what pages took, and what they would have by their codecs' means, ms. */
  #took = 0
  #expected = 0
  /** How much longer encoding takes than the means say: they leave out what others have of this thread's processor. */
  #slowdown = 1
  #outlook: Outlook = { on: false, bytes: PAGE_BYTES, ms: 0, link: null }

  /** `codecs`: wire ids to choose from, for pages of `classes` classes. */
  constructor(classes: number, codecs: readonly number[]) {
    this.#classes = Array.from({ length: classes }, () => {
      const candidates = codecs.map((codec) => ({
        codec,
        bytes: new Mean(PRIOR_BYTES),
        ms: new MeanTime(PRIOR_MS),
      }))
      return { share: new Mean(1 / classes), candidates, options: [null, ...candidates], chosen: null }
    })
  }

  /**
   * The link took `bytes` in `ms`. `unheard`: the thread never waited, so `ms` is only the least it can have taken. Raw pages
   * that nobody waits for tell of a fast link. Encoded ones may just be slow to come, so they let it seem faster bit by
   * bit, until pages go raw and tell.
   */
  noteLink(bytes: number, ms: number, unheard = false): void {
    if (!isWrite(bytes)) return
    if (unheard && this.#outlook.on && ++this.#unheard % UNHEARD_EVERY !== 0) return
    this.#link.note(bytes, within(ms, LEAST_MS_PER_BYTE * bytes, MOST_MS_PER_BYTE * bytes))
  }

  /** The thread itself spent `ms` on handing `bytes` over to the kernel. */
  noteCopying(bytes: number, ms: number): void {
    if (isWrite(bytes)) this.#copying.note(bytes, within(ms, 0, MOST_MS_PER_BYTE * bytes))
  }

  /** A codec made `bytes` of a page of that class, or PAGE_BYTES if it did not shrink, in `ms`. */
  note(pageClass: number, codec: number, bytes: number, ms: number): void {
    const found = this.#classes[pageClass]?.candidates.find((candidate) => candidate.codec === codec)
    if (found === undefined) return
    const took = within(ms, 0, MOST_MS)
    if (found.ms.samples >= SETTLED) {
      this.#took += took
      this.#expected += found.ms.value
    }
    found.bytes.add(within(bytes, 0, PAGE_BYTES))
    found.ms.add(took)
  }

  /** Of `pages` pages looked at, `counts[c]` were of class c; copying and classifying took `ms`. */
  noteClasses(counts: Uint32Array, pages: number, ms: number): void {
    if (pages === 0) return
    for (const [index, { share }] of this.#classes.entries()) share.add((counts[index] as number) / pages)
    this.#look.add(within(ms / pages, 0, MOST_MS))
  }

  /** The codec for pages of that class: a wire id, raw's for none. */
  codecOf(pageClass: number): number {
    return this.#classes[pageClass]?.chosen?.codec ?? raw.id
  }

  /** Whether any codec was tried on any page. */
  get begun(): boolean {
    return this.#classes.some(({ candidates }) => candidates.some(({ ms }) => ms.samples > 0))
  }

  /** Whether every codec was tried on a class that occurs. */
  knows(pageClass: number): boolean {
    return this.#classes[pageClass]?.candidates.every(({ ms }) => ms.samples > 0) ?? true
  }

  get outlook(): Outlook {
    return this.#outlook
  }

  /** What a page that is not zero would come to if every class had its smallest form, whatever the link: bytes and ms. */
  get smallest(): { readonly bytes: number; readonly ms: number } {
    let [bytes, ms] = [0, this.#look.value * this.#slowdown]
    for (const { share, options } of this.#classes) {
      const least = options.reduce((best, one) => (bytesOf(one) < bytesOf(best) ? one : best))
      bytes += share.value * bytesOf(least)
      ms += share.value * msOf(least) * this.#slowdown
    }
    return { bytes, ms }
  }

  /** Chooses anew from the measurements so far. */
  decide(): Outlook {
    this.#weighSlowdown()
    for (const one of this.#classes) one.chosen = null
    const perByte = this.#link.msPerByte
    if (perByte === null) {
      this.#outlook = { on: false, bytes: PAGE_BYTES, ms: 0, link: null }
      return this.#outlook
    }
    let [bytes, ms] = [PAGE_BYTES + ENTRY_BYTES, this.#look.value * this.#slowdown]
    const copying = this.#copying.msPerByte ?? 0
    const completion = (pageMs: number, pageBytes: number): number =>
      Math.max(pageMs + pageBytes * copying, pageBytes * perByte)
    const plainMs = completion(0, PAGE_BYTES)
    for (;;) {
      let best: { one: PageClass; candidate: Candidate | null; bytes: number; ms: number } | null = null
      let bestMs = completion(ms, bytes)
      for (const one of this.#classes) {
        if (one.share.value < RARE) continue
        for (const candidate of one.options) {
          const change = one.share.value
          const nextBytes = bytes + change * (bytesOf(candidate) - bytesOf(one.chosen))
          const nextMs = ms + change * (msOf(candidate) - msOf(one.chosen)) * this.#slowdown
          const next = completion(nextMs, nextBytes)
          if (!(next < bestMs * (1 - LEAST_GAIN))) continue
          bestMs = next
          best = { one, candidate, bytes: nextBytes, ms: nextMs }
        }
      }
      if (best === null) break
      best.one.chosen = best.candidate
      ;({ bytes, ms } = best)
    }
    const on = completion(ms, bytes) < WORTH_IT * plainMs
    this.#outlook = { on, bytes, ms, link: 1000 / perByte }
    return this.#outlook
  }

  /** A thread that others keep from running loses whole time slices: few pages show it, the sum over a batch does. */
  #weighSlowdown(): void {
    if (this.#expected <= 0) return
    const ratio = within(this.#took / this.#expected, 1, MOST_SLOWDOWN)
    this.#slowdown += (ratio - this.#slowdown) * FRESH_SLOWDOWN
    this.#took = 0
    this.#expected = 0
  }
}
