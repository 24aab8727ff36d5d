// Time that passes only when nobody has anything left to do. Everything in the simulation waits on this clock, so a
// run is the same for the same seed on any machine.

import { setImmediate as turn } from 'node:timers/promises'
import type { Clock } from '../../src/migration/ports.ts'

interface Appointment {
  readonly at: number
  readonly order: number
  run(): void
}

export class VirtualClock implements Clock {
  #now = 0
  #order = 0
  #appointments: Appointment[] = []

  now(): number {
    return this.#now
  }

  nowNs(): bigint {
    return BigInt(Math.round(this.#now * 1e6))
  }

  /** Runs `what` when `ms` have passed. */
  after(ms: number, what: () => void): void {
    const appointment = { at: this.#now + Math.max(0, ms), order: this.#order++, run: what }
    const index = this.#appointments.findIndex(({ at }) => at > appointment.at)
    this.#appointments.splice(index < 0 ? this.#appointments.length : index, 0, appointment)
  }

  sleep(ms: number, signal?: AbortSignal): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    if (signal?.aborted) reject(signal.reason)
    signal?.addEventListener('abort', () => reject(signal.reason), { once: true })
    this.after(ms, resolve)
    return promise
  }

  /** Lets time pass until `done` settles; throws when it would pass `limitMs`. */
  async run<T>(done: Promise<T>, limitMs: number): Promise<T> {
    let settled = false
    const end = (): void => {
      settled = true
    }
    done.then(end, end)
    for (;;) {
      await turn()
      if (settled) return await done
      const next = this.#appointments.shift()
      if (next === undefined) throw new Error(`nothing will ever happen again at ${this.#now} ms`)
      if (next.at > limitMs) throw new Error(`still not done at ${limitMs} ms of virtual time`)
      this.#now = next.at
      next.run()
    }
  }
}
