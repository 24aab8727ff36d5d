// Carries out what commit-machine.ts decides for the destination: records first, then messages, then the vCPUs (R21).

import type { MessageOf } from '../wire/messages.ts'
import {
  type DestinationAction,
  type DestinationEvent,
  type DestinationState,
  destinationTransition,
} from './commit-machine.ts'
import type { DestinationWorld } from './destination-context.ts'
import { type OwnershipRecord, writeIfPossible } from './ownership-record.ts'
import type { ControlLink } from './ports.ts'

/** What the session knows that messages tell. */
export interface DestinationFacts {
  readonly control: ControlLink | null
  readonly digest: { readonly value: string | null; readonly ms: number }
  readonly activateMs: number
  /** What a pull, or the time in which both hosts ran the guest, cost; null: there was none. */
  completion(): Omit<MessageOf<'complete'>, 'type' | 'epoch'> | null
}

/** What is not on record is not promised. */
const PROMISES: readonly DestinationAction[] = ['record-incoming', 'record-pulling', 'record-shared']

export class DestinationOwnership {
  readonly #world: DestinationWorld
  readonly #facts: DestinationFacts
  #state: DestinationState = 'receiving'

  constructor(world: DestinationWorld, facts: DestinationFacts) {
    this.#world = world
    this.#facts = facts
  }

  get state(): DestinationState {
    return this.#state
  }

  /** A promise that is not on record is not made (R21): it throws, and nothing has happened. */
  apply(event: DestinationEvent): void {
    this.#take(event, [])
  }

  /**
   * The commit: the guest runs; the caller says so itself, once it does. R22: a guest that dies while it pulls must be known to
   * have run, or its source would run it again as it was. Without that record it stays incoming, and the next word to commit
   * tries again.
   */
  activate(event: 'commit' | 'commit-pulling'): void {
    this.#take(event, ['send-active'])
  }

  #take(event: DestinationEvent, later: readonly DestinationAction[]): void {
    const { state, actions } = destinationTransition(this.#state, event)
    const promise = actions.find((action) => PROMISES.includes(action))
    if (promise !== undefined) this.carryOut(promise)
    this.#state = state
    for (const action of actions) if (action !== promise && !later.includes(action)) this.carryOut(action)
  }

  carryOut(action: DestinationAction): void {
    const { store, epoch, vcpus } = this.#world
    const { control, digest, activateMs } = this.#facts
    switch (action) {
      case 'record-incoming':
        return store.write(this.#record('incoming'))
      // The source has let go: better a guest whose record is old than none.
      case 'record-owner':
        return writeIfPossible(store, this.#record('owner'))
      case 'record-pulling':
        return store.write({ ...this.#record('owner'), pull: true })
      case 'record-shared':
        return store.write(this.#record('shared'))
      case 'record-lost':
        return writeIfPossible(store, this.#record('lost'))
      case 'record-dropped':
        return writeIfPossible(store, this.#record('dropped'))
      case 'send-prepared':
        return control?.send({ type: 'prepared', epoch, digest: digest.value, digestMs: digest.ms, hashes: 0 })
      case 'send-active':
        return control?.send({ type: 'active', epoch, leftAt: vcpus.leftAt(), activateMs })
      case 'send-sharing':
        return control?.send({ type: 'sharing', epoch })
      case 'send-complete': {
        const completion = this.#facts.completion()
        if (completion !== null) control?.send({ type: 'complete', epoch, ...completion })
        return
      }
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

  #record(state: OwnershipRecord['state']): OwnershipRecord {
    const { guestId: guest, epoch, id: migration, source: peer } = this.#world
    return { version: 1, guest, epoch, state, migration, role: 'destination', peer }
  }
}
