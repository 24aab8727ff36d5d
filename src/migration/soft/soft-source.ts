// The soft way from the rounds to the end, for source-session.ts: coherent accessors from the first round on, the switch that
// nobody feels, the time in which both hosts serve, and what is left when it ends at the destination or is called off.

import { GodwitError } from '../../errors.ts'
import { beginSharing, settleHomes } from '../../guest/sharing.ts'
import type { MessageOf } from '../../wire/messages.ts'
import type { PageExchange } from '../ports.ts'
import { requireProven } from '../proof.ts'
import { recordFaults } from '../pulled.ts'
import type { SourceContext } from '../source-context.ts'
import type { SourceLinks } from '../source-links.ts'
import type { SourceOwnership } from '../source-ownership.ts'
import { Narrowing } from './narrowing.ts'
import { nameStale } from './offer.ts'
import { SourceSharing } from './source-sharing.ts'

export class SoftSource {
  readonly #context: SourceContext
  readonly #links: SourceLinks
  readonly #ownership: SourceOwnership
  #exchange: PageExchange | null = null
  #narrowing: Narrowing | null = null
  #sharing: SourceSharing | null = null
  /** Pages that the destination did not have at the switch. */
  #stale = 0

  constructor(context: SourceContext, links: SourceLinks, ownership: SourceOwnership) {
    this.#context = context
    this.#links = links
    this.#ownership = ownership
  }

  /** Before the first round: from here on it is noted which vCPU uses which page. */
  async begin(): Promise<void> {
    const { memory, vcpus } = this.#context
    beginSharing(memory, true)
    await vcpus.setShared(true)
  }

  get paused(): string | null {
    return this.#sharing?.paused ?? null
  }

  /** R24: false: too late, or not yet begun. */
  cancel(why: GodwitError): boolean {
    return this.#sharing?.cancel(why) ?? false
  }

  end(error: GodwitError): void {
    this.#sharing?.end(error)
  }

  /** True: the guest is the destination's. False: it is here, or nowhere, and the report says so. Throws before *shared*. */
  async run(round: number): Promise<boolean> {
    const { report, orInterrupt } = this.#context
    const { facts } = report
    report.enter('stop')
    this.#narrowing = new Narrowing(this.#context, round)
    this.#exchange = this.#context.exchange(() => this.#quiet())
    if (this.#exchange === null) throw new GodwitError('internal', 'soft without an exchange')
    // No round has set it.
    if (round === 0) this.#exchange.setBandwidth(this.#context.settings.bandwidth)
    const { digest, free, stale } = await nameStale(this.#context, round)
    this.#stale = stale
    this.#narrowing.toldFree = free
    report.enter('commit')
    const prepared = await orInterrupt(this.#links.inbox.next('prepared'))
    if (digest !== null) facts.checks.digest = prepared.digest === digest
    requireProven(prepared.digest, digest)
    settleHomes(this.#context.memory)
    this.#ownership.apply('share')
    facts.owner = 'nobody'
    const sharing = new SourceSharing(this.#context, this.#links, this.#ownership, this.#exchange, this.#narrowing)
    this.#sharing = sharing
    const ended = await sharing.run()
    this.#record(sharing)
    if (ended.where === 'destination') {
      facts.owner = 'destination'
      facts.outcome = 'completed'
      if (ended.complete !== null) this.#recordCrossings(sharing, ended.complete)
      return true
    }
    const { where, error } = ended
    facts.owner = where === 'here' ? 'source' : 'nobody'
    report.fail(error, where === 'nowhere' ? 'lost' : error.code === 'cancelled' ? 'cancelled' : 'failed')
    if (where === 'here') await this.letRun()
    return false
  }

  /** The guest is here, all of it: as it was before, with plain accessors. */
  async letRun(): Promise<void> {
    // A vCPU that is slow to obey runs on with accessors that test what is always there.
    await this.#context.vcpus.setShared(false).catch(() => {})
  }

  /** At the socket of the exchange so far. */
  get bytes(): { sent: number; received: number } {
    const counts = this.#exchange?.counts
    return { sent: counts?.sentBytes ?? 0, received: counts?.receivedBytes ?? 0 }
  }

  async close(): Promise<void> {
    await this.#exchange?.close()
  }

  /** R11: before pages are given. What is under way in a round is placed first. */
  async #quiet(): Promise<void> {
    await this.#context.vcpus.handshake()
    await this.#narrowing?.settled()
  }

  #record(sharing: SourceSharing): void {
    const { facts } = this.#context.report
    const {
      pushed,
      asked,
      withoutData,
      received,
      pingPong: pingPongPages,
      again,
    } = (this.#exchange as PageExchange).counts
    const ahead = this.#narrowing?.placed ?? { pages: 0, again: 0 }
    facts.soft = {
      staleAtSwitch: this.#stale,
      dualServingMs: (sharing.dualTo ?? 0) - (sharing.dualFrom ?? 0),
      crossingMs: [],
      moves: {
        push: pushed,
        pull: asked,
        ahead: ahead.pages,
        again: again + ahead.again,
        withoutData,
        returned: received,
        pingPongPages,
      },
      recoveries: sharing.recoveries,
      servedBySource: sharing.served,
      servedByDestination: 0,
    }
  }

  /** Downtime of a vCPU: from when it was told to stand still here to its first step there. */
  #recordCrossings(sharing: SourceSharing, complete: MessageOf<'complete'>): void {
    const { control, report } = this.#context
    const { facts } = report
    recordFaults(facts, complete)
    const leftAt = complete.shared?.leftAt ?? []
    const crossings = [...sharing.heldAt].map(([vcpu, heldAt]) => {
      const left = leftAt[vcpu]
      return left === undefined ? 0 : Math.max(0, Number(left - this.#offsetNs() - heldAt) / 1e6)
    })
    facts.vcpuDowntimesMs = crossings
    facts.downtimeMs = Math.max(0, ...crossings)
    facts.clockErrorMs = this.#context.sameHost() ? 0 : control.roundTripMs / 2
    if (facts.soft !== undefined) {
      facts.soft = { ...facts.soft, crossingMs: crossings, servedByDestination: complete.shared?.served ?? 0 }
    }
  }

  #offsetNs(): bigint {
    return this.#context.sameHost() ? 0n : this.#context.control.clockOffsetNs
  }
}
