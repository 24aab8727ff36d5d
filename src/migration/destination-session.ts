// The destination's side of one migration: place rounds, prove the digest, record, run. Ownership decisions are those
// of commit-machine.ts. After PREPARED it never forgets by itself: it redials and asks (R18).

import { GodwitError } from '../errors.ts'
import { loadFree } from '../guest/free-map.ts'
import { resetDigest } from '../kernels/kernels.ts'
import { REDIAL_FIRST_MS, REDIAL_MAX_MS } from '../limits.ts'
import { abortOf, type MessageOf } from '../wire/messages.ts'
import {
  type DestinationAction,
  type DestinationEvent,
  type DestinationState,
  destinationTransition,
} from './commit-machine.ts'
import type { DestinationWorld } from './destination-context.ts'
import { Inbox } from './inbox.ts'
import { sayReady } from './kept-copy.ts'
import { type OwnershipRecord, writeIfPossible } from './ownership-record.ts'
import { lastState, placeRounds } from './placed-rounds.ts'
import type { ControlLink, PageDestination } from './ports.ts'
import { requireEqualDigests, switchDigest, warmProof } from './proof.ts'
import { beginPulling, Puller, type PullerLinks, warmPulling } from './puller.ts'

export type { DestinationWorld } from './destination-context.ts'

/** How long the destination's step rate is sampled for the report once the guest runs here. */
const SAMPLE_MS = 100

/** How an incoming migration ended: the guest runs here, or this attempt is forgotten. */
export type Arrival = { readonly owner: true } | { readonly owner: false; readonly error: GodwitError }

export class DestinationSession {
  readonly #world: DestinationWorld
  #state: DestinationState = 'receiving'
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
  /** A later link than the first is in use: the lanes of the first are not. */
  #redialled = false
  #askedAsOwner = 0

  constructor(world: DestinationWorld) {
    this.#world = world
  }

  /** Pull phase: the pull that is under way, to be looked at and to be told to redial. */
  get puller(): Puller | null {
    return this.#state === 'pulling' ? this.#puller : null
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
    this.#apply('abandon')
    this.#puller?.close()
  }

  /** Called once, right after the guest has begun to run here. */
  onOwner(listener: () => void): void {
    this.#onOwner = listener
  }

  get state(): DestinationState {
    return this.#state
  }

