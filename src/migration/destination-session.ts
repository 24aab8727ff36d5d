// The destination's side of one migration: place rounds, prove the digest, record, run. Ownership decisions are those
// of commit-machine.ts. After PREPARED it never forgets by itself: it redials and asks (R18).

import { GodwitError } from '../errors.ts'
import { resetDigest } from '../kernels/kernels.ts'
import { REDIAL_FIRST_MS, REDIAL_MAX_MS } from '../limits.ts'
import { abortOf, type MessageOf } from '../wire/messages.ts'
import { acceptState } from './accept-state.ts'
import type { DestinationState } from './commit-machine.ts'
import type { DestinationWorld } from './destination-context.ts'
import { DestinationOwnership } from './destination-ownership.ts'
import { Inbox } from './inbox.ts'
import { sayReady } from './kept-copy.ts'
import { lastState, placeRounds } from './placed-rounds.ts'
import type { ControlLink, PageDestination, PageExchange } from './ports.ts'
import { requireEqualDigests, switchDigest, warmProof } from './proof.ts'
import { beginPulling, Puller, type PullerLinks, warmPulling } from './puller.ts'
import { beginTaking, DestinationSharing, type SharingLinks } from './soft/destination-sharing.ts'
import { EarlyExchange } from './soft/early-exchange.ts'

export type { DestinationWorld } from './destination-context.ts'

/** How long the destination's step rate is sampled for the report once the guest runs here. */
const SAMPLE_MS = 100

/** How an incoming migration ended: the guest runs here, or this attempt is forgotten. */
export type Arrival = { readonly owner: true } | { readonly owner: false; readonly error: GodwitError }

export class DestinationSession {
  readonly #world: DestinationWorld
  readonly #ownership: DestinationOwnership
  #control: ControlLink | null = null
  #pages: PageDestination | null = null
  #inbox: Inbox | null = null
  #digest: { value: string | null; ms: number } = { value: null, ms: 0 }
  /** Guests here that the source was told of. */
  #neighbours = 0
  #activateMs = 0
  #closing = false
  #onOwner: () => void = () => {}
  #onWhole: () => void = () => {}
  #onLost: () => void = () => {}
  #puller: Puller | null = null
  #exchange: PageExchange | null = null
  #early: EarlyExchange | null = null
  #sharing: DestinationSharing | null = null
  #onShared: () => void = () => {}
  /** A later link than the first is in use: the lanes of the first are not. */
  #redialled = false
  #askedAsOwner = 0

