// Takes in what becomes of every operation: windows, timeline, counters and errors. Pure but for its own memory; run.ts
// calls it with the times.

import { Counters } from './counters.ts'
import { Timeline, Waiting } from './gaps.ts'
import { LatencyHistogram } from './histogram.ts'
import { OPERATION, type Operation } from './operations.ts'
import type { LoadSettings } from './options.ts'
import { type Reply, textOfReply } from './reply-parser.ts'
import { isValueOf } from './request-writer.ts'
import { ErrorTexts, Windows } from './windows.ts'

export class Recorder {
  readonly windows: Windows
  readonly timeline = new Timeline()
  readonly errors = new ErrorTexts()
  readonly counters: Counters
  /** How late the load itself was with operations whose connection took them. */
  readonly lateness = new LatencyHistogram()
  /** Operations that waited because their connection took no more or was lost. */
  heldBack = 0
  readonly #waiting: readonly Waiting[]
  readonly #together: Waiting
  readonly #valueBytes: number

  /** `first`: name of the first window. */
  constructor(first: string, { connections, counters, valueBytes, warmUpMs }: LoadSettings) {
    this.windows = new Windows(first, warmUpMs)
    this.counters = new Counters(counters)
    this.#together = new Waiting(-warmUpMs)
    this.#waiting = Array.from({ length: connections }, () => new Waiting(-warmUpMs))
    this.#valueBytes = valueBytes
  }

  /** A reply to an operation. `oldestDue` says when the oldest unanswered operation of any connection was due. */
  answered(
    connection: number,
    { kind, key, added, dueMs }: { kind: Operation; key: number; added: number; dueMs: number },
    reply: Reply,
    nowMs: number,
    oldestDue: () => number,
  ): void {
    this.#gap(connection, dueMs, nowMs)
    this.#silence(nowMs, oldestDue)
    this.#waiting[connection]?.replied(nowMs)
    this.#together.replied(nowMs)
    const window = this.windows.of(dueMs, nowMs)
    window.latency.record(nowMs - dueMs)
    this.timeline.noteOperation(nowMs)
    const wrong = this.#check(kind, key, added, reply)
    if (wrong === null) {
      window.answered++
      return
    }
    window.failed++
    this.errors.note(wrong)
  }

  /** An operation that was sent will have no reply. The time until that is known counts as its latency: it is no shorter. */
  lost(connection: number, op: { kind: Operation; key: number; added: number; dueMs: number }, nowMs: number): void {
    this.given(connection, op.dueMs, nowMs, 'no reply: the connection was lost')
    if (op.kind === OPERATION.increment) this.counters.doubt(op.key, op.added)
  }

  /** An operation is given up, sent or not; or so many that were due about then. */
  given(connection: number, dueMs: number, nowMs: number, text: string, times = 1): void {
    this.#waiting[connection]?.lost(dueMs)
    this.#together.lost(dueMs)
    const window = this.windows.of(dueMs, nowMs)
    window.latency.record(nowMs - dueMs, times)
    window.failed += times
    this.errors.note(text, times)
  }

  disconnected(reason: string, nowMs: number): void {
    this.windows.of(nowMs, nowMs).disconnects++
    this.errors.note(`disconnected: ${reason}`)
  }

  /** Files the waits that the end cuts short. `dueMs` of each connection: its oldest unanswered operation, or infinite. */
  end(dueMs: readonly number[], nowMs: number): void {
    const waits = this.#waiting.map(({ waits }, connection) => waits || (dueMs[connection] as number) <= nowMs)
    waits.forEach((waiting, connection) => {
      if (waiting) this.#gap(connection, dueMs[connection] as number, nowMs)
    })
    if (waits.includes(true)) this.#silence(nowMs, () => Math.min(...dueMs))
    this.windows.current.toMs = nowMs
  }

  /** What is wrong with a reply; null: nothing. */
  #check(kind: Operation, key: number, added: number, reply: Reply): string | null {
    if (kind === OPERATION.increment) {
      if (reply.kind !== 'integer') {
        // It says that it was not done, but a gateway's error may mean that nobody knows.
        this.counters.doubt(key, added)
        return reply.kind === 'error' ? worded(reply) : this.#wrong('no number')
      }
      return this.counters.acknowledge(key, added, reply.integer)
        ? null
        : this.#wrong('a counter that lost or doubled an increment')
    }
    if (reply.kind === 'error') return worded(reply)
    if (kind === OPERATION.set) return reply.kind === 'simple' ? null : this.#wrong('SET without OK')
    if (reply.kind === 'null') return this.#wrong('a value is gone')
    const { bytes, start, length } = reply
    const right = reply.kind === 'bulk' && isValueOf(key, bytes, start, length, this.#valueBytes)
    return right ? null : this.#wrong('not the value of this key')
  }

  #wrong(text: string): string {
    this.counters.wrongReplies++
    return `wrong reply: ${text}`
  }

  #gap(connection: number, dueMs: number, nowMs: number): void {
    const beginMs = (this.#waiting[connection] as Waiting).begin(dueMs)
    const window = this.windows.of(beginMs, nowMs)
    window.longestGapMs = Math.max(window.longestGapMs, nowMs - beginMs)
    this.timeline.noteGap(beginMs, nowMs)
  }

  #silence(nowMs: number, oldestDue: () => number): void {
    // Looking at every connection is only worth it for what may be the longest.
    if (nowMs - this.#together.lastReplyMs <= this.windows.current.longestSilenceMs) return
    const beginMs = this.#together.begin(oldestDue())
    const window = this.windows.of(beginMs, nowMs)
    window.longestSilenceMs = Math.max(window.longestSilenceMs, nowMs - beginMs)
  }
}

/** An error reply without its numbers: `MOVED n n.n.n.n:n` is one kind of error. */
const worded = (reply: Reply): string => textOfReply(reply, 120).replace(/\d+/g, 'n')