  /** Receives the guest. Resolves once it runs here or the attempt is over; never rejects. */
  async run(): Promise<Arrival> {
    try {
      await this.#receive()
    } catch (thrown) {
      const error = GodwitError.from(thrown)
      if (this.#state === 'receiving') return await this.#drop(error)
      if (this.#state === 'dropped') return { owner: false, error }
      if (this.#state === 'incoming' || this.#state === 'owner') this.#apply('cut')
    }
    return await this.#decide()
  }

  /** Ends the session's connections. */
  async close(): Promise<void> {
    this.#closing = true
    this.#puller?.close()
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
    this.#carryOut('record-dropped')
    const { control, pages } = await this.#world.connect()
    this.#control = control
    this.#pages = pages
    this.#inbox = new Inbox(control, 'source')
    const failed = this.#inbox.ended.then((error) => Promise.reject(error))
    failed.catch(() => {})
    const placed = placeRounds(control, pages, memory.layout.pageCount)
    this.#neighbours = await Promise.race([sayReady(control, pages, this.#world), placed.failed, failed])
    const state = await Promise.race([lastState(this.#inbox, placed), placed.failed, failed])
    this.#check(state)
    if (state.pull) {
      beginPulling(this.#world, state)
      this.#puller = new Puller(this.#world, this.#pullerLinks())
    }
    this.#prove(state)
    this.#world.vcpus.load(state.vcpus)
    this.#apply('proven')
  }

  #check(state: MessageOf<'state'>): void {
    const { memory, epoch } = this.#world
    if (state.epoch !== epoch)
      throw new GodwitError('unexpected-message', `state of epoch ${state.epoch}, not ${epoch}`)
    if (state.vcpus.length !== memory.layout.vcpus) {
      const message = `state of ${state.vcpus.length} vCPUs for a guest of ${memory.layout.vcpus}`
      throw new GodwitError('bad-message', message)
    }
    // What came from other guests here is this guest's only if its source had it, too.
    if (this.#neighbours > 0 && state.verify !== 'digest') {
      throw new GodwitError('unexpected-message', `verify ${state.verify} where pages are those of other guests`)
    }
    loadFree(memory, state.free, this.#world.kernels)
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
          if (this.#state === 'owner') return await this.#lose()
          this.#apply('not-released')
          return { owner: false, error: new GodwitError('cancelled', 'the source kept the guest', { side: 'source' }) }
        }
        if (message.type === 'commit' && this.#state === 'incoming') {
          if (this.#puller === null) running = this.#activate()
          else {
            await this.#activate()
            const ended = await this.#pull(this.#puller)
            if (ended !== null) return ended
          }
        } else if (message.type === 'commit') this.#apply('commit')
        else if (this.#state === 'owner') this.#apply('done')
        if (this.#state === 'settled') {
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
    const owner = this.#state === 'owner' || this.#state === 'settled'
    return owner ? { owner } : { owner, error: new GodwitError('unreconciled', 'closed while undecided') }
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
    const pulled = await puller.run(() => this.#carryOut('send-active'), !this.#redialled)
    if (this.#state !== 'pulling') return { owner: true }
    if (pulled === 'whole') {
      this.#apply('complete')
      // The lanes stay until the source says `done`: their end would look like a cut to it.
      this.#onWhole()
      return null
    }
    if (pulled === 'lost') {
      this.#apply('peer-lost')
      this.#onLost()
    }
    return { owner: true }
  }

  async #activate(): Promise<void> {
    const { vcpus, clock } = this.#world
    const startedAt = clock.now()
    const { state, actions } = destinationTransition(this.#state, this.#puller === null ? 'commit' : 'commit-pulling')
    // R22: a guest that dies while it pulls must be known to have run, or its source would run it again as it was. Without
    // this record it stays incoming, and the next word to commit tries again.
    if (actions.includes('record-pulling')) this.#carryOut('record-pulling')
    this.#state = state
    for (const action of actions) if (action !== 'send-active' && action !== 'record-pulling') this.#carryOut(action)
    await vcpus.running()
    this.#activateMs = clock.now() - startedAt
    this.#carryOut('send-active')
    this.#onOwner()
    if (this.#puller === null) this.#onWhole()
  }

  /** A source that served pages would like to hear what they cost, so it is dialled a few times more. */
  get #patience(): number {
    return this.#puller === null ? 0 : 3
  }

  async #askAgent(error: GodwitError): Promise<Arrival | null> {
    if (this.#state === 'dropped') return { owner: false, error }
    if (this.#closing) return null
    this.#apply('cut')
    const verdict = await this.#world.askPeerAgent()
    // Whoever closed the session decides now.
    if (this.#closing) return null
    if (this.#state === 'owner' && verdict === 'lost') {
      this.#apply('peer-lost')
      return { owner: true }
    }
    if (this.#state === 'owner' && verdict === 'not-released') return await this.#lose()
    if (this.#state === 'owner')
      return verdict === 'released' && ++this.#askedAsOwner > this.#patience ? { owner: true } : null
    if (verdict === 'not-released') {
      this.#apply('not-released')
      return { owner: false, error }
    }
    if (verdict === 'released' && this.#puller === null) {
      await this.#activate()
      return { owner: true }
    }
    // The source's process is gone, and the pages that were still to come with it; nothing ran here.
    if (verdict === 'lost') {
      this.#apply('peer-lost')
      return { owner: false, error }
    }
    return null
  }

  /** R21: the source was made to run the guest again by its operator; the lower epoch parks. */
  async #lose(): Promise<Arrival> {
    this.#apply('not-released')
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
      if (this.#state === 'incoming') control.send({ type: 'ask', epoch: this.#world.epoch })
      else if (this.#state === 'owner') {
        this.#carryOut('send-active')
        if (this.#puller !== null) this.#carryOut('send-complete')
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
    this.#apply('cut')
    try {
      this.#control?.send(abortOf(error, 'destination'))
    } catch {
      // The link is gone; the source sees the cut.
    }
    await this.close()
    return { owner: false, error }
  }

  #apply(event: DestinationEvent): void {
    const { state, actions } = destinationTransition(this.#state, event)
    // A promise that is not on record is not made (R21): without the record the attempt ends here.
    if (actions.includes('record-incoming')) this.#carryOut('record-incoming')
    this.#state = state
    for (const action of actions) if (action !== 'record-incoming') this.#carryOut(action)
  }

  #carryOut(action: DestinationAction): void {
    const { store, epoch, guestId: guest, id: migration, source: peer, vcpus } = this.#world
    const record = (state: 'incoming' | 'owner' | 'dropped' | 'lost', pull = false): OwnershipRecord => {
      return { version: 1, guest, epoch, state, migration, role: 'destination', peer, ...(pull ? { pull } : {}) }
    }
    switch (action) {
      case 'record-incoming':
        return store.write(record('incoming'))
      // The source has let go: better a guest whose record is old than none.
      case 'record-owner':
        return writeIfPossible(store, record('owner'))
      case 'record-pulling':
        return store.write(record('owner', true))
      case 'record-lost':
        return writeIfPossible(store, record('lost'))
      case 'record-dropped':
        return writeIfPossible(store, record('dropped'))
      case 'send-prepared': {
        const { value, ms } = this.#digest
        this.#control?.send({ type: 'prepared', epoch, digest: value, digestMs: ms, hashes: 0 })
        return
      }
      case 'send-active':
        this.#control?.send({ type: 'active', epoch, leftAt: vcpus.leftAt(), activateMs: this.#activateMs })
        return
      case 'send-complete':
        if (this.#puller !== null) this.#control?.send({ type: 'complete', epoch, ...this.#puller.completion() })
        return
      // Some may be parked for a page that never comes: nobody waits for them.
      case 'stop':
        return vcpus.halt()
      case 'run':
        return vcpus.resume()
      case 'discard':
      case 'redial':
        return
    }
  }
}