  constructor(world: DestinationWorld) {
    this.#world = world
    const session = this
    this.#ownership = new DestinationOwnership(world, {
      get control() {
        return session.#control
      },
      get digest() {
        return session.#digest
      },
      get activateMs() {
        return session.#activateMs
      },
      completion: () => this.#puller?.completion() ?? this.#sharing?.completion() ?? null,
    })
  }

  /** Pull phase: the pull that is under way, to be looked at and to be told to redial. */
  get puller(): Puller | null {
    return this.#ownership.state === 'pulling' ? this.#puller : null
  }

  /** Soft: why the exchange is paused; null while its link is up, or there is none. */
  get sharingPaused(): string | null {
    return this.#sharing?.paused ?? null
  }

  /** Called once, when pages and vCPUs may come. */
  onShared(listener: () => void): void {
    this.#onShared = listener
  }

  /** Called once, when the last page is here; for a guest that was not pulled together with `onOwner`. */
  onWhole(listener: () => void): void {
    this.#onWhole = listener
  }

  /** Called once when a guest that was being pulled can never be whole; its vCPUs stand still. */
  onLost(listener: () => void): void {
    this.#onLost = listener
  }

  /** R22: the operator gives the guest up; already found to be allowed. */
  abandon(): void {
    this.#ownership.apply('abandon')
    this.#puller?.close()
    this.#sharing?.close()
  }

  crashed(error: GodwitError): void {
    if (this.#ownership.state === 'shared') this.#sharing?.crash(error)
  }

  /** Called once, right after the guest has begun to run here. */
  onOwner(listener: () => void): void {
    this.#onOwner = listener
  }

  get state(): DestinationState {
    return this.#ownership.state
  }

  /** Receives the guest. Resolves once it runs here or the attempt is over; never rejects. */
  async run(): Promise<Arrival> {
    try {
      await this.#receive()
    } catch (thrown) {
      const error = GodwitError.from(thrown)
      if (this.#ownership.state === 'receiving') return await this.#drop(error)
      if (this.#ownership.state === 'dropped') return { owner: false, error }
      if (this.#ownership.state === 'incoming' || this.#ownership.state === 'owner') this.#ownership.apply('cut')
    }
    return await this.#decide()
  }

  /** Ends the session's connections. */
  async close(): Promise<void> {
    this.#closing = true
    this.#puller?.close()
    this.#sharing?.close()
    await this.#early?.close()
    await this.#pages?.close()
    this.#control?.close()
  }

  async #receive(): Promise<void> {
    const { memory, vcpus } = this.#world
    resetDigest(memory)
    // What runs inside the pause has run once before, with nothing to do: its first run takes ten times as long.
    warmProof(memory, this.#world.kernels)
    warmPulling(this.#world)
    vcpus.load(vcpus.save())
    // Nothing is promised before PREPARED.
    this.#ownership.carryOut('record-dropped')
    const { control, pages } = await this.#world.connect()
    this.#control = control
    this.#pages = pages
    if (this.#closing) throw new GodwitError('cancelled', 'closed while it dialled')
    // Not while the channels' threads start: whoever is served on the same processors would wait for both.
    this.#early = new EarlyExchange(this.#world)
    this.#inbox = new Inbox(control, 'source')
    const failed = this.#inbox.ended.then((error) => Promise.reject(error))
    failed.catch(() => {})
    const placed = placeRounds(control, pages, memory.layout.pageCount)
    this.#neighbours = await Promise.race([sayReady(control, pages, this.#world), placed.failed, failed])
    const state = await Promise.race([lastState(this.#inbox, placed), placed.failed, failed])
    acceptState(this.#world, state, this.#neighbours)
    if (state.shared) {
      this.#exchange = (await this.#early?.taken(state.pull)) ?? null
      await beginTaking(this.#world, state)
    }
    if (state.pull) {
      beginPulling(this.#world, state)
      this.#puller = new Puller(this.#world, this.#pullerLinks())
    }
    this.#prove(state)
    if (!state.shared) this.#world.vcpus.load(state.vcpus)
    this.#ownership.apply('proven')
  }

  /** R15: the destination proves equality before the source gives up ownership. */
  #prove(state: MessageOf<'state'>): void {
    const { memory, kernels, clock } = this.#world
    const startedAt = clock.now()
    const value = switchDigest(state.verify, memory, kernels, state.vcpus)
    this.#digest = { value, ms: clock.now() - startedAt }
    requireEqualDigests(value, state.digest, this.#neighbours > 0)
  }

  /** From PREPARED on: commit, not-released, or redial and ask, for as long as it takes. */
  async #decide(): Promise<Arrival> {
    let wait = REDIAL_FIRST_MS
    let running: Promise<void> | null = null
    while (!this.#closing) {
      try {
        const inbox = this.#inbox as Inbox
        const message = await inbox.any(({ type }) => type === 'commit' || type === 'not-released' || type === 'done')
        if (this.#closing) break
        if (message.type === 'not-released') {
          if (this.#ownership.state === 'owner') return await this.#lose()
          this.#ownership.apply('not-released')
          return { owner: false, error: new GodwitError('cancelled', 'the source kept the guest', { side: 'source' }) }
        }
        if (message.type === 'commit' && this.#ownership.state === 'incoming') {
          if (this.#exchange !== null) {
            const ended = await this.#share(this.#exchange)
            if (ended !== null) return ended
          } else if (this.#puller === null) running = this.#activate()
          else {
            await this.#activate()
            const ended = await this.#pull(this.#puller)
            if (ended !== null) return ended
          }
        } else if (message.type === 'commit') this.#ownership.apply('commit')
        else if (this.#ownership.state === 'owner') this.#ownership.apply('done')
        if (this.#ownership.state === 'settled') {
          await running
          await this.#sendUsage()
          return { owner: true }
        }
        wait = REDIAL_FIRST_MS
        continue
      } catch (thrown) {
        const arrival = await this.#askAgent(GodwitError.from(thrown))
        if (arrival !== null) {
          await running
          await this.close()
          return arrival
        }
      }
      await this.#world.clock.sleep(wait)
      wait = Math.min(wait * 2, REDIAL_MAX_MS)
      await this.#redial()
    }
    const owner = this.#ownership.state === 'owner' || this.#ownership.state === 'settled'
    return owner ? { owner } : { owner, error: new GodwitError('unreconciled', 'closed while undecided') }
  }

  /** Soft: from the first page or vCPU that may come until everything is here. Null: it is, and the source is to hear it. */
  async #share(exchange: PageExchange): Promise<Arrival | null> {
    this.#ownership.apply('commit-sharing')
    // The round that is under way is never placed then: only a new link ends it.
    this.#pages?.failed.catch(() => this.#ownership.state === 'shared' && this.#control?.close())
    this.#sharing = new DestinationSharing(this.#world, this.#sharingLinks(), this.#ownership, exchange)
    this.#onShared()
    const taken = await this.#sharing.run()
    if (taken === 'whole') {
      this.#onOwner()
      this.#onWhole()
      return null
    }
    if (taken === 'lost') this.#onLost()
    await this.close()
    if (taken !== 'empty') return { owner: true }
    return { owner: false, error: new GodwitError('cancelled', 'the source has the guest back') }
  }

  #sharingLinks(): SharingLinks {
    const session = this
    return {
      get inbox() {
        return session.#inbox as Inbox
      },
      get control() {
        return session.#control as ControlLink
      },
      drop: async () => {
        this.#control?.close()
        await this.#pages?.close()
      },
      use: (control) => {
        this.#control = control
        this.#inbox = new Inbox(control, 'source')
        this.#ownership.carryOut('send-sharing')
        return this.#inbox
      },
    }
  }

  #pullerLinks(): PullerLinks {
    const session = this
    return {
      get control() {
        return session.#control
      },
      get inbox() {
        return session.#inbox
      },
      get pages() {
        return session.#pages
      },
      use: (control, inbox, pages) => {
        session.#control = control
        session.#inbox = inbox
        session.#pages = pages
      },
    }
  }

  /** The pull phase: from the first step here until the last page. */
  async #pull(puller: Puller): Promise<Arrival | null> {
    const pulled = await puller.run(() => this.#ownership.carryOut('send-active'), !this.#redialled)
    if (this.#ownership.state !== 'pulling') return { owner: true }
    if (pulled === 'whole') {
      this.#ownership.apply('complete')
      // The lanes stay until the source says `done`: their end would look like a cut to it.
      this.#onWhole()
      return null
    }
    if (pulled === 'lost') {
      this.#ownership.apply('peer-lost')
      this.#onLost()
    }
    return { owner: true }
  }

  async #activate(): Promise<void> {
    const { vcpus, clock } = this.#world
    const startedAt = clock.now()
    this.#ownership.activate(this.#puller === null ? 'commit' : 'commit-pulling')
    await vcpus.running()
    this.#activateMs = clock.now() - startedAt
    this.#ownership.carryOut('send-active')
    this.#onOwner()
    if (this.#puller === null) this.#onWhole()
  }

  /** A source that served pages would like to hear what they cost, so it is dialled a few times more. */
  get #patience(): number {
    return this.#puller === null && this.#sharing === null ? 0 : 3
  }

  async #askAgent(error: GodwitError): Promise<Arrival | null> {
    if (this.#ownership.state === 'dropped') return { owner: false, error }
    if (this.#closing) return null
    this.#ownership.apply('cut')
    const verdict = await this.#world.askPeerAgent()
    // Whoever closed the session decides now.
    if (this.#closing) return null
    if (this.#ownership.state === 'owner' && verdict === 'lost') {
      this.#ownership.apply('peer-lost')
      return { owner: true }
    }
    if (this.#ownership.state === 'owner' && verdict === 'not-released') return await this.#lose()
    if (this.#ownership.state === 'owner')
      return verdict === 'released' && ++this.#askedAsOwner > this.#patience ? { owner: true } : null
    if (verdict === 'not-released') {
      this.#ownership.apply('not-released')
      return { owner: false, error }
    }
    if (verdict === 'released' && this.#puller === null && this.#exchange === null) {
      await this.#activate()
      return { owner: true }
    }
    // The source's process is gone, and the pages that were still to come with it; nothing ran here.
    if (verdict === 'lost') {
      this.#ownership.apply('peer-lost')
      return { owner: false, error }
    }
    return null
  }

  /** R21: the source was made to run the guest again by its operator; the lower epoch parks. */
  async #lose(): Promise<Arrival> {
    this.#ownership.apply('not-released')
    this.#onLost()
    await this.close()
    return { owner: true }
  }

  async #redial(): Promise<void> {
    try {
      const control = await this.#world.redial(null)
      if (this.#closing) return control.close()
      this.#redialled = true
      this.#control?.close()
      this.#control = control
      this.#inbox = new Inbox(control, 'source')
      if (this.#ownership.state === 'incoming') control.send({ type: 'ask', epoch: this.#world.epoch })
      else if (this.#ownership.state === 'owner') {
        this.#ownership.carryOut('send-active')
        if (this.#puller !== null || this.#sharing !== null) this.#ownership.carryOut('send-complete')
      }
    } catch {
      // The source cannot be reached yet; the loop asks its agent and tries again.
    }
  }

  async #sendUsage(): Promise<void> {
    const { vcpus, clock } = this.#world
    const before = vcpus.steps()
    const startedAt = clock.now()
    await clock.sleep(SAMPLE_MS)
    const stepsPerSecond = ((vcpus.steps() - before) / (clock.now() - startedAt)) * 1000
    this.#control?.send({ type: 'usage', ...this.#world.usage(), stepsPerSecond })
    await this.close()
  }

  async #drop(error: GodwitError): Promise<Arrival> {
    this.#ownership.apply('cut')
    try {
      this.#control?.send(abortOf(error, 'destination'))
    } catch {
      // The link is gone; the source sees the cut.
    }
    await this.close()
    return { owner: false, error }
  }
}
