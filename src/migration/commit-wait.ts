// The source between *released* and the destination's word: whoever was given the guest must say that it runs, or its
// agent must say that it never will. Links come and go meanwhile; nothing but such a word ends the wait (R18, R20).

import { GodwitError } from '../errors.ts'
import type { SourceState } from './commit-machine.ts'
import { redialledInTime } from './redial.ts'
import type { ReportBuilder } from './report-builder.ts'
import { pulls } from './settings.ts'
import type { SourceWorld } from './source-context.ts'
import type { SourceLinks } from './source-links.ts'
import type { SourceOwnership } from './source-ownership.ts'

/** How long a released guest may be in doubt before the report says `unreconciled`; reconciling goes on after it. */
const DOUBT_MS = 10_000

/** What the destination says of the switch; without stamps when its agent said it. */
export interface Active {
  readonly leftAt: bigint[]
  readonly activateMs: number
}

/** A guest whose memory was spread over both hosts when one of them went away (R22). */
export function reportLoss(report: ReportBuilder, state: SourceState): void {
  const stale = state === 'reclaimed'
  const message = stale
    ? 'the operator took the guest back as it was at the switch'
    : 'the destination process died while it pulled: neither host has all of the memory'
  const hint = 'give it up: godwit resolve GUEST --abandon, or go back to the switch: godwit resolve GUEST --take-stale'
  report.fail(new GodwitError('lost', message, stale ? {} : { hint }), 'lost')
  report.facts.owner = stale ? 'source' : 'nobody'
}

export class CommitWait {
  readonly #world: SourceWorld
  readonly #links: SourceLinks
  readonly #ownership: SourceOwnership
  readonly #report: ReportBuilder

  constructor(world: SourceWorld, links: SourceLinks, ownership: SourceOwnership, report: ReportBuilder) {
    this.#world = world
    this.#links = links
    this.#ownership = ownership
    this.#report = report
  }

  /** Goes on after the report, until somebody has spoken or the signal aborts. */
  async settle(signal: AbortSignal): Promise<void> {
    while (this.#ownership.state === 'released' && !signal.aborted) await this.#hear(signal)
  }

  /** R18: behind the commit point only the destination's word, or its agent's, ends the wait. */
  async active(): Promise<Active | null> {
    const { clock } = this.#world
    const doubtFrom = clock.now()
    const never = new AbortController().signal
    for (;;) {
      const active = await this.#hear(never)
      if (active !== null) return active
      if (this.#ownership.state === 'reclaimed' || this.#ownership.state === 'lost') return null
      if (clock.now() - doubtFrom > DOUBT_MS) return this.#leaveUnreconciled()
    }
  }

  /** One turn of waiting for the destination: a message, or, when the link is lost, its agent's word or a redial. */
  async #hear(signal: AbortSignal): Promise<Active | null> {
    try {
      const message = await this.#links.inbox.any(({ type }) => type === 'active' || type === 'ask')
      if (signal.aborted) return null
      if (message.type === 'active') return this.#accepted(message)
      this.#ownership.apply('ask')
      return null
    } catch {
      if (signal.aborted) return null
      this.#ownership.apply('cut')
    }
    const verdict = await this.#world.askPeerAgent()
    if (signal.aborted) return null
    if (verdict === 'dropped') return this.#reclaim()
    if (verdict === 'owner') return this.#accepted({ leftAt: [], activateMs: 0 })
    if (verdict === 'lost') {
      this.#ownership.apply('peer-lost')
      reportLoss(this.#report, 'lost')
      return null
    }
    await this.#awaitRedial(signal)
    return null
  }

  #accepted<T>(active: T): T {
    if (pulls(this.#world.settings.movement)) {
      this.#ownership.apply('active-pulling')
      return active
    }
    this.#ownership.apply('active')
    this.#report.facts.owner = 'destination'
    this.#report.facts.outcome = 'completed'
    return active
  }

  async #awaitRedial(signal: AbortSignal): Promise<void> {
    // Null: nobody dialled in time; the caller asks the agent again.
    const control = await redialledInTime(this.#world, signal).catch(() => null)
    if (control === null) return
    this.#links.use(control)
    this.#ownership.control = control
  }

  /** R20: the destination's process died before it owned the guest, and its agent has written *dropped*. */
  #reclaim(): null {
    this.#ownership.apply('peer-dropped')
    const error = new GodwitError('peer-dead', 'the destination process died during the commit', {
      side: 'destination',
      hint: 'the guest runs at the source again; migrate once more',
    })
    this.#report.fail(error, 'failed')
    this.#report.facts.owner = 'source'
    return null
  }

  #leaveUnreconciled(): null {
    const error = new GodwitError('unreconciled', 'the destination cannot be reached behind the commit point', {
      side: 'source',
      hint: 'the guest is paused here; when its host is dead for good: godwit resolve GUEST --take --peer-is-dead',
    })
    this.#report.fail(error, 'unreconciled')
    return null
  }
}
