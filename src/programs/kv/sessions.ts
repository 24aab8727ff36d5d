// Exactly once (R30): what a vCPU knows of its gateways, in the last pages of its share, so that it moves along. Per gateway
// the last executed sequence, and in a ring the replies that the gateway may still ask for. Like a shard, the object has
// no state beyond a hint; a new one over the same bytes goes on exactly.
//
//   pages    │ header: positions, gateways, numbers turned away │ ring: … free … │ oldest record … newest │ … free … │
//   record   │ gateway u32 │ length u32 │ sequence f64 │ the reply, to 8 bytes │           gateway 0: of nobody any more
//
// Positions are below twice the ring's size: when the oldest record lies in the second half both come down by a ring, and
// they begin anew whenever the ring is empty, so that a gateway that keeps up dirties few pages.

import { assert } from '../../errors.ts'
import type { Accessors } from '../../guest/accessors.ts'
import { KV_GATEWAY_QUIET_MS, KV_MAX_GATEWAYS, PAGE_BYTES, SERVICE_REPLY_BYTES } from '../../limits.ts'
import { copyIn, copyOut } from './copying.ts'
import type { PageRange } from './shares.ts'
import { TurnedAway } from './turned-away.ts'

/** Byte offsets in the header page: u32 positions of the oldest record and behind the newest; the gateways; those turned away. */
const HEADER = { oldest: 0, end: 4, gateways: 64, turnedAway: 1024 } as const
/** Byte offsets of a gateway: u32, then f64 each; `seen` is the guest's time of its last request. */
const GATEWAY = { bytes: 32, number: 0, executed: 8, acknowledged: 16, seen: 24 } as const
const RECORD = { bytes: 16, gateway: 0, length: 4, sequence: 8 } as const

const sizeOf = (length: number): number => RECORD.bytes + ((length + 7) & ~7)

/** A session is the address of its gateway in the header; 0 is none. */
export class Sessions {
  /** A reply of so many bytes has room in an empty ring twice over, or nearly. */
  readonly maxReplyBytes: number
  readonly turnedAway: TurnedAway
  readonly #accessors: Accessors
  readonly #header: number
  readonly #ring: number
  readonly #ringBytes: number
  /** A hint: position of the record behind the one that was recalled last; replies are recalled in order. */
  #next = 0
  /** Holds nothing from one call to the next. */
  readonly #piece = new Uint8Array(PAGE_BYTES)

