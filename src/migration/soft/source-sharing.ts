// The source of a soft migration behind its switch: both hosts serve (R25–R29). It gives vCPU by vCPU, then what is left, and
// ends when the destination has recorded that everything is its own; or, when the migration is cancelled, when everything
// has come back. Cuts of the link only make it longer. Driven by source-session.ts.
//
//   offered ──sharing──► giving ──all given──► retired ──complete──► gone
//                           └──cancel──► homecoming ──retired──► home

import { GodwitError } from '../../errors.ts'
import { abortOf, type MessageOf } from '../../wire/messages.ts'
import type { Inbox } from '../inbox.ts'
import type { PageExchange } from '../ports.ts'
import { redialledInTime } from '../redial.ts'
import type { SourceContext } from '../source-context.ts'
import type { SourceLinks } from '../source-links.ts'
import type { SourceOwnership } from '../source-ownership.ts'
import { Arrivals } from './arrivals.ts'
import { giveAll } from './crossing.ts'
import type { Narrowing } from './narrowing.ts'
import { type Link, SharedLink } from './shared-link.ts'
import { type SharingView, watchSharing } from './watch.ts'

/** How it ended: at the destination, with its last word (null: its agent's word was all); here; or in part nowhere. */
export type SharingEnd =
  | { readonly where: 'destination'; readonly complete: MessageOf<'complete'> | null }
  | { readonly where: 'here'; readonly error: GodwitError }
  | { readonly where: 'nowhere'; readonly error: GodwitError }

export class SourceSharing {
  /** When each vCPU stood still here for its crossing, or the attempt at it that was the last, hrtime ns, by vCPU. */
  readonly heldAt = new Map<number, bigint>()
  /** From the first crossing on, until the last, or until everything is home again, or lost; ms of the clock. */
  dualFrom: number | null = null
  dualTo: number | null = null
  /** Requests answered here in that time. */
  served = 0
  #servedBefore = 0
  /** vCPUs of which it is known that they are there. */
  #crossed = 0
  readonly #context: SourceContext
  readonly #links: SourceLinks
  readonly #ownership: SourceOwnership
  readonly #exchange: PageExchange
  readonly #narrowing: Narrowing
  readonly #link: SharedLink
  readonly #arrivals: Arrivals
  readonly #sharing = Promise.withResolvers<void>()
  readonly #retired = Promise.withResolvers<void>()
  readonly #complete = Promise.withResolvers<MessageOf<'complete'> | null>()
  readonly #lost = Promise.withResolvers<never>()
  readonly #cancelled = Promise.withResolvers<void>()
  /** Why everything comes home; null: it does not. */
  #cancelling: GodwitError | null = null
  /** Whatever is still under way comes to nothing any more. */
  #ended = false
  /** Every crossing is decided, and the destination is to give back what it has. */
  #returning = false
  /** Everything is given, and the exchange that would tell whether it has arrived is broken, for this reason. */
  #mute: GodwitError | null = null
  #generation = 0

