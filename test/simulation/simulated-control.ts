// A control connection between two simulated hosts: ordered, with latency, that can be cut or stalled. What is in
// flight at a cut is lost. Messages cross as encoded frames would: cloned, so that nobody shares an object.

import { GodwitError } from '../../src/errors.ts'
import type { ControlLink } from '../../src/migration/ports.ts'
import type { ControlMessage } from '../../src/wire/messages.ts'
import type { VirtualClock } from './virtual-clock.ts'

class End implements ControlLink {
  readonly bytes = { sent: 0, received: 0 }
  readonly roundTripMs: number
  readonly clockOffsetNs = 0n
  readonly #queue: ControlMessage[] = []
  readonly #send: (message: ControlMessage) => void
  readonly #close: () => void
  #waiting: { resolve(message: ControlMessage): void; reject(error: GodwitError): void } | null = null
  #failure: GodwitError | null = null

  constructor(roundTripMs: number, send: (message: ControlMessage) => void, close: () => void) {
    this.roundTripMs = roundTripMs
    this.#send = send
    this.#close = close
  }

  send(message: ControlMessage): void {
    if (this.#failure !== null) return
    this.bytes.sent += 64
    this.#send(structuredClone(message))
  }

  async flushed(): Promise<void> {}

  receive(): Promise<ControlMessage> {
    const message = this.#queue.shift()
    if (message !== undefined) return Promise.resolve(message)
    if (this.#failure !== null) return Promise.reject(this.#failure)
    return new Promise((resolve, reject) => {
      this.#waiting = { resolve, reject }
    })
  }

  close(): void {
    this.#close()
  }

  deliver(message: ControlMessage): void {
    if (this.#failure !== null) return
    this.bytes.received += 64
    if (this.#waiting === null) {
      this.#queue.push(message)
      return
    }
    const { resolve } = this.#waiting
    this.#waiting = null
    resolve(message)
  }

  fail(error: GodwitError): void {
    if (this.#failure !== null) return
    this.#failure = error
    this.#waiting?.reject(error)
    this.#waiting = null
  }
}

export class SimulatedControl {
  readonly source: ControlLink
  readonly destination: ControlLink
  readonly #ends: [End, End]
  readonly #clock: VirtualClock
  readonly #latencyMs: number
  #cut = false
  #stalledUntil = 0
  #lastDelivery = 0

  constructor(clock: VirtualClock, latencyMs: number) {
    this.#clock = clock
    this.#latencyMs = latencyMs
    const ends: [End, End] = [
      new End(
        2 * latencyMs,
        (message) => this.#carry(ends[1], message),
        () => this.#hangUp(),
      ),
      new End(
        2 * latencyMs,
        (message) => this.#carry(ends[0], message),
        () => this.#hangUp(),
      ),
    ]
    this.#ends = ends
    this.source = ends[0]
    this.destination = ends[1]
  }

  /** Loses what is in flight; each side notices a little later, on its own. */
  cut(noticeSourceMs: number, noticeDestinationMs: number): void {
    if (this.#cut) return
    this.#cut = true
    const lost = (): GodwitError => new GodwitError('link-lost', 'the simulated link was cut')
    this.#clock.after(noticeSourceMs, () => this.#ends[0].fail(lost()))
    this.#clock.after(noticeDestinationMs, () => this.#ends[1].fail(lost()))
  }

  stall(ms: number): void {
    this.#stalledUntil = Math.max(this.#stalledUntil, this.#clock.now() + ms)
  }

  #carry(to: End, message: ControlMessage): void {
    if (this.#cut) return
    const start = Math.max(this.#clock.now(), this.#stalledUntil)
    this.#lastDelivery = Math.max(this.#lastDelivery, start + this.#latencyMs)
    this.#clock.after(this.#lastDelivery - this.#clock.now(), () => {
      if (!this.#cut) to.deliver(message)
    })
  }

  /** An orderly close: what was sent before still arrives. */
  #hangUp(): void {
    this.#clock.after(2 * this.#latencyMs + Math.max(0, this.#stalledUntil - this.#clock.now()), () => this.cut(0, 0))
  }
}