  constructor(accessors: Accessors, { from, to }: PageRange) {
    this.#accessors = accessors
    this.#header = from * PAGE_BYTES
    this.#ring = this.#header + PAGE_BYTES
    this.#ringBytes = (to - from - 1) * PAGE_BYTES
    this.turnedAway = new TurnedAway(accessors, this.#header + HEADER.turnedAway)
    this.maxReplyBytes = Math.min(SERVICE_REPLY_BYTES, this.#ringBytes / 2 + 64)
  }

  find(gateway: number): number {
    for (let index = 0; index < KV_MAX_GATEWAYS; index++) {
      const session = this.#sessionAt(index)
      if (this.gateway(session) === gateway) return session
    }
    return 0
  }

  /**
   * A session for a gateway that has none and was not turned away; one of a gateway that is quiet for long makes room. 0: there are
   * too many, and it is turned away.
   */
  admit(gateway: number, nowMs: number): number {
    assert(gateway > 0, 'gateways are numbered from 1')
    let session = this.find(0)
    if (session === 0) {
      session = this.#quietest()
      if (nowMs - this.#accessors.loadF64(session + GATEWAY.seen) < KV_GATEWAY_QUIET_MS) {
        this.turnedAway.note(gateway, 'refused')
        return 0
      }
      this.forget(session)
    }
    this.#accessors.storeU32(session + GATEWAY.number, gateway)
    this.#accessors.storeF64(session + GATEWAY.seen, nowMs)
    return session
  }

  gateway(session: number): number {
    return this.#accessors.loadU32(session + GATEWAY.number)
  }

  /** The last executed sequence. */
  executed(session: number): number {
    return this.#accessors.loadF64(session + GATEWAY.executed)
  }

  /** The gateway has all replies up to this sequence. */
  acknowledged(session: number): number {
    return this.#accessors.loadF64(session + GATEWAY.acknowledged)
  }

  acknowledge(session: number, sequence: number): void {
    const all = Math.min(sequence, this.executed(session))
    if (!(all > this.acknowledged(session))) return
    this.#accessors.storeF64(session + GATEWAY.acknowledged, all)
    this.#release(this.gateway(session), all)
  }

  /** Whether every reply that may come has room. */
  hasRoom(): boolean {
    return this.#ringBytes - (this.#endAt() - this.#oldestAt()) >= sizeOf(this.maxReplyBytes)
  }

  /**
   * Gives back what was acknowledged behind records that were not, so that a slow gateway keeps no more than its own
   * replies. Takes a while for each byte that is kept.
   */
  compact(): void {
    const accessors = this.#accessors
    const end = this.#endAt()
    let kept = this.#oldestAt()
    for (let position = kept; position < end; ) {
      const size = this.#sizeAt(position)
      if (this.#mayBeAskedFor(position)) {
        if (kept < position) this.#move(position, kept, size)
        kept += size
      }
      position += size
    }
    this.#next = 0
    accessors.storeU32(this.#header + HEADER.end, kept)
  }

  /** Notes that the session's next request was executed, with its reply. There is room for it. */
  record(session: number, reply: Uint8Array, length: number, nowMs: number): void {
    const accessors = this.#accessors
    const sequence = this.executed(session) + 1
    const end = this.#endAt()
    const size = sizeOf(length)
    assert(end + size - this.#oldestAt() <= this.#ringBytes, 'no room for a reply')
    accessors.storeU32(this.#at(end + RECORD.gateway), this.gateway(session))
    accessors.storeU32(this.#at(end + RECORD.length), length)
    accessors.storeF64(this.#at(end + RECORD.sequence), sequence)
    const to = this.#at(end + RECORD.bytes)
    if ((to % PAGE_BYTES) + length <= PAGE_BYTES) copyIn(accessors, to, reply, 0, length)
    else this.#eachPiece(end + RECORD.bytes, length, (at, done, count) => copyIn(accessors, at, reply, done, count))
    accessors.storeU32(this.#header + HEADER.end, end + size)
    accessors.storeF64(session + GATEWAY.executed, sequence)
    accessors.storeF64(session + GATEWAY.seen, nowMs)
  }

  /** The reply of an executed request; null: it was acknowledged. */
  recall(session: number, sequence: number): Uint8Array | null {
    if (sequence <= this.acknowledged(session) || sequence > this.executed(session)) return null
    const gateway = this.gateway(session)
    const begin = this.#next >= this.#oldestAt() && this.#next < this.#endAt() ? this.#next : this.#oldestAt()
    const found = this.#search(gateway, sequence, begin, this.#endAt())
    const position = found >= 0 ? found : this.#search(gateway, sequence, this.#oldestAt(), begin)
    assert(position >= 0, `no reply is kept for request ${sequence} of gateway ${gateway}`)
    const length = this.#accessors.loadU32(this.#at(position + RECORD.length))
    const reply = new Uint8Array(length)
    this.#eachPiece(position + RECORD.bytes, length, (address, at, count) =>
      copyOut(this.#accessors, address, reply, at, count),
    )
    this.#next = position + sizeOf(length)
    return reply
  }

  /** Forgets whoever did not acknowledge the oldest reply that is kept; false: it is the session that asks, which is not gone. */
  forgetOldest(asking: number): boolean {
    const oldest = this.find(this.#accessors.loadU32(this.#at(this.#oldestAt())))
    if (oldest === asking) return false
    this.forget(oldest)
    return true
  }

  /** The gateway loses its place; should it come again, it is told so. Takes a while for each reply that is kept. */
  forget(session: number): void {
    const accessors = this.#accessors
    const gateway = this.gateway(session)
    for (let position = this.#oldestAt(); position < this.#endAt(); position += this.#sizeAt(position)) {
      const owner = this.#at(position + RECORD.gateway)
      if (accessors.loadU32(owner) === gateway) accessors.storeU32(owner, 0)
    }
    for (let at = 0; at < GATEWAY.bytes; at += 4) accessors.storeU32(session + at, 0)
    this.turnedAway.note(gateway, 'forgotten')
    this.#release()
  }

  /** Methods, as V8 calls its runtime for each private getter. */
  #oldestAt(): number {
    return this.#accessors.loadU32(this.#header + HEADER.oldest)
  }

  #endAt(): number {
    return this.#accessors.loadU32(this.#header + HEADER.end)
  }

  #sessionAt(index: number): number {
    return this.#header + HEADER.gateways + index * GATEWAY.bytes
  }

  #quietest(): number {
    const seen = (session: number): number => this.#accessors.loadF64(session + GATEWAY.seen)
    let quietest = this.#sessionAt(0)
    for (let index = 1; index < KV_MAX_GATEWAYS; index++) {
      if (seen(this.#sessionAt(index)) < seen(quietest)) quietest = this.#sessionAt(index)
    }
    return quietest
  }

  /** Gives back the oldest records as far as nobody may ask for them: not that gateway, which has all up to a sequence. */
  #release(gateway = 0, acknowledged = 0): void {
    const accessors = this.#accessors
    const end = this.#endAt()
    const begin = this.#oldestAt()
    let position = begin
    while (position < end) {
      const owner = accessors.loadU32(this.#at(position + RECORD.gateway))
      if (owner !== gateway) {
        if (this.#mayBeAskedFor(position)) break
      } else if (owner !== 0 && accessors.loadF64(this.#at(position + RECORD.sequence)) > acknowledged) break
      position += this.#sizeAt(position)
    }
    if (position === begin) return
    const whole = position === end ? end : position >= this.#ringBytes ? this.#ringBytes : 0
    if (whole > 0) {
      // The hint is of the old positions.
      this.#next = 0
      accessors.storeU32(this.#header + HEADER.end, end - whole)
    }
    accessors.storeU32(this.#header + HEADER.oldest, position - whole)
  }

  #mayBeAskedFor(position: number): boolean {
    const gateway = this.#accessors.loadU32(this.#at(position + RECORD.gateway))
    const session = gateway === 0 ? 0 : this.find(gateway)
    const sequence = this.#accessors.loadF64(this.#at(position + RECORD.sequence))
    return session !== 0 && sequence > this.acknowledged(session)
  }

  /** Moves bytes of the ring to a lower position, which they may overlap. */
  #move(from: number, to: number, size: number): void {
    for (let done = 0; done < size; done += PAGE_BYTES) {
      const count = Math.min(size - done, PAGE_BYTES)
      const accessors = this.#accessors
      this.#eachPiece(from + done, count, (address, at, length) => copyOut(accessors, address, this.#piece, at, length))
      this.#eachPiece(to + done, count, (address, at, length) => copyIn(accessors, address, this.#piece, at, length))
    }
  }

  /** Position of a record between two others; -1: it is not there. */
  #search(gateway: number, sequence: number, from: number, to: number): number {
    const accessors = this.#accessors
    for (let position = from; position < to; position += this.#sizeAt(position)) {
      const same = accessors.loadU32(this.#at(position + RECORD.gateway)) === gateway
      if (same && accessors.loadF64(this.#at(position + RECORD.sequence)) === sequence) return position
    }
    return -1
  }

  #sizeAt(position: number): number {
    return sizeOf(this.#accessors.loadU32(this.#at(position + RECORD.length)))
  }

  #at(position: number): number {
    return this.#ring + (position < this.#ringBytes ? position : position - this.#ringBytes)
  }

  /** R6: an access lies within one page. */
  #eachPiece(position: number, length: number, copy: (address: number, at: number, count: number) => void): void {
    for (let done = 0; done < length; ) {
      const address = this.#at(position + done)
      const count = Math.min(length - done, PAGE_BYTES - (address % PAGE_BYTES))
      copy(address, done, count)
      done += count
    }
  }
}
