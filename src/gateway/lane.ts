// What goes to one vCPU: commands in the order in which they were sent, as requests of the wire, until their answers are here.
// Knows sequences and what may be sent again; knows nothing of lines. Pure but for the replies it hands out. Used by
// guest-backend.ts.
//
//   slots   head ─► answered next … │ sent ─► to be sent now … │ high ─► never sent … │ tail
//           sent < high: what lies between is sent again
//
// A sequence is given when a command is sent for the first time. What was never sent can be dropped; what was sent keeps its
// sequence until it is answered, even if nobody waits for it any more: then it is a PING to whoever has not executed it.

import {
  HOLD_MS,
  LANE_BYTES,
  LANE_COMMANDS,
  LANE_MIN_WINDOW,
  LANE_WINDOW,
  LANE_WINDOW_BYTES,
  REFUSED_LAST_MS,
  SERVICE_BATCH_BYTES,
} from '../limits.ts'
import { type Request, requestOf } from '../programs/kv/request.ts'
import { encodedBytes, encodeRequest, encodeRequestInto } from '../programs/kv/request-codec.ts'
import type { FrameBatch } from '../wire/frame-batch.ts'
import { REQUEST, REQUEST_HEAD_BYTES, requestSize, writeRequestHead } from '../wire/service-frames.ts'
import type { BackendError, ReplyTaker } from './backend.ts'
import { EntryStore } from './entry-store.ts'

const FIRST_SLOTS = 256
const PING = encodeRequest(requestOf('PING'))
/** A slot of no bytes: dropped, or never taken in. */
const NONE = 0

export class Lane {
  readonly vcpu: number
  /** The gateway's number for this vCPU. */
  number: number
  /** Commands that may be under way; smaller while the guest has no room for their replies. */
  #window = LANE_WINDOW
  readonly #store = new EntryStore()
  #mask = FIRST_SLOTS - 1
  /** Per slot: where its entry lies and its bytes; its sequence, 0: none yet; since when; how often it was sent. */
  #at = new Float64Array(FIRST_SLOTS)
  #size = new Uint32Array(FIRST_SLOTS)
  #sequence = new Float64Array(FIRST_SLOTS)
  #since = new Float64Array(FIRST_SLOTS)
  #times = new Uint8Array(FIRST_SLOTS)
  /** Null: nobody waits any more. Those are the oldest, up to `#called`. */
  #taker: (ReplyTaker | null)[] = new Array(FIRST_SLOTS).fill(null)
  #tag = new Uint32Array(FIRST_SLOTS)
  /** Slots, counted up for ever. */
  #head = 0
  #called = 0
  #sent = 0
  #high = 0
  #tail = 0
  #next = 1
  /** Bytes from `#head` to `#sent`: no more than have room in the vCPU's ring, as a full one keeps the line's other vCPUs waiting. */
  #flying = 0
  /** Of the session: answered up to here, and what the guest was told of it. */
  #answered = 0
  #acknowledged = 0
  /** Commands that somebody waits for. */
  #bytes = 0
  /** Up to here the guest had no place for them when it was asked last. */
  #refused = 0

  constructor(vcpu: number, number: number) {
    this.vcpu = vcpu
    this.number = number
  }

  /** Whoever reads clients should wait. */
  get full(): boolean {
    return this.#bytes >= LANE_BYTES / 2 || this.#tail - this.#called >= LANE_COMMANDS / 2
  }

  /** Something may be sent. */
  get hasUnsent(): boolean {
    return this.#sent < this.#tail && this.#sent - this.#head < this.#window && this.#flying < LANE_WINDOW_BYTES
  }

  /** Something is under way, or is to be. */
  get isBusy(): boolean {
    return this.#head < this.#tail
  }

  /** Replies that the guest does not know to have come. */
  get owesAcknowledgement(): boolean {
    return this.#acknowledged < this.#answered
  }

  /** Commands that somebody waits for. */
  get waiting(): number {
    return this.#tail - this.#called
  }

