// The destination of a soft migration from its commit on (R25–R29): takes what comes, answers what is asked, and ends when
// everything is here and on record, or, when the source brings it home, when nothing is. Driven by destination-session.ts.
//
//   taking ──retired by the source, or a cut when all is here──► whole
//   taking ──home──► giving back ──all given──► retired ──not-released──► empty

import { GodwitError } from '../../errors.ts'
import { faultsOf, resetAsks } from '../../guest/asks.ts'
import { clearAll } from '../../guest/page-set.ts'
import { beginSharing } from '../../guest/sharing.ts'
import { PEER_SILENT_MS, REDIAL_FIRST_MS, REDIAL_MAX_MS } from '../../limits.ts'
import { abortOf, type MessageOf } from '../../wire/messages.ts'
import type { DestinationWorld } from '../destination-context.ts'
import type { DestinationOwnership } from '../destination-ownership.ts'
import { forgetNamed } from '../freeze.ts'
import type { Inbox } from '../inbox.ts'
import type { ControlLink, PageExchange } from '../ports.ts'
import { Arrivals } from './arrivals.ts'
import { giveAll } from './crossing.ts'
import { type Link, SharedLink } from './shared-link.ts'

/** Before PREPARED: no page and no vCPU is ours; what came in rounds and is not stale counts for the digest (R27). */
export async function beginTaking(world: DestinationWorld, state: MessageOf<'state'>): Promise<void> {
  const { memory, kernels, vcpus } = world
  const { dirty, pageCount } = memory.layout
  if (world.copy !== null)
    throw new GodwitError('unexpected-message', 'a stale copy is to be shared', { side: 'source' })
  if (state.absent === null || state.absent.length !== pageCount / 8) {
    throw new GodwitError('bad-message', `stale pages of a guest of ${(state.absent?.length ?? 0) * 8} pages`)
  }
  clearAll(memory, dirty)
  forgetNamed(memory, kernels, state.absent)
  beginSharing(memory, false)
  resetAsks(memory)
  await vcpus.beginHeld()
}

/** What the sharing needs of its session. */
export interface SharingLinks {
  readonly inbox: Inbox
  readonly control: ControlLink
  /** Takes a link that was dialled anew; the session says on it what it is. */
  use(control: ControlLink): Inbox
  /** Closes control and data channels. */
  drop(): Promise<void>
}

export type Taken = 'whole' | 'empty' | 'lost' | 'closed'

export class DestinationSharing {
  readonly #world: DestinationWorld
  readonly #links: SharingLinks
  readonly #ownership: DestinationOwnership
  readonly #exchange: PageExchange
  readonly #link: SharedLink
  readonly #arrivals: Arrivals
  readonly #over = Promise.withResolvers<Taken>()
  /** Ends the waiting for what may still come. */
  readonly #waiting = new AbortController()
  /** The migration was cancelled: everything goes back. */
  #returning = false
  /** Whatever is still under way comes to nothing any more. */
  #ended = false
  /** Requests answered here while the source served, too. */
  #served = 0
  #retired = false
  /** Nothing is here, and nothing can come any more, for this reason: the exchange is broken. */
  #broken: GodwitError | null = null

