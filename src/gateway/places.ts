// Where a guest may be: the addresses that its processes and the agents name, and a line to each. A line that is lost is
// dialled again for as long as it may be needed. Used by guest-backend.ts.

import { MAX_PLACES, REDIAL_FIRST_MS, REDIAL_MAX_MS } from '../limits.ts'
import type { GuestLine } from './guest-line.ts'

export interface Address {
  readonly host: string
  readonly port: number
}

export interface Place extends Address {
  line: GuestLine | null
  failures: number
  /** performance.now(). */
  dialAt: number
}

/** A place that could not be reached so often is forgotten: somebody will name it again. */
const MOST_FAILURES = 8

export class Places {
  readonly #dial: (address: Address) => GuestLine
  readonly #places = new Map<string, Place>()

  constructor(dial: (address: Address) => GuestLine) {
    this.#dial = dial
  }

  lines(): GuestLine[] {
    return [...this.#places.values()].flatMap(({ line }) => (line === null ? [] : [line]))
  }

  /** Somebody named that address: it is dialled at once if there is no line to it. */
  name({ host, port }: Address, now: number): void {
    const key = `${host} ${port}`
    let place = this.#places.get(key)
    if (place === undefined) {
      if (!this.#hasRoom()) return
      place = { host, port, line: null, failures: 0, dialAt: now }
      this.#places.set(key, place)
    }
    if (place.line === null && (place.failures === 0 || place.dialAt <= now)) place.line = this.#dial(place)
  }

  onReady(line: GuestLine): void {
    const place = this.#of(line)
    if (place !== undefined) place.failures = 0
  }

  /** `forGood`: what is there is not the guest, or wants no line. */
  onClosed(line: GuestLine, now: number, forGood: boolean): void {
    const place = this.#of(line)
    if (place === undefined) return
    place.line = null
    place.dialAt = now + Math.min(REDIAL_MAX_MS, REDIAL_FIRST_MS * 2 ** place.failures)
    place.failures++
    if (forGood || place.failures > MOST_FAILURES) this.#places.delete(`${place.host} ${place.port}`)
  }

  /** Dials what is due. */
  tick(now: number): void {
    for (const place of this.#places.values()) {
      if (place.line === null && place.dialAt <= now) place.line = this.#dial(place)
      else place.line?.watch(now)
    }
  }

  close(): void {
    for (const { line } of this.#places.values()) line?.close()
    this.#places.clear()
  }

  #of(line: GuestLine): Place | undefined {
    return [...this.#places.values()].find((place) => place.line === line)
  }

  /** The oldest place where no vCPU is goes, if they are too many. */
  #hasRoom(): boolean {
    if (this.#places.size < MAX_PLACES) return true
    for (const [key, { line }] of this.#places) {
      if (line !== null && line.here.size > 0) continue
      this.#places.delete(key)
      line?.close()
      return true
    }
    return false
  }
}
