// The replies of one client in the order of its commands, whatever order they come in: a ring of what came early. Pure;
// client.ts has one for each client. Nothing is allocated for replies that come in turn.
//
//   tags:   …  head  head+1  …  next-1  │ next         head: whose turn it is; next: the tag of the command to come
//                    ▲ came early: kept

import { assert } from '../errors.ts'

const TAGS = 2 ** 30
const FIRST_PLACES = 16

export class ReplyOrder {
  /** The tag whose reply is to be written next. */
  head = 0
  /** Bytes of replies that came early. */
  keptBytes = 0
  #next = 0
  #kept = 0
  #places: (Uint8Array | undefined)[] = []

  /** Commands whose replies are not written. */
  get pending(): number {
    return (this.#next - this.head) & (TAGS - 1)
  }

  /** The tag of a command. */
  take(): number {
    const tag = this.#next
    this.#next = (tag + 1) & (TAGS - 1)
    return tag
  }

  /** Keeps a reply that is not the head's; the bytes must stay. */
  keep(tag: number, bytes: Uint8Array): void {
    const ahead = (tag - this.head) & (TAGS - 1)
    assert(ahead > 0 && ahead < this.pending, `a reply to command ${tag}, which nobody awaits`)
    if (ahead >= this.#places.length) this.#grow(ahead)
    const place = tag & (this.#places.length - 1)
    assert(this.#places[place] === undefined, `two replies to command ${tag}`)
    this.#places[place] = bytes
    this.#kept++
    this.keptBytes += bytes.length
  }

  /** The head's reply is written. The next one's when it is here already: write it, and call again. */
  pass(): Uint8Array | null {
    this.head = (this.head + 1) & (TAGS - 1)
    if (this.#kept === 0) return null
    const place = this.head & (this.#places.length - 1)
    const bytes = this.#places[place]
    if (bytes === undefined) return null
    this.#places[place] = undefined
    this.#kept--
    this.keptBytes -= bytes.length
    return bytes
  }

  #grow(ahead: number): void {
    const places: (Uint8Array | undefined)[] = new Array(Math.max(FIRST_PLACES, 2 ** Math.ceil(Math.log2(ahead + 1))))
    places.fill(undefined)
    const before = this.#places
    for (let from = 0; from < before.length; from++) {
      const tag = (this.head + from) & (TAGS - 1)
      places[tag & (places.length - 1)] = before[tag & (before.length - 1)]
    }
    this.#places = places
  }
}