  constructor(world: DestinationWorld, links: SharingLinks, ownership: DestinationOwnership, exchange: PageExchange) {
    this.#world = world
    this.#links = links
    this.#ownership = ownership
    this.#exchange = exchange
    exchange.broken.then((error) => this.#ended || this.#break(error))
    const { memory, vcpus, clock } = world
    this.#arrivals = new Arrivals({ memory, vcpus, clock, exchange, onArrived: (here) => this.#arrived(here) }, [])
    this.#link = new SharedLink({
      exchange,
      clock,
      host: () => world.sourceHost,
      drop: () => links.drop(),
      dial: () => this.#redial(),
      ask: () => this.#askAgent(),
      needsExchange: () => this.#broken === null,
      onUp: () => this.#sayAgain(),
    })
  }

  get paused(): string | null {
    return this.#link.paused
  }

  /** A vCPU has crashed here, or the exchange has with a part of the guest: it runs nowhere any more. */
  crash(error: GodwitError): void {
    // With everything here it is this host's, as it is.
    if (this.#ended) return
    this.#links.control.send(abortOf(error, 'destination'))
    this.#over.resolve('lost')
  }

  #break(error: GodwitError): void {
    if (this.#takesOver()) return
    if (!this.#arrivals.empty) return this.crash(error)
    // Whether it has everything the source knows alone: it hears this on every link until it has answered.
    this.#broken = error
    this.#sayAgain()
  }

  /** The process is about to go. */
  close(): void {
    this.#over.resolve('closed')
  }

  /** From `shared` on, which the caller has recorded, to the record of what came of it. */
  async run(): Promise<Taken> {
    const taken = await this.#settle()
    // A source may wait at the link, which nobody reads any more: without one it asks what has become of this side.
    if (taken === 'lost' || taken === 'closed') this.#links.control.close()
    return taken
  }

  async #settle(): Promise<Taken> {
    const taken = await this.#take()
    // A vCPU that is slow to obey runs on with accessors that test what is always there.
    if (taken === 'whole') await this.#world.vcpus.setShared(false).catch(() => {})
    // An operator may have given it up meanwhile.
    if (this.#ownership.state !== 'shared') return 'closed'
    if (taken === 'whole') this.#ownership.apply('retired')
    else if (taken === 'empty') this.#ownership.apply('not-released')
    else if (taken === 'lost') this.#ownership.apply('peer-lost')
    return taken
  }

  async #take(): Promise<Taken> {
    const { inbox } = this.#links
    this.#hear(inbox)
    const started = inbox.next('lanes').then(({ generation }) => this.#link.start(inbox, generation))
    // No link at all: what is done then is what is done after a cut.
    started.catch(() => this.#link.start(inbox, 0))
    try {
      return await Promise.race([this.#over.promise, this.#link.failed])
    } catch (thrown) {
      const error = GodwitError.from(thrown)
      if (error.code !== 'exchange-broken') return 'lost'
      const outlived = this.#outlive()
      const taken = await Promise.race([outlived, this.#over.promise.catch(() => outlived)])
      // A source that has nothing any more waits for this word.
      if (taken === 'lost') this.#links.control.send(abortOf(error, 'destination'))
      return taken
    } finally {
      this.#ended = true
      this.#waiting.abort(new GodwitError('cancelled', 'over'))
      this.#link.close()
      this.#arrivals.end()
    }
  }

  /** What it cost, for the source's report. */
  completion(): Omit<MessageOf<'complete'>, 'type' | 'epoch'> {
    const { memory, vcpus } = this.#world
    const shared = { leftAt: vcpus.leftAt(), served: this.#served }
    return { digest: null, written: null, dropped: 0, faults: faultsOf(memory), shared }
  }

  /** The source serves until its last vCPU has come. */
  #arrived(here: number): void {
    if (here === this.#world.memory.layout.vcpus) this.#served = this.#world.served()
  }

  #hear(inbox: Inbox): void {
    inbox.next('retired').then(
      () => this.#takeAll(),
      () => {},
    )
    inbox.next('home').then(
      () => this.#giveBack(),
      () => {},
    )
    inbox.next('not-released').then(
      () => this.#end(),
      () => {},
    )
    inbox.next('commit').then(
      () => this.#ownership.state === 'shared' && this.#ownership.apply('commit-sharing'),
      () => {},
    )
  }

  /** The source has nothing any more; what is still on its way to it comes back. */
  #takeAll(): void {
    this.#arrivals.all().then(
      () => this.#over.resolve('whole'),
      () => {},
    )
  }

  /** R25: with every page and every vCPU here the guest is this host's, also when the source cannot say so any more. */
  #takesOver(): boolean {
    if (this.#returning || !this.#arrivals.whole) return false
    this.#ended = true
    this.#over.resolve('whole')
    return true
  }

  #giveBack(): void {
    if (this.#returning || this.#ended) return
    this.#returning = true
    const { vcpus, clock } = this.#world
    const { here } = this.#arrivals
    const linked = (): Promise<void> => this.#link.up()
    giveAll({
      vcpus,
      exchange: this.#exchange,
      clock,
      here,
      linked,
      goOn: () => !this.#ended,
    }).then(
      (all) => {
        if (!all) return
        this.#retired = true
        this.#sayAgain()
      },
      (thrown) => this.#over.reject(thrown),
    )
  }

  /** The source has everything, or never gave anything; if it has not, part of the guest is lost. */
  #end(): void {
    this.#over.resolve(this.#arrivals.empty ? 'empty' : 'lost')
  }

  /**
   * An exchange has failed. What the source gave last may still be being read, by a thread that has to wait for a processor: then
   * everything is here.
   */
  async #outlive(): Promise<Taken> {
    const { empty } = this.#arrivals
    if (this.#returning && !empty) return 'lost'
    const { signal } = this.#waiting
    const all = this.#arrivals.all().catch(() => {})
    const last = empty ? this.#askSource(signal) : this.#world.clock.sleep(PEER_SILENT_MS, signal)
    if ((await Promise.race([all, last.catch(() => {})])) === 'empty') return 'empty'
    return this.#takesOver() ? 'whole' : 'lost'
  }

  /** Nothing is here: the source goes on with all of it, or it has given what never came. */
  async #askSource(signal: AbortSignal): Promise<'empty' | 'lost'> {
    for (let wait = REDIAL_FIRST_MS; wait <= REDIAL_MAX_MS; wait *= 2) {
      const verdict = await this.#world.askPeerAgent()
      if (verdict === 'not-released') return 'empty'
      if (verdict === 'lost') break
      await this.#world.clock.sleep(wait, signal)
    }
    return 'lost'
  }

  #sayAgain(): void {
    const { control } = this.#links
    if (this.#retired) control.send({ type: 'retired', epoch: this.#world.epoch })
    else if (this.#broken !== null) control.send(abortOf(this.#broken, 'destination'))
  }

  async #redial(): Promise<Link> {
    const control = await this.#world.redial(null)
    if (this.#ended) {
      // Nobody would read it, and the source would wait at it.
      control.close()
      throw new GodwitError('cancelled', 'over while it dialled')
    }
    const inbox = this.#links.use(control)
    this.#hear(inbox)
    const { generation } = await inbox.next('lanes')
    return { inbox, generation }
  }

  async #askAgent(): Promise<void> {
    const verdict = await this.#world.askPeerAgent()
    if (verdict === 'not-released') return this.#end()
    if (this.#takesOver() || verdict !== 'lost') return
    // It died with nothing: every page and every vCPU is here, and none is on its way.
    if (this.#arrivals.whole) return this.#over.resolve('whole')
    throw new GodwitError('lost', 'the source process died while both hosts ran the guest')
  }
}
