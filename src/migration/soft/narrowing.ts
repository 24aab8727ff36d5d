// Rounds for one vCPU alone, before it crosses: of the pages that it used last those that the destination has not or no more,
// while every vCPU runs wherever it is. One vCPU dirties less than all of them, so this converges where the rounds of
// phase 1 did not, and little is left to be asked for behind the crossing. Ordinary rounds on the data channels, without
// references; a page that is under way in one is not given before the round is placed.

import { GodwitError } from '../../errors.ts'
import { addPage, clearAll, countBits, hasPage, isNamed, pageFrom, returnPage, takePage } from '../../guest/page-set.ts'
import { generationsOf, homesOf, isOurs, presenceOf, staleAtSwitch } from '../../guest/sharing.ts'
import { ROUND_PLACED_MS } from '../../limits.ts'
import { harvest } from '../precopy.ts'
import type { SourceContext } from '../source-context.ts'

/** Fewer are asked for or pushed behind the crossing: about what a link moves in the time of one round trip. */
const ENOUGH_PAGES = 16
const MAX_ROUNDS = 12
/** A round that leaves more than this share of the one before pays no more. */
const WORTH = 0.8

export class Narrowing {
  /** Pages of rounds that were placed, and how many of them had been sent since the switch, or were not stale then. */
  readonly placed = { pages: 0, again: 0 }
  readonly #context: SourceContext
  #round: number
  /** Pages under way, one bit each, and when they are placed; null: no round is. */
  #underWay: { readonly pages: Uint8Array; readonly placed: Promise<unknown> } | null = null
  #over = false
  /** Pages of a round that was cut off: bytes of it may still be on their way, and overtake what is given on the same link. */
  #adrift: Uint8Array | null = null
  /** The free map as the destination has it (R17); null: no page is free. */
  toldFree: Uint8Array | null = null
  /** Rejects when there are to be no more rounds; a round whose channels are gone neither ends nor fails. */
  readonly #ended = Promise.withResolvers<never>()

  /** `round`: index of the next round on the data channels. */
  constructor(context: SourceContext, round: number) {
    this.#context = context
    this.#round = round
    this.#ended.promise.catch(() => {})
  }

  /** No more rounds: the data channels are gone, or nobody is to cross any more. What was under way is stale again. */
  end(): void {
    this.#over = true
    this.#ended.reject(new GodwitError('cancelled', 'no more rounds'))
  }

