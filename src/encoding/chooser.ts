// The adaptive chooser: which codec for which class of pages, from what codecs and link have shown so far. It minimises
// the time to completion of one channel, which encodes and sends at the same time: max(time to encode, bytes / link).
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
const WORTH_IT = 0.92
/** A class of a smaller share than this is not decided about. */
const RARE = 1 / 4096
/** Until measured, a codec is taken to be this slow, ms a page, and to halve it. */
const PRIOR_MS = 0.008
const PRIOR_BYTES = PAGE_BYTES / 2
/** Copying a page and finding its class, ms, until measured. */
const PRIOR_LOOK_MS = 0.002

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
  chosen: Candidate | null
}

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
  #unheard = 0
  #outlook: Outlook = { on: false, bytes: PAGE_BYTES, ms: 0, link: null }

  /** `codecs`: wire ids to choose from, for pages of `classes` classes. */
  constructor(classes: number, codecs: readonly number[]) {
    const candidates = (): Candidate[] =>
      codecs.map((codec) => ({ codec, bytes: new Mean(PRIOR_BYTES), ms: new MeanTime(PRIOR_MS) }))
    this.#classes = Array.from({ length: classes }, () => ({
      share: new Mean(1 / classes),
      candidates: candidates(),
      chosen: null,
    }))
  }

  /**
   * The link took `bytes` in `ms`. `unheard`: the thread never waited, so `ms` is only the least it can have taken. Raw pages
   * that nobody waits for tell of a fast link. Encoded ones may just be slow to come, so they let it seem faster bit by
   * bit, until pages go raw and tell.
   */
  noteLink(bytes: number, ms: number, unheard = false): void {
    if (unheard && this.#outlook.on && ++this.#unheard % UNHEARD_EVERY !== 0) return
    this.#link.note(bytes, ms)
  }

  /** A codec made `bytes` of a page of that class, or PAGE_BYTES if it did not shrink, in `ms`. */
  note(pageClass: number, codec: number, bytes: number, ms: number): void {
    const found = this.#classes[pageClass]?.candidates.find((candidate) => candidate.codec === codec)
    found?.bytes.add(bytes)
    found?.ms.add(ms)
  }

  /** Of `pages` pages looked at, `counts[c]` were of class c; copying and classifying took `ms`. */
  noteClasses(counts: Uint32Array, pages: number, ms: number): void {
    if (pages === 0) return
    for (const [index, { share }] of this.#classes.entries()) share.add((counts[index] as number) / pages)
    this.#look.add(ms / pages)
  }

  /** The codec for pages of that class: a wire id, raw's for none. */
  codecOf(pageClass: number): number {
    return this.#classes[pageClass]?.chosen?.codec ?? raw.id
  }

  /** Whether every codec was tried on a class that occurs. */
  knows(pageClass: number): boolean {
    return this.#classes[pageClass]?.candidates.every(({ ms }) => ms.samples > 0) ?? true
  }

  get outlook(): Outlook {
    return this.#outlook
  }

  /** Chooses anew from the measurements so far. */
  decide(): Outlook {
    for (const one of this.#classes) one.chosen = null
    const perByte = this.#link.msPerByte
    if (perByte === null) {
      this.#outlook = { on: false, bytes: PAGE_BYTES, ms: 0, link: null }
      return this.#outlook
    }
    let [bytes, ms] = [PAGE_BYTES + ENTRY_BYTES, this.#look.value]
    const plainMs = PAGE_BYTES * perByte
    for (let better = true; better; ) {
      better = false
      let best: { one: PageClass; candidate: Candidate; bytes: number; ms: number } | null = null
      let bestMs = Math.max(ms, bytes * perByte)
      for (const one of this.#classes) {
        if (one.share.value < RARE) continue
        for (const candidate of one.candidates) {
          const change = one.share.value
          const nextBytes = bytes + change * (candidate.bytes.value - (one.chosen?.bytes.value ?? PAGE_BYTES))
          const nextMs = ms + change * (candidate.ms.value - (one.chosen?.ms.value ?? 0))
          const completion = Math.max(nextMs, nextBytes * perByte)
          if (completion >= bestMs) continue
          bestMs = completion
          best = { one, candidate, bytes: nextBytes, ms: nextMs }
        }
      }
      if (best === null) break
      best.one.chosen = best.candidate
      ;({ bytes, ms } = best)
      better = true
    }
    const on = Math.max(ms, bytes * perByte) < WORTH_IT * plainMs
    this.#outlook = { on, bytes, ms, link: 1000 / Math.max(perByte, 1e-12) }
    return this.#outlook
  }
}
