// One direction of a relayed connection: passes on what a socket receives, in order, `delayMs` later, and holds back
// whoever sends more than the other end takes. Carries the end of the stream in its turn. chaos-relay.ts makes two of
// these for each connection.

import type { Socket } from 'node:net'
import { giveBack } from '../give-back.ts'

/**
 * Most bytes on their way in one direction, 32 MiB: 6.7 GB/s at 5 ms, so no limit there; a link with a longer delay is
 * held to this much under way, as by a window of TCP.
 */
export const MAX_BYTES_UNDER_WAY = 32 * 1024 * 1024
/** Timers tick in milliseconds; what is due within half a tick goes now, so that the mean delay is the one asked for. */
const TICK_MS = 1

interface Delayed {
  readonly piece: Buffer
  /** `performance.now()` at which it leaves. */
  readonly dueAt: number
}

export class DelayLine {
  readonly #from: Socket
  readonly #to: Socket
  readonly #delayMs: number
  readonly #mostBytes: number
  readonly #underWay: Delayed[] = []
  /** What waits until all that was taken has left. */
  #atEnd: (() => void)[] = []
  #bytes = 0
  /** The receiving socket is full. */
  #full = false
  #timer: NodeJS.Timeout | null = null

  constructor(from: Socket, to: Socket, delayMs: number) {
    this.#from = from
    this.#to = to
    this.#delayMs = delayMs
    this.#mostBytes = delayMs === 0 ? 0 : MAX_BYTES_UNDER_WAY
    to.on('drain', () => {
      this.#full = false
      this.#release()
    })
    to.once('close', () => this.drop())
  }

  /** Bytes taken that have not left. */
  get bytesUnderWay(): number {
    return this.#bytes
  }

  take(piece: Buffer): void {
    if (this.#to.destroyed) return
    this.#underWay.push({ piece, dueAt: performance.now() + this.#delayMs })
    this.#bytes += piece.length
    if (this.#timer === null) this.#release()
    if (this.#holdsBack()) this.#from.pause()
  }

  /** Calls `then` behind the last byte; at once when none is under way. */
  after(then: () => void): void {
    if (this.#underWay.length === 0) then()
    else this.#atEnd.push(then)
  }

  /** Forgets what is under way: a connection was reset. */
  drop(): void {
    if (this.#timer !== null) clearTimeout(this.#timer)
    this.#timer = null
    this.#underWay.length = 0
    this.#bytes = 0
    this.#atEnd = []
  }

  /** Passes on what is due, as far as the other end takes it, and sets the timer for the next. */
  #release(): void {
    this.#timer = null
    const now = performance.now()
    let passed = 0
    for (const { piece, dueAt } of this.#underWay) {
      if (this.#full || dueAt - now >= TICK_MS / 2) break
      this.#full = !this.#to.write(piece, () => giveBack(piece))
      this.#bytes -= piece.length
      passed++
    }
    this.#underWay.splice(0, passed)
    const next = this.#underWay[0]
    if (next === undefined) for (const then of this.#atEnd.splice(0)) then()
    else if (!this.#full)
      this.#timer = setTimeout(() => this.#release(), Math.max(TICK_MS, Math.round(next.dueAt - now)))
    if (this.#from.isPaused() && !this.#holdsBack()) this.#from.resume()
  }

  /** A line with a delay goes on reading while the other end is full: a pause would tear a hole of `delayMs`. */
  #holdsBack(): boolean {
    return this.#bytes > this.#mostBytes || (this.#full && this.#delayMs === 0)
  }
}