  /**
   * Resolves when no page that was taken away is under way: when a round begins, all its pages are here. Rejects when some are and
   * nobody can say for how long: until `renewed`.
   */
  async settled(): Promise<void> {
    const underWay = this.#underWay
    if (underWay !== null && this.#someTaken(underWay.pages)) await underWay.placed
    if (this.#adrift === null || !this.#someTaken(this.#adrift)) return
    throw new GodwitError('link-lost', 'a round with pages that are to be given was cut off')
  }

  #someTaken(pages: Uint8Array): boolean {
    const presence = presenceOf(this.#context.memory)
    for (let page = pageFrom(pages, 0); page !== -1; page = pageFrom(pages, page + 1)) {
      if (!isOurs(presence[page] as number)) return true
    }
    return false
  }

  /** A later link is up: the destination has closed the channels of the one before it, and reads nothing more of that. */
  renewed(): void {
    this.#adrift = null
  }

  /** Sends ahead what the vCPU would miss. */
  async narrow(vcpu: number): Promise<void> {
    let before = Number.POSITIVE_INFINITY
    for (let turn = 0; turn < MAX_ROUNDS && !this.#over; turn++) {
      // Who cannot be harvested now is given with data later.
      const harvested = await harvest(this.#context).catch(() => null)
      if (harvested === null || this.#over) return
      const pages = this.#select(vcpu)
      if (pages <= ENOUGH_PAGES || pages > WORTH * before) return this.#putBack()
      before = pages
      await this.#send(pages)
    }
  }

  /**
   * Moves the stale pages of this vCPU from `dirty` to `toSend`. Rounds carry no free bits: a page that was freed or used again
   * since the switch is given with its bit later, and one that has moved since has had its bit from there.
   */
  #select(vcpu: number): number {
    const { memory } = this.#context
    const { dirty, toSend, pageCount } = memory.layout
    const [homes, presence, generations] = [homesOf(memory), presenceOf(memory), generationsOf(memory)]
    const free = memory.controlBytes.subarray(memory.layout.free, memory.layout.free + pageCount)
    const home = vcpu + 1
    for (let page = homes.indexOf(home); page !== -1; page = homes.indexOf(home, page + 1)) {
      if (!hasPage(memory, dirty, page) || !isOurs(presence[page] as number)) continue
      const told = this.toldFree !== null && isNamed(this.toldFree, page)
      if (generations[page] !== 1 || (free[page] !== 0) !== told) continue
      takePage(memory, dirty, page)
      addPage(memory, toSend, page)
      if (page + 1 >= pageCount) break
    }
    return countBits(memory, toSend)
  }

  async #send(pages: number): Promise<void> {
    const context = this.#context
    const { memory, hashing: hash, clock, report } = context
    const { toSend, pageCount } = memory.layout
    const round = this.#round++
    const selected = memory.controlBytes.slice(toSend, toSend + pageCount / 8)
    const startedAt = clock.now()
    const placed = context.placed(round)
    // Also when nobody waits for the round any more, it is under way until it is placed or its channels are gone.
    const done = placed.then(
      () => this.#count(selected),
      () => {
        this.#adrift = selected
        this.#lost(selected)
      },
    )
    this.#underWay = { pages: selected, placed: done }
    done.then(() => {
      this.#underWay = null
    })
    const over = new AbortController()
    try {
      const order = { round, skip: false, hash, refer: false, copy: false, final: false }
      const sending = context.pages.sendRound(order)
      sending.catch(() => {})
      const sent = await Promise.race([sending, context.pages.failed, this.#ended.promise])
      await Promise.race([placed, this.#ended.promise, this.#tooLong(over.signal)])
      const ms = Math.max(clock.now() - startedAt, 0.001)
      const row = { index: round, dirty: pages, sent: sent.sent, skipped: sent.skipped, bytes: sent.bytes, ms }
      const bytesPerSecond = (sent.bytes / ms) * 1000
      report.round({ ...row, dirtyPagesPerSecond: 0, bytesPerSecond, decision: 'narrow' }, sent)
    } catch {
      // The link is gone, or so it must be now: only the next one ends what was under way. What comes instead is the exchange's business.
      if (!this.#over) context.control.close()
      this.#over = true
      this.#lost(selected)
    } finally {
      over.abort(new GodwitError('cancelled', 'over'))
    }
  }

  #count(selected: Uint8Array): void {
    const { memory } = this.#context
    const named = staleAtSwitch(memory.layout)
    for (let page = pageFrom(selected, 0); page !== -1; page = pageFrom(selected, page + 1)) {
      this.placed.pages++
      if (!takePage(memory, named, page)) this.placed.again++
    }
  }

  /** Rejects when a round that has left here ought to be placed by now: whoever reads it waits for what never comes. */
  async #tooLong(signal: AbortSignal): Promise<never> {
    await this.#context.clock.sleep(ROUND_PLACED_MS, signal)
    throw new GodwitError('peer-silent', 'a round is not placed', { side: 'destination' })
  }

  #lost(selected: Uint8Array): void {
    const { memory } = this.#context
    const { dirty, toSend } = memory.layout
    for (let page = pageFrom(selected, 0); page !== -1; page = pageFrom(selected, page + 1))
      returnPage(memory, dirty, page)
    clearAll(memory, toSend)
  }

  #putBack(): void {
    const { memory } = this.#context
    const { toSend, pageCount } = memory.layout
    this.#lost(memory.controlBytes.slice(toSend, toSend + pageCount / 8))
  }
}
