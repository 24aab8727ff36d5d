// What came by the exchange, at the side that takes it: a vCPU goes on where it stood still. Pages are the exchange thread's.
// Used by both sides, for a cancelled migration brings everything back.

import type { GuestMemory } from '../../guest/memory.ts'
import { allOurs, isOurs, presenceOf } from '../../guest/sharing.ts'
import type { Clock, PageExchange, Vcpus } from '../ports.ts'

/** How often a side looks whether everything is there once the other has nothing. */
const LOOK_MS = 1

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
  }

  /** Resolves when every vCPU and every page is here: the other side gives what it still gets. */
  async all(): Promise<void> {
    while (!this.whole) await this.#options.clock.sleep(LOOK_MS, this.#over.signal)
  }

  /** Every vCPU and every page is here, and none is on its way. */
  get whole(): boolean {
    const { memory } = this.#options
    return this.here.size === memory.layout.vcpus && allOurs(presenceOf(memory))
  }

  /** Nothing of the guest is here. */
  get empty(): boolean {
    return this.here.size === 0 && !presenceOf(this.#options.memory).some(isOurs)
  }

  end(): void {
    this.#over.abort(new Error('over'))
  }
}
