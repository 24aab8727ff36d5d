// Gives pages that nobody writes any more, in GIVE and RUNS frames, and enters them in the ledger (R11, last step; R25). Part
// of the core of the exchange, as pure as that.

import { BATCH_PAGES, MAX_RUNS } from '../../limits.ts'
import { createGiveTable, HOW } from '../../wire/exchange-frames.ts'
import type { Ledger } from './ledger.ts'
import { pagesOf } from './page-runs.ts'
import type { ExchangeHost, ExchangeLink, ExchangePages } from './sides.ts'

export interface GiverOptions {
  readonly pages: ExchangePages
  readonly link: ExchangeLink
  readonly host: ExchangeHost
  readonly ledger: Ledger
}

/** Used anew for every frame: a link has read it when it returns. */
const table = createGiveTable()

export class Giver {
  readonly #pages: ExchangePages
  readonly #link: ExchangeLink
  readonly #host: ExchangeHost
  readonly #ledger: Ledger

  constructor({ pages, link, host, ledger }: GiverOptions) {
    this.#pages = pages
    this.#link = link
    this.#host = host
    this.#ledger = ledger
  }

  /** Pages in ascending order, each with its seal, and with its data unless the peer has it. Returns the bytes. */
  give(list: readonly number[], cause: 'asked' | 'pushed'): number {
    let bytes = 0
    for (let from = 0; from < list.length; from += BATCH_PAGES) {
      const count = Math.min(BATCH_PAGES, list.length - from)
      const withData = new Uint8Array(count)
      table.number = this.#ledger.nextNumber
      table.count = count
      let [data, again] = [0, 0]
      for (let index = 0; index < count; index++) {
        const page = list[from + index] as number
        const stale = this.#pages.isStale(page)
        withData[index] = stale ? 1 : 0
        if (stale) data++
        if (stale && !this.#pages.takeOfSwitch(page)) again++
        table.pages[index] = page
        table.how[index] = stale ? HOW.raw : HOW.same
        table.homes[index] = this.#pages.homeOf(page)
        table.generations[index] = this.#nextGeneration(page)
      }
      this.#pages.seal(table)
      bytes += this.#link.give(table)
      this.#ledger.sent({ kind: 'pages', pages: table.pages.slice(0, count), withData, closesPush: false })
      this.#host.count(cause, data)
      this.#host.count('again', again)
      this.#host.count('withoutData', count - data)
    }
    return bytes
  }

  /** Pages in ascending order of which the peer has good copies: runs that are alike in generation and home. */
  giveWithoutData(list: readonly number[]): number {
    let bytes = 0
    const runs: number[] = []
    for (const page of list) {
      const [generation, home] = [this.#nextGeneration(page), this.#pages.homeOf(page)]
      const last = runs.length - 4
      const follows = last >= 0 && (runs[last] as number) + (runs[last + 1] as number) === page
      if (follows && runs[last + 2] === generation && runs[last + 3] === home) {
        runs[last + 1] = (runs[last + 1] as number) + 1
        continue
      }
      if (runs.length === 4 * MAX_RUNS) {
        bytes += this.#sendRuns(new Uint32Array(runs))
        runs.length = 0
      }
      runs.push(page, 1, generation, home)
    }
    return runs.length === 0 ? bytes : bytes + this.#sendRuns(new Uint32Array(runs))
  }

  /** Pages that nobody asked for, in ascending order. Returns the bytes. */
  push(list: readonly number[]): number {
    const stale: number[] = []
    const clean: number[] = []
    for (const page of list) (this.#pages.isStale(page) ? stale : clean).push(page)
    const bytes = this.giveWithoutData(clean) + this.give(stale, 'pushed')
    if (bytes > 0) this.#ledger.closePush()
    return bytes
  }

  /** What crosses with a vCPU: spans of one home. */
  giveSpans(spans: Uint32Array, home: number): void {
    const runs = this.#pages.raise(spans, home)
    for (let at = 0; at < runs.length; at += 4 * MAX_RUNS) this.#sendRuns(runs.slice(at, at + 4 * MAX_RUNS))
  }

  #sendRuns(runs: Uint32Array): number {
    const bytes = this.#link.runs({ number: this.#ledger.nextNumber, sum: this.#pages.sumOf(runs), runs })
    this.#ledger.sent({ kind: 'runs', runs, closesPush: false })
    this.#host.count('withoutData', pagesOf(runs))
    return bytes
  }

  #nextGeneration(page: number): number {
    const generation = this.#pages.generationOf(page) + 1
    this.#pages.setGeneration(page, generation)
    return generation
  }
}
