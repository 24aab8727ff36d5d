// The link while both hosts run parts of a guest: watched, and brought up again after a cut, as often as it takes (R23, R25).
// Meanwhile vCPUs run on with what they have. What each side then does in its turn is not this file's business.
//
//   up ──exchange or control fails──► down: drop both, a control link, lanes, exchange ──► up

import { GodwitError } from '../../errors.ts'
import { LAST_WORD_MS, REDIAL_FIRST_MS, REDIAL_MAX_MS } from '../../limits.ts'
import type { Inbox } from '../inbox.ts'
import type { Clock, PageExchange } from '../ports.ts'

/** A control link that is up; the exchange is to follow. */
export interface Link {
  readonly inbox: Inbox
  readonly generation: number
}

export interface SharedLinkOptions {
  readonly exchange: PageExchange
  readonly clock: Clock
  /** Closes what is left of the old link. */
  readonly drop: () => Promise<void>
  /** A new control link, its messages, and the generation of the link; rejects when there is none within a second or two. */
  readonly dial: (signal: AbortSignal) => Promise<Link>
  /** The host to dial for the exchange; null: it is awaited. */
  readonly host: () => string | null
  /** While there is no link: rejects when it is known that there never will be one. */
  readonly ask: () => Promise<void>
  /** Pages or vCPUs may still move: without an exchange there is no link, and one that is broken is the end. */
  readonly needsExchange: () => boolean
  /** A link is up, the first or a later one: says again what the other side may have missed. */
  readonly onUp: (inbox: Inbox) => void
}

export class SharedLink {
  /** Why it is down; null while it is up. */
  paused: string | null = null
  recoveries = 0
  readonly #options: SharedLinkOptions
  readonly #over = new AbortController()
  readonly #failed = Promise.withResolvers<never>()
  #cut: (error: GodwitError) => void = () => {}
  #up = Promise.withResolvers<void>()
  #isUp = false

  constructor(options: SharedLinkOptions) {
    this.#options = options
    this.#failed.promise.catch(() => {})
    options.exchange.onCut((error) => this.#cut(error))
  }

  /** Rejects when no link will ever come up again; never resolves. */
  get failed(): Promise<never> {
    return this.#failed.promise
  }

  close(): void {
    const over = new GodwitError('cancelled', 'over')
    this.#over.abort(over)
    this.#cut(over)
  }

  /** Resolves as soon as the link is up. */
  up(): Promise<void> {
    return this.#up.promise
  }

  /** Keeps the link up from here on: `inbox` is that of the control link in force. */
  start(inbox: Inbox, generation: number): void {
    this.#keep(inbox, generation).catch((thrown) => {
      if (!this.#over.signal.aborted) this.#failed.reject(thrown)
    })
  }

  async #keep(first: Inbox, firstGeneration: number): Promise<never> {
    let next: Link | null = { inbox: first, generation: firstGeneration }
    let wait = REDIAL_FIRST_MS
    for (;;) {
      // A cut may come as soon as the link is up.
      const cut = this.#nextCut()
      let link: Link | null = next
      next = null
      try {
        link ??= await this.#dial()
        await this.#bringUp(link)
        wait = REDIAL_FIRST_MS
        await Promise.race([cut, link.inbox.ended.then((error) => Promise.reject(error))])
      } catch (thrown) {
        this.#over.signal.throwIfAborted()
        if (this.#isUp) this.#up = Promise.withResolvers()
        this.#isUp = false
        const word = await this.#lastWord(link)
        this.#over.signal.throwIfAborted()
        const error = word ?? GodwitError.from(thrown, 'link-lost')
        const broken = error.code === 'exchange-broken'
        // The other side's part can run no more, or nothing comes from there any more.
        const isOver = error.code === 'guest-crashed' || (broken && (word !== null || this.#options.needsExchange()))
        if (isOver) throw error
        if (broken) {
          // The control link is as good as before.
          next = link
          continue
        }
        this.paused = error.message
        await this.#options.drop()
        await this.#options.ask()
        await this.#options.clock.sleep(wait, this.#over.signal)
        wait = Math.min(2 * wait, REDIAL_MAX_MS)
      }
    }
  }

  async #dial(): Promise<Link> {
    const dialled = await this.#options.dial(this.#over.signal)
    this.recoveries++
    return dialled
  }

  async #bringUp({ inbox, generation }: Link): Promise<void> {
    const { exchange, host, needsExchange, onUp } = this.#options
    const gone = new AbortController()
    inbox.ended.then((error) => gone.abort(error))
    await exchange.link(generation, host(), AbortSignal.any([this.#over.signal, gone.signal])).catch((thrown) => {
      if (needsExchange() || GodwitError.from(thrown).code !== 'exchange-broken') throw thrown
    })
    this.paused = null
    onUp(inbox)
    this.#isUp = true
    this.#up.resolve()
  }

  /** Why the other side ended the link, which it says on the control link, while the exchange ends by itself. */
  async #lastWord(link: Link | null): Promise<GodwitError | null> {
    const over = new AbortController()
    const late = this.#options.clock.sleep(LAST_WORD_MS, over.signal).catch(() => {})
    const word = await Promise.race([link?.inbox.ended, late])
    over.abort(new GodwitError('cancelled', 'over'))
    return word ?? null
  }

  #nextCut(): Promise<never> {
    const { promise, reject } = Promise.withResolvers<never>()
    promise.catch(() => {})
    this.#cut = reject
    if (this.#over.signal.aborted) reject(this.#over.signal.reason)
    return promise
  }
}
