// Where a guest may be: the addresses that its processes and the agents name, and a line to each. A line that is lost is
// dialled again for as long as it may be needed. Used by guest-backend.ts.

import { MAX_PLACES, PLACE_ALIAS_MS, REDIAL_FIRST_MS, REDIAL_MAX_MS } from '../limits.ts'
import { placeKey } from '../wire/host-key.ts'
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
  dialledAt: number
}

/** A place that could not be reached so often is forgotten: somebody will name it again. */
const MOST_FAILURES = 8

export class Places {
  readonly #dial: (address: Address) => GuestLine
  readonly #places = new Map<string, Place>()
  /** Other names of places, by what became of lines that were dialled by them: the line that is there, and until when. */
  readonly #aliases = new Map<string, { line: GuestLine; until: number }>()

  constructor(dial: (address: Address) => GuestLine) {
    this.#dial = dial
  }

  lines(): GuestLine[] {
    return [...this.#places.values()].flatMap(({ line }) => (line === null ? [] : [line]))
  }

  /** Somebody named that address: it is dialled at once if there is no line to it. */
  name({ host, port }: Address, now: number): void {
    const key = placeKey({ host, port })
    if (this.#isAlias(key, now)) return
    let place = this.#places.get(key)
    if (place === undefined) {
      if (!this.#hasRoom()) return
      place = { host, port, line: null, failures: 0, dialAt: now, dialledAt: 0 }
      this.#places.set(key, place)
    }
    if (place.line === null && (place.failures === 0 || place.dialAt <= now)) this.#dialAt(place, now)
  }

  onReady(line: GuestLine): void {
    const place = this.#of(line)
    if (place !== undefined) place.failures = 0
  }

  /**
   * `not-guest`: what is there is not the guest. `replaced`: another line of this gateway leads there, by another name. `lost`:
   * anything else.
   */
  onClosed(line: GuestLine, now: number, why: 'lost' | 'not-guest' | 'replaced'): void {
    const place = this.#of(line)
    if (place === undefined) return
    if (why === 'replaced') this.#noteAlias(place, now)
    place.line = null
    place.dialAt = now + Math.min(REDIAL_MAX_MS, REDIAL_FIRST_MS * 2 ** place.failures)
    place.failures++
    if (why !== 'lost' || place.failures > MOST_FAILURES) this.#places.delete(placeKey(place))
  }

  /** Dials what is due; `passedMs` since the tick before. */
  tick(now: number, passedMs: number): void {
    for (const place of this.#places.values()) {
      if (place.line === null && place.dialAt <= now) this.#dialAt(place, now)
      else place.line?.watch(passedMs)
    }
  }

  close(): void {
    for (const { line } of this.#places.values()) line?.close()
    this.#places.clear()
  }

  #dialAt(place: Place, now: number): void {
    place.dialledAt = now
    place.line = this.#dial(place)
  }

  /** The line that took the place of this one's goes to the same port, and was dialled last. */
  #noteAlias(place: Place, now: number): void {
    const others = [...this.#places.values()].filter((each) => each !== place && each.port === place.port)
    const { line = null } = others.sort((a, b) => b.dialledAt - a.dialledAt).find((each) => each.line !== null) ?? {}
    if (line === null) return
    if (this.#aliases.size >= MAX_PLACES) this.#aliases.clear()
    this.#aliases.set(placeKey(place), { line, until: now + PLACE_ALIAS_MS })
  }

  /** Whether a line goes there by another name; without one the name is as good as any. */
  #isAlias(key: string, now: number): boolean {
    const other = this.#aliases.get(key)
    if (other === undefined) return false
    if (!other.line.closed && now < other.until) return true
    this.#aliases.delete(key)
    return false
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
