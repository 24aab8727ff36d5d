// The destination behind the switch of post-copy and hybrid: the guest runs while its pages come. The lanes install pages
// and ask for those that vCPUs need; this publishes what has come (R8), brings the link up again after a cut (R23), and
// says when the last page is in, whatever the link does then.
//
//   pulling ──link lost──► paused: close every lane, reset, redial with back-off ──lanes, missing──► pulling
//      └──last page──► whole

import { GodwitError } from '../errors.ts'
import type { Progress } from '../events.ts'
import { faultsOf, resetAsks } from '../guest/asks.ts'
import { beginAbsent, missingPages, resetAfterCut, writtenPages } from '../guest/installing.ts'
import { HEADER } from '../guest/layout.ts'
import { PUBLISH_INTERVAL_MS, REDIAL_FIRST_MS, REDIAL_MAX_MS, relinkMs } from '../limits.ts'
import type { MessageOf } from '../wire/messages.ts'
import type { DestinationWorld } from './destination-session.ts'
import { forgetNamed } from './freeze.ts'
import { Inbox } from './inbox.ts'
import type { ControlLink, PageDestination } from './ports.ts'
import { pagesDigest } from './proof.ts'
import { Publisher } from './publisher.ts'

/** Before PREPARED: the pages that are not there, or stale, are absent, and take no part in the digest (R22). */
export function beginPulling({ memory, kernels, vcpus, copy }: DestinationWorld, state: MessageOf<'state'>): void {
  // R22: of a stale copy nothing but what the source has compared with is known to be right.
  if (copy !== null) throw new GodwitError('unexpected-message', 'a pull into a stale copy', { side: 'source' })
  const { pageCount } = memory.layout
  const { absent } = state
  if (absent !== null && absent.length !== pageCount / 8) {
    throw new GodwitError('bad-message', `a bitmap of ${absent.length * 8} pages for a guest of ${pageCount}`)
  }
  forgetNamed(memory, kernels, absent)
  beginAbsent(memory, absent, state.free !== null)
  resetAsks(memory)
  vcpus.setPulling(true)
  Atomics.store(memory.controlWords, HEADER.pulling, 1)
}

/**
 * What runs inside the pause has run once before, with nothing to lose: its first run takes ten times as long. The memory
 * it writes to is resident then, too.
 */
export function warmPulling(world: DestinationWorld): void {
  const { memory, kernels, vcpus } = world
  beginAbsent(memory, null)
  resetAsks(memory)
  forgetNamed(memory, kernels, new Uint8Array(memory.layout.pageCount / 8))
  vcpus.setPulling(false)
  Atomics.store(memory.controlWords, HEADER.pulling, 0)
}

/** What the puller needs of its session. */
export interface PullerLinks {
  readonly control: ControlLink | null
  readonly inbox: Inbox | null
  readonly pages: PageDestination | null
  /** Takes a new link into use; `pages` null: its lanes are not there yet. */
  use(control: ControlLink, inbox: Inbox, pages: PageDestination | null): void
}

/** How a pull ended. */
export type Pulled = 'whole' | 'lost' | 'closed'

export class Puller {
  /** Why the pull is paused; null while the link is up. */
  paused: string | null = null
  readonly #world: DestinationWorld
  readonly #links: PullerLinks
  readonly #publisher: Publisher
  readonly #closed = new AbortController()
  #dropped = 0
  #via: string | null = null
  /** Dials since the operator's last word or the link's last life. */
  #dials = 0
  /** Operators who wait for what comes of the next dial. */
  readonly #askers: (() => void)[] = []
  #redialNow: () => void = () => {}
  /** Corrupt pages, again and again: only an operator starts the link once more. */
  #awaitsOperator = false

  constructor(world: DestinationWorld, links: PullerLinks) {
    this.#world = world
    this.#links = links
    this.#publisher = new Publisher(world)
  }