  constructor(
    context: SourceContext,
    links: SourceLinks,
    ownership: SourceOwnership,
    exchange: PageExchange,
    narrowing: Narrowing,
  ) {
    this.#context = context
    this.#links = links
    this.#ownership = ownership
    this.#exchange = exchange
    this.#narrowing = narrowing
    this.#lost.promise.catch(() => {})
    // Who has given everything needs no exchange any more.
    const needsExchange = (): boolean => this.#ownership.state !== 'retired' && this.#mute === null
    exchange.broken.then((error) => this.#ended || this.#break(error))
    const { memory, vcpus, clock } = context
    this.#arrivals = new Arrivals({ memory, vcpus, clock, exchange }, everyVcpu(context))
    this.#link = new SharedLink({
      exchange,
      clock,
      host: () => null,
      drop: () => this.#drop(),
      dial: (signal) => this.#redial(signal),
      ask: () => this.#askAgent(),
      needsExchange,
      onUp: () => this.#sayAgain(),
    })
  }

  get paused(): string | null {
    return this.#link.paused
  }

  get recoveries(): number {
    return this.#link.recoveries
  }

  /** R24: brings everything home; false: it is too late for that. */
  cancel(why: GodwitError): boolean {
    const { state } = this.#ownership
    if ((state !== 'offered' && state !== 'shared') || this.#mute !== null) return false
    this.#cancelling ??= why
    this.#narrowing.end()
    this.#exchange.push(null)
    this.#cancelled.resolve()
    return true
  }

  /** The process is about to go, or the guest has crashed. */
  end(error: GodwitError): void {
    this.#lost.reject(error)
  }

  /** With nothing left here only the destination knows whether all of it has come: it has it all, or it is lost. */
  #break(error: GodwitError): void {
    const { state } = this.#ownership
    const given = state === 'retired' || (state === 'shared' && this.#arrivals.empty)
    if (!given) return this.end(error)
    this.#mute = error
    this.#links.control?.send(abortOf(error, 'source'))
  }

  /** From `offered` on. Rejects with what makes it impossible to go on: parts of the guest are on either side then. */
  async run(): Promise<SharingEnd> {
    const { report } = this.#context
    this.#context.crashed.catch((error) => this.end(GodwitError.from(error, 'guest-crashed')))
    this.#hear(this.#links.inbox)
    this.#links.control?.send({ type: 'lanes', generation: ++this.#generation })
    this.#link.start(this.#links.inbox, this.#generation)
    const over = new AbortController()
    void watchSharing(this.#context, this.#exchange, () => this.#view(), over.signal)
    try {
      await this.#orLost(Promise.race([this.#sharing.promise, this.#cancelled.promise]))
      if (this.#ownership.state === 'offered') return this.#keepAll()
      report.enter('activate')
      const taken = this.#taken()
      taken.catch(() => {})
      const given = await this.#orLost(Promise.race([this.#give(), taken]))
      if (given !== 'taken' && (!given || this.#cancelling !== null)) {
        const home = await this.#orLost(Promise.race([this.#comeHome(), taken]))
        if (home !== 'taken') return home
      }
      this.#ownership.apply('gone')
      const complete = await this.#orLost(this.#complete.promise)
      this.#ownership.apply('complete')
      return { where: 'destination', complete }
    } catch (thrown) {
      return this.#endFor(GodwitError.from(thrown))
    } finally {
      this.#ended = true
      over.abort(new GodwitError('cancelled', 'over'))
      this.#link.close()
      this.#arrivals.end()
    }
  }

  /** It cannot go on. What is on record is what the destination will hear when it asks. */
  #endFor(error: GodwitError): SharingEnd {
    this.#endServing()
    const broken = error.code === 'exchange-broken'
    if (this.#ownership.state === 'offered') this.#ownership.apply('give-up')
    // All of it is here, and nothing leaves any more.
    if (this.#ownership.state === 'shared' && broken && this.#arrivals.whole) this.#ownership.apply('home')
    if (this.#ownership.state === 'aborted') return { where: 'here', error }
    if (this.#ownership.state === 'shared' || this.#ownership.state === 'retired') this.#ownership.apply('peer-lost')
    if (broken || error.code === 'guest-crashed') this.#links.control?.send(abortOf(error, 'source'))
    return { where: 'nowhere', error }
  }

  #view(): SharingView {
    return { crossed: this.#crossed, paused: this.paused, returning: this.#cancelling !== null }
  }

  /** Nothing has left yet, and nothing will. */
  #keepAll(): SharingEnd {
    this.#ownership.apply('give-up')
    return { where: 'here', error: this.#cancelling as GodwitError }
  }

  /** The destination has everything, and says so before this side knows: the link was lost behind the last that was given (R25). */
  async #taken(): Promise<'taken'> {
    await this.#complete.promise
    if (!this.#arrivals.empty) {
      throw new GodwitError('not-owner', 'the destination says that it has everything, but a part is here', {
        side: 'destination',
      })
    }
    this.#endServing()
    return 'taken'
  }

  #give(): Promise<boolean> {
    const { vcpus, clock } = this.#context
    const given = giveAll({
      vcpus,
      exchange: this.#exchange,
      clock,
      here: this.#arrivals.here,
      narrow: (vcpu) => this.#narrowing.narrow(vcpu),
      goOn: () => this.#cancelling === null && !this.#ended,
      // Who calls it off waits for no link that may never come.
      linked: () => Promise.race([this.#link.up(), this.#cancelled.promise]),
      onHeld: (vcpu, heldAt) => this.heldAt.set(vcpu, heldAt),
      onCrossed: () => this.#noteCrossed(),
    })
    return given.catch((thrown) => {
      if (this.#mute === null) throw thrown
      return new Promise<never>(() => {})
    })
  }

  #noteCrossed(): void {
    const { memory, clock } = this.#context
    if (this.dualFrom === null) {
      this.dualFrom = clock.now()
      this.#servedBefore = this.#context.served()
    }
    if (++this.#crossed < memory.layout.vcpus) return
    this.#endServing()
    this.#context.report.enter('pull')
  }

  /** The last vCPU is there; or here again, or nowhere. */
  #endServing(): void {
    this.#narrowing.end()
    if (this.dualFrom === null || this.dualTo !== null) return
    this.dualTo = this.#context.clock.now()
    this.served = this.#context.served() - this.#servedBefore
  }

  async #comeHome(): Promise<SharingEnd> {
    this.#returning = true
    this.#exchange.push(null)
    this.#links.control?.send({ type: 'home', epoch: this.#context.epoch })
    await this.#retired.promise
    await this.#arrivals.all()
    // Since the first has come back both have served, also if all had been there.
    this.dualTo = null
    this.#endServing()
    this.#ownership.apply('home')
    return { where: 'here', error: this.#cancelling as GodwitError }
  }

  #orLost<T>(promise: Promise<T>): Promise<T> {
    return Promise.race([promise, this.#lost.promise, this.#link.failed])
  }

  /** What the destination may say on any of the links, in its time. */
  #hear(inbox: Inbox): void {
    const on = (type: 'sharing' | 'retired' | 'complete', take: (message: unknown) => void): void => {
      inbox.next(type).then(take, () => {})
    }
    on('sharing', () => {
      if (this.#ownership.state === 'offered') this.#ownership.apply('sharing')
      this.#sharing.resolve()
    })
    on('retired', () => this.#retired.resolve())
    on('complete', (message) => this.#complete.resolve(message as MessageOf<'complete'>))
    const committed = (): boolean => this.#ownership.state === 'offered' || this.#ownership.state === 'shared'
    inbox.next('ask').then(
      () => committed() && this.#ownership.apply('ask'),
      () => {},
    )
  }

  /** A new link is up: the destination may have missed what was said on the old one. */
  #sayAgain(): void {
    const { control } = this.#links
    const { epoch } = this.#context
    const { state } = this.#ownership
    this.#narrowing.renewed()
    if (state === 'retired') control?.send({ type: 'retired', epoch })
    if (this.#mute !== null) control?.send(abortOf(this.#mute, 'source'))
    else if (this.#returning) control?.send({ type: 'home', epoch })
  }

  async #drop(): Promise<void> {
    this.#narrowing.end()
    this.#links.control?.close()
    await this.#links.dropPages()
  }

  async #redial(signal: AbortSignal): Promise<Link> {
    const control = await redialledInTime(this.#context, signal)
    const inbox = this.#links.use(control)
    this.#ownership.control = control
    this.#hear(inbox)
    const generation = ++this.#generation
    control.send({ type: 'lanes', generation })
    return { inbox, generation }
  }

  /** R20: whoever died took along what it had. */
  async #askAgent(): Promise<void> {
    const verdict = await this.#context.askPeerAgent()
    const { state } = this.#ownership
    if (verdict === 'owner' && (state === 'retired' || state === 'shared')) return this.#complete.resolve(null)
    // R25: with everything here the guest is this host's, also when the destination cannot say that it has nothing.
    if (this.#returning && this.#arrivals.whole) return this.#retired.resolve()
    if (verdict !== 'lost' && verdict !== 'dropped') return
    // It died with nothing: every page and every vCPU is here, and none is on its way.
    if (state === 'shared' && this.#arrivals.whole) this.#ownership.apply('home')
    else this.#ownership.apply(verdict === 'lost' ? 'peer-lost' : 'peer-dropped')
    if (this.#ownership.state === 'aborted') {
      throw new GodwitError('peer-dead', 'the destination process died while it had nothing of the guest', {
        side: 'destination',
        hint: 'the guest runs at the source; migrate once more',
      })
    }
    throw new GodwitError('lost', 'the destination process died while both hosts ran the guest: a part of it is gone', {
      side: 'destination',
      hint: 'give the rest up: godwit resolve GUEST --abandon',
    })
  }
}

function* everyVcpu({ memory }: SourceContext): Iterable<number> {
  for (let vcpu = 0; vcpu < memory.layout.vcpus; vcpu++) yield vcpu
}
