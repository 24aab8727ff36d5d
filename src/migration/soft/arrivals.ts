// What came by the exchange, at the side that takes it: a vCPU goes on where it stood still, and pages become present (R8) so
// that an access needs no fence any more. Used by both sides, for a cancelled migration brings everything back.

import type { GuestMemory } from '../../guest/memory.ts'
import { PRESENCE } from '../../guest/presence.ts'
import { isOurs, presenceOf } from '../../guest/sharing.ts'
import { PUBLISH_INTERVAL_MS } from '../../limits.ts'
import type { Clock, PageExchange, Vcpus } from '../ports.ts'

const { installed, present } = PRESENCE

export interface ArrivalOptions {
  readonly memory: GuestMemory
  readonly vcpus: Vcpus
  readonly clock: Clock
  readonly exchange: PageExchange
  /** One more vCPU runs here; so many do. */
  readonly onArrived?: (here: number) => void
}

export class Arrivals {
  /** The vCPUs that are here. */
  readonly here: Set<number>
  readonly #options: ArrivalOptions
  readonly #over = new AbortController()
  #received = 0

  constructor(options: ArrivalOptions, here: Iterable<number>) {
    this.#options = options
    this.here = new Set(here)
    const { vcpus, exchange, onArrived } = options
    exchange.onArrived((vcpu, state) => {
      vcpus.loadOne(vcpu, state)
      this.here.add(vcpu)
      vcpus.release(vcpu)
      onArrived?.(this.here.size)
    })
    this.#publishForever().catch(() => {})
  }

  /** Resolves when every vCPU and every page is here: the other side gives what it still gets. */
  async all(): Promise<void> {
    const { memory, clock } = this.#options
    const presence = presenceOf(memory)
    while (this.here.size < memory.layout.vcpus || !presence.every(isOurs)) {
      await clock.sleep(PUBLISH_INTERVAL_MS, this.#over.signal)
    }
  }

  end(): void {
    this.#over.abort(new Error('over'))
  }

  async #publishForever(): Promise<void> {
    const { clock, exchange } = this.#options
    for (;;) {
      await clock.sleep(PUBLISH_INTERVAL_MS, this.#over.signal)
      const { received } = exchange.counts
      if (received === this.#received) continue
      // A vCPU that is slow to answer puts it off.
      if (await this.#publish().catch(() => false)) this.#received = received
    }
  }

  /** Pages may be taken away meanwhile, so each is exchanged by itself; those that come meanwhile wait for the next time. */
  async #publish(): Promise<boolean> {
    const presence = presenceOf(this.#options.memory)
    const pages: number[] = []
    for (let page = presence.indexOf(installed); page !== -1; page = presence.indexOf(installed, page + 1))
      pages.push(page)
    if (pages.length === 0) return true
    await this.#options.vcpus.handshake()
    for (const page of pages) Atomics.compareExchange(presence, page, installed, present)
    return true
  }
}