  get missing(): number {
    return Atomics.load(this.#world.memory.controlWords, HEADER.missing)
  }

  /**
   * Dials the source now, at another host if `via` is given; later dials try that and the address it gave by turns.
   * Resolves when the first dial has come to something, or takes too long.
   */
  async recover(via: string | null): Promise<void> {
    this.#via = via ?? this.#via
    this.#dials = 0
    this.#awaitsOperator = false
    if (this.paused === null) return
    const over = new AbortController()
    const late = this.#world.clock.sleep(relinkMs(0), over.signal).catch(() => {})
    const dialled = new Promise<void>((resolve) => this.#askers.push(resolve))
    this.#redialNow()
    await Promise.race([dialled, late])
    over.abort(new GodwitError('cancelled', 'over'))
  }

  #tell(askers: (() => void)[]): void {
    for (const tell of askers) tell()
  }

  close(): void {
    this.#closed.abort(new GodwitError('cancelled', 'the session was closed'))
    this.#redialNow()
  }

  /**
   * Pulls until every page is here. `sayActive` tells a source that may not have heard it (after a redial). `up`: the
   * lanes of the first link may still be there; else a later link is in use, and the source opens lanes for it.
   */
  async run(sayActive: () => void, up: boolean): Promise<Pulled> {
    let kept = up ? null : this.#links.control
    if (this.#links.inbox !== null) this.#hearRefusal(this.#links.inbox)
    for (;;) {
      try {
        if (kept !== null) throw new GodwitError('link-lost', 'the link was lost at the switch')
        await this.#whileUp()
        return await this.#finish()
      } catch (thrown) {
        if (this.#closed.signal.aborted) return 'closed'
        if (this.#saysNotReleased(thrown)) return await this.#lose()
        const ended = await this.#recover(GodwitError.from(thrown, 'link-lost'), sayActive, kept)
        this.#tell(this.#askers.splice(0))
        kept = null
        if (ended !== null) return ended
      }
    }
  }

  /** The source's word that it runs the guest again, on the link in force. */
  #refused: Promise<never> = new Promise(() => {})

  #hearRefusal(inbox: Inbox): void {
    this.#refused = inbox.next('not-released').then(() => {
      throw new GodwitError('cancelled', NOT_RELEASED, { side: 'source' })
    })
    this.#refused.catch(() => {})
  }

  /** Nothing comes any more: the link is given up. */
  async #lose(): Promise<Pulled> {
    this.#links.control?.close()
    await this.#dropPages()
    return 'lost'
  }

