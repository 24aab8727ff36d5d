// Carries out what commit-machine.ts decides for the source: records first, then messages, then the vCPUs (R21).

import { assert } from '../errors.ts'
import { type SourceAction, type SourceEvent, type SourceState, sourceTransition } from './commit-machine.ts'
import { type OwnershipRecord, writeIfPossible } from './ownership-record.ts'
import type { ControlLink } from './ports.ts'
import { pulls, shares } from './settings.ts'
import type { SourceWorld } from './source-context.ts'

export class SourceOwnership {
  /** The link that messages go out on; null before the first connection and while there is none. */
  control: ControlLink | null = null
  readonly #world: SourceWorld
  #state: SourceState = 'running'

  constructor(world: SourceWorld) {
    this.#world = world
    world.store.write({ ...this.#record('owner'), epoch: world.epoch - 1 })
  }

  get state(): SourceState {
    return this.#state
  }

  /** True until *released* is written: the source may still give up (R19, R24). */
  get mayGiveUp(): boolean {
    return this.#state === 'running' || this.#state === 'paused'
  }

  /**
   * Throws `data-dir-bad`, and nothing has happened, when the release cannot be recorded: what is not on record is not
   * released (R21). Any other record may be missing: an older one errs on the side of not running the guest twice.
   */
  apply(event: SourceEvent): void {
    // A destination that pulls is never simply active: `done` would let the memory go that it still needs.
    assert(event !== 'active' || !this.#pulls, "a movement that pulls has 'active-pulling' and 'complete'")
    const { state, actions } = sourceTransition(this.#state, event)
    const promise = actions.find((action) => action === 'record-released' || action === 'record-shared')
    if (promise !== undefined) this.#carryOut(promise)
    this.#state = state
    for (const action of actions) if (action !== promise) this.#carryOut(action)
  }

  get #pulls(): boolean {
    return pulls(this.#world.settings.movement)
  }

  #carryOut(action: SourceAction): void {
    const { vcpus, store, epoch } = this.#world
    switch (action) {
      case 'resume':
        vcpus.throttle(0)
        return vcpus.resume()
      case 'record-released':
        return store.write(this.#record('released'))
      case 'record-shared':
        return store.write(this.#record('shared'))
      case 'record-aborted':
        return writeIfPossible(store, this.#record('aborted'))
      case 'record-reclaimed':
        // The guest is here, and the old destination, should it ever ask, hears `not-released` (R21).
        return writeIfPossible(store, { ...this.#record('aborted'), epoch: epoch + 1 })
      case 'record-lost':
        return writeIfPossible(store, this.#record('lost'))
      case 'record-done':
        return writeIfPossible(store, this.#record('done'))
      case 'stop':
        return vcpus.halt()
      case 'send-retired':
        return this.control?.send({ type: 'retired', epoch })
      case 'send-commit':
        return this.control?.send({ type: 'commit', epoch })
      case 'send-not-released':
        return this.control?.send({ type: 'not-released', epoch })
      case 'send-done':
        return this.control?.send({ type: 'done', epoch })
      // The session pauses and redials itself: both take time.
      case 'pause':
      case 'await-redial':
        return
    }
  }

  #record(state: OwnershipRecord['state']): OwnershipRecord {
    const { guest, epoch, id, names } = this.#world
    // From the first record on: who dies with pages that nobody else has takes the guest along (R22). So it does in soft, in which
    // a destination is prepared without the stale pages and without any vCPU.
    const pull = this.#pulls || shares(this.#world.settings.movement) ? { pull: true } : {}
    const peer = names.destination
    return { version: 1, guest: guest.id, epoch, state, migration: id, role: 'source', peer, ...pull }
  }
}