  /** Takes a command in, encoded. */
  add(request: Request, taker: ReplyTaker, tag: number, now: number, wallMs: number): void {
    if (this.#tail - this.#head > this.#mask) this.#growSlots()
    const slot = this.#tail++ & this.#mask
    const length = encodedBytes(request)
    const size = requestSize(length)
    this.#taker[slot] = taker
    this.#tag[slot] = tag
    this.#sequence[slot] = 0
    this.#times[slot] = 0
    this.#since[slot] = now
    if (this.#store.bytesUsed + size > LANE_BYTES || this.#tail - this.#head > LANE_COMMANDS) {
      // It fails when those before it have their replies.
      this.#size[slot] = NONE
      this.#callRefused()
      return
    }
    const position = this.#store.add(size)
    this.#at[slot] = position
    this.#size[slot] = size
    this.#bytes += size
    const at = this.#store.offset(position)
    writeRequestHead(this.#store.view, at, length, this.vcpu, 0, 0, wallMs)
    encodeRequestInto(request, this.#store.bytes, at + REQUEST_HEAD_BYTES)
  }

  /** Puts what may be sent into frames; false: there was nothing. */
  fill(frames: FrameBatch): boolean {
    const store = this.#store
    const end = Math.min(this.#tail, this.#head + this.#window)
    let any = false
    let from = 0
    let length = 0
    for (; this.#sent < end; this.#sent++) {
      const slot = this.#sent & this.#mask
      const size = this.#size[slot] as number
      if (this.#flying > 0 && this.#flying + size > LANE_WINDOW_BYTES) break
      if (this.#sent === this.#high) this.#high++
      if (size === NONE) continue
      this.#flying += size
      const at = store.offset(this.#at[slot] as number)
      let sequence = this.#sequence[slot] as number
      if (sequence === 0) {
        sequence = this.#next++
        this.#sequence[slot] = sequence
        store.view.setFloat64(at + REQUEST.sequence, sequence, true)
        store.view.setFloat64(at + REQUEST.acknowledged, 0, true)
      }
      if (!any) store.view.setFloat64(at + REQUEST.acknowledged, this.#answered, true)
      any = true
      const times = this.#times[slot] as number
      if (times < 255) this.#times[slot] = times + 1
      // Neighbours go together.
      if (at === from + length && length + size <= SERVICE_BATCH_BYTES) length += size
      else {
        copyOut(store.bytes, from, length, frames)
        from = at
        length = size
      }
    }
    copyOut(store.bytes, from, length, frames)
    if (any) this.#acknowledged = this.#answered
    return any
  }

  /** A request that says nothing but what has come. */
  acknowledge(frames: FrameBatch): void {
    const at = frames.reserve(requestSize(0))
    writeRequestHead(frames.view, at, 0, this.vcpu, 0, this.#answered, 0)
    this.#acknowledged = this.#answered
  }

  /** Everything unanswered is sent again, from the oldest on. */
  rewind(): void {
    this.#sent = this.#head
    this.#flying = 0
  }

  /** Whether an answer of that sequence is to something under way. */
  isUnderWay(sequence: number): boolean {
    return sequence > this.#answered && sequence < this.#next
  }

  /** A reply came: it is handed on if it is the next one; others come again (R30). True: it was the next one. */
  onAnswer(sequence: number, payload: Uint8Array, at: number, length: number): boolean {
    const slot = this.#head & this.#mask
    if (this.#head >= this.#high || this.#sequence[slot] !== sequence) return false
    const taker = this.#taker[slot] as ReplyTaker | null
    const tag = this.#tag[slot] as number
    this.#answered = sequence
    this.#refused = 0
    if (this.#window < LANE_WINDOW && sequence % 16 === 0) this.#window++
    if (taker !== null) {
      this.#bytes -= this.#size[slot] as number
      this.#called++
    }
    this.#pop()
    if (taker !== null) {
      taker.onReply(tag, payload, at, at + length)
      if (this.#called < this.#tail && this.#size[this.#called & this.#mask] === NONE) this.#callRefused()
    }
    this.#dropDead()
    return true
  }

  /** The guest has no room for replies: fewer at a time. */
  narrow(): void {
    this.#window = Math.max(LANE_MIN_WINDOW, Math.min(this.#window, this.#sent - this.#head) >>> 1)
  }

  /** Commands that waited for too long fail; what was sent of them stays, as a PING. */
  expire(now: number): void {
    while (this.#called < this.#tail) {
      const slot = this.#called & this.#mask
      const sent = this.#sequence[slot] !== 0
      const refused = !sent && this.#called < this.#refused
      // Who would be answered too late hears of the refusal, not that nobody knows; also when its vCPU is somewhere again only now.
      if ((this.#since[slot] as number) > now - HOLD_MS + (refused ? REFUSED_LAST_MS : 0)) return
      this.#bytes -= this.#size[slot] as number
      if (sent) this.#blank(slot)
      else this.#size[slot] = NONE
      this.#call(sent ? 'unknown' : refused ? 'refused' : 'unreachable')
      this.#dropDead()
    }
  }

  /**
   * The guest answered that it knows nothing of the session: a new one begins, with another number. `forgotten`: the first
   * request that came back so; from there on what was sent once was not executed, and is sent again, but what was sent before
   * may have been by the session that is forgotten. 0: there was none, and nothing was executed.
   */
  restart(number: number, forgotten: number): void {
    this.number = number
    this.#refused = forgotten === 0 ? this.#tail : 0
    const failures: { taker: ReplyTaker | null; tag: number; error: BackendError }[] = []
    const fail = (error: BackendError): void => {
      const slot = this.#called++ & this.#mask
      failures.push({ taker: this.#taker[slot] as ReplyTaker | null, tag: this.#tag[slot] as number, error })
      this.#taker[slot] = null
    }
    for (let index = this.#head; index < this.#high; index++) {
      const slot = index & this.#mask
      const live = this.#size[slot] !== NONE
      const taker = this.#taker[slot] as ReplyTaker | null
      const earlier = (this.#times[slot] as number) > 1 || index >= this.#sent
      const mayCount = forgotten > 0 && (earlier || (this.#sequence[slot] as number) < forgotten)
      const lost = live && (taker === null || mayCount)
      if (lost && taker !== null) {
        // The oldest of those that somebody waits for, as none was sent more often than one before it, but for some that were
        // never taken in.
        while (this.#called < index) fail('unreachable')
        this.#bytes -= this.#size[slot] as number
        fail('unknown')
      }
      if (lost) this.#size[slot] = NONE
      this.#sequence[slot] = 0
      this.#times[slot] = 0
    }
    this.#next = 1
    this.#answered = 0
    this.#acknowledged = 0
    this.rewind()
    this.#high = this.#head
    this.#dropDead()
    for (const { taker, tag, error } of failures) taker?.onFailure(tag, error)
    this.#callRefused()
  }

  /** The guest had no place for the session: nothing was executed, and another number may have more luck. */
  refuse(number: number, now: number): void {
    this.restart(number, 0)
    this.expire(now)
  }

  /** Nobody will be there to answer: everybody hears it. */
  fail(): void {
    this.expire(Number.POSITIVE_INFINITY)
  }

  /** The oldest that somebody waits for gets an error. */
  #call(error: BackendError): void {
    const slot = this.#called++ & this.#mask
    const taker = this.#taker[slot] as ReplyTaker | null
    this.#taker[slot] = null
    taker?.onFailure(this.#tag[slot] as number, error)
    this.#callRefused()
  }

  /** What was not taken in for lack of room fails in its turn. */
  #callRefused(): void {
    while (this.#called < this.#tail) {
      const slot = this.#called & this.#mask
      const taker = this.#taker[slot] as ReplyTaker | null
      if (this.#size[slot] !== NONE || taker === null) break
      this.#called++
      this.#taker[slot] = null
      taker.onFailure(this.#tag[slot] as number, 'unreachable')
    }
    this.#dropDead()
  }

  /** The bytes of a command that nobody waits for are those of a PING, if they are enough. */
  #blank(slot: number): void {
    const size = requestSize(PING.length)
    if (size > (this.#size[slot] as number)) return
    if (this.#called < this.#sent) this.#flying -= (this.#size[slot] as number) - size
    this.#size[slot] = size
    const at = this.#store.offset(this.#at[slot] as number)
    this.#store.view.setUint32(at + REQUEST.length, PING.length, true)
    this.#store.bytes.set(PING, at + REQUEST_HEAD_BYTES)
  }

  #pop(): void {
    if (this.#head < this.#sent) this.#flying -= this.#size[this.#head & this.#mask] as number
    this.#taker[this.#head & this.#mask] = null
    this.#head++
    if (this.#called < this.#head) this.#called = this.#head
    if (this.#sent < this.#head) this.#sent = this.#head
    if (this.#high < this.#head) this.#high = this.#head
    if (this.#head === this.#tail) this.#store.clear()
    else if (this.#size[this.#head & this.#mask] !== NONE)
      this.#store.freeBefore(this.#at[this.#head & this.#mask] as number)
  }

  /** Slots of nothing at the head, of which everybody has heard. */
  #dropDead(): void {
    while (this.#head < this.#called && this.#size[this.#head & this.#mask] === NONE) this.#pop()
  }

  #growSlots(): void {
    const slots = 2 * (this.#mask + 1)
    const old = { at: this.#at, size: this.#size, sequence: this.#sequence, since: this.#since, times: this.#times }
    const [mask, taker, tag] = [this.#mask, this.#taker, this.#tag]
    this.#mask = slots - 1
    this.#at = new Float64Array(slots)
    this.#size = new Uint32Array(slots)
    this.#sequence = new Float64Array(slots)
    this.#since = new Float64Array(slots)
    this.#times = new Uint8Array(slots)
    this.#taker = new Array(slots).fill(null)
    this.#tag = new Uint32Array(slots)
    for (let index = this.#head; index < this.#tail; index++) {
      const [from, to] = [index & mask, index & this.#mask]
      this.#at[to] = old.at[from] as number
      this.#size[to] = old.size[from] as number
      this.#sequence[to] = old.sequence[from] as number
      this.#since[to] = old.since[from] as number
      this.#times[to] = old.times[from] as number
      this.#taker[to] = taker[from] as ReplyTaker | null
      this.#tag[to] = tag[from] as number
    }
  }
}

function copyOut(source: Uint8Array, from: number, length: number, frames: FrameBatch): void {
  if (length === 0) return
  const at = frames.reserve(length)
  frames.bytes.set(source.subarray(from, from + length), at)
}