  /** What the destination says at the end. */
  completion(): Omit<MessageOf<'complete'>, 'type' | 'epoch'> {
    const { memory } = this.#world
    const dropped = this.#dropped + (this.#links.pages?.dropped ?? 0)
    return { ...this.#completion, dropped, faults: faultsOf(memory), shared: null }
  }

  #completion: { digest: string | null; written: Uint8Array | null } = { digest: null, written: null }

  /** Live figures of the pull, for whoever looks at this host. */
  progress(): Progress {
    const { memory } = this.#world
    const { pageCount } = memory.layout
    const missing = this.missing
    return {
      stage: 'pull',
      round: 0,
      workDone: pageCount - missing,
      cleanPages: pageCount - missing,
      totalPages: pageCount,
      bytesSent: 0,
      bytesPerSecond: 0,
      dirtyPagesPerSecond: 0,
      predictedDowntimeMs: null,
      trend: 'unknown',
      etaMs: null,
      missingPages: missing,
      faults: faultsOf(memory).reduce((sum, { network }) => sum + network, 0),
      reason: this.paused === null ? `${missing} pages to come` : `paused: ${this.paused}`,
    }
  }

  async #whileUp(): Promise<void> {
    const { pages, inbox } = this.#links
    // The guest may have written the last pages itself while there was no link.
    if (this.missing === 0) return
    if (pages === null || inbox === null) throw new GodwitError('link-lost', 'the link is not up')
    const ended = inbox.ended.then((error) => Promise.reject(error))
    const over = new AbortController()
    const published = this.#publishUntilWhole(over.signal)
    for (const promise of [ended, published]) promise.catch(() => {})
    try {
      await Promise.race([published, pages.pulled, pages.failed, ended, this.#refused])
    } catch (thrown) {
      // The destination is complete when its last page is in, whatever happens to the link.
      if (this.missing > 0) throw thrown
    } finally {
      over.abort(new GodwitError('cancelled', 'over'))
    }
  }

  /** R8: a page that was placed before a handshake may be loaded without a fence after it. Ends when none is missing. */
  async #publishUntilWhole(signal: AbortSignal): Promise<void> {
    const { clock } = this.#world
    while (this.missing > 0) {
      await clock.sleep(PUBLISH_INTERVAL_MS, AbortSignal.any([signal, this.#closed.signal]))
      await this.#publisher.publish()
    }
  }

  /**
   * All pages are here: vCPUs go back to accessors without the test. The lanes stay until the source has heard it, for
   * their end would look like a cut; they hash nothing any more.
   */
  async #finish(): Promise<Pulled> {
    const { memory } = this.#world
    const digest = pagesDigest(memory)
    this.#completion = { digest, written: writtenPages(memory) }
    await this.#publisher.finish()
    return 'whole'
  }

  async #dropPages(): Promise<void> {
    const { control, inbox, pages } = this.#links
    if (control === null || inbox === null || pages === null) return
    await pages.close()
    this.#dropped += pages.dropped
    this.#links.use(control, inbox, null)
  }

  /** R23. Null: the link is up again. */
  async #recover(error: GodwitError, sayActive: () => void, first: ControlLink | null): Promise<Pulled | null> {
    const { memory, clock } = this.#world
    let kept = first
    this.paused = error.message
    this.#awaitsOperator = error.code === 'bad-page'
    if (kept === null) this.#links.control?.close()
    await this.#dropPages()
    resetAfterCut(memory)
    let wait = REDIAL_FIRST_MS
    for (let attempt = 0; !this.#closed.signal.aborted; attempt++) {
      if (this.missing === 0) return null
      const verdict = this.#awaitsOperator || kept !== null ? 'unknown' : await this.#world.askPeerAgent()
      if (verdict === 'lost' || verdict === 'not-released') return await this.#lose()
      const askers = this.#askers.length
      try {
        if (!this.#awaitsOperator) {
          await this.#bringUp(sayActive, kept, relinkMs(attempt))
          this.paused = null
          this.#dials = 0
          return null
        }
      } catch (thrown) {
        if (this.#saysNotReleased(thrown)) return await this.#lose()
        kept = null
        this.paused = GodwitError.from(thrown).message
        this.#links.control?.close()
        await this.#dropPages()
        resetAfterCut(memory)
      }
      this.#tell(this.#askers.splice(0, askers))
      await this.#wait(clock, wait)
      wait = Math.min(wait * 2, REDIAL_MAX_MS)
    }
    return 'closed'
  }

  async #bringUp(sayActive: () => void, kept: ControlLink | null, withinMs: number): Promise<void> {
    const world = this.#world
    const via = this.#dials++ % 2 === 0 ? this.#via : null
    const control = kept ?? (await world.redial(via))
    const inbox = (kept === null ? null : this.#links.inbox) ?? new Inbox(control, 'source')
    this.#links.use(control, inbox, null)
    if (kept === null) {
      this.#hearRefusal(inbox)
      sayActive()
    }
    const over = new AbortController()
    const late = world.clock.sleep(withinMs, AbortSignal.any([over.signal, this.#closed.signal])).then(() => {
      throw new GodwitError('peer-silent', 'the source does not open its lanes')
    })
    late.catch(() => {})
    try {
      const { generation } = await Promise.race([inbox.next('lanes'), this.#refused, late])
      const pages = await world.dialLanes(generation, via)
      this.#links.use(control, inbox, pages)
      control.send({ type: 'missing', generation, pages: missingPages(world.memory) })
    } finally {
      over.abort(new GodwitError('cancelled', 'over'))
    }
  }

  async #wait(clock: DestinationWorld['clock'], ms: number): Promise<void> {
    // Somebody asked while the last dial was under way.
    if (this.#askers.length > 0) return
    const now = new AbortController()
    this.#redialNow = () => now.abort(new GodwitError('cancelled', 'redial now'))
    await clock.sleep(this.#awaitsOperator ? REDIAL_MAX_MS : ms, now.signal).catch(() => {})
    this.#redialNow = () => {}
  }

  #saysNotReleased(thrown: unknown): boolean {
    return thrown instanceof GodwitError && thrown.message === NOT_RELEASED
  }
}

const NOT_RELEASED = 'the source runs the guest again: its operator took it back'
