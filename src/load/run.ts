// A load in this thread: dials, fills its keys, sends what is due when it is due, and at the end reads the counters and
// removes its keys. load.ts runs it in a thread of its own, so that whatever else its process does cannot delay it.

import { GodwitError } from '../errors.ts'
import { Arrivals } from './arrivals.ts'
import { Connection, type Owner } from './connection.ts'
import { fillKeys, type KeysContext, readCounters, removeKeys } from './keys.ts'
import { OPERATION, Operations, zipfTable } from './operations.ts'
import type { LoadSettings, Target } from './options.ts'
import { Random } from './random.ts'
import { Recorder } from './recorder.ts'
import { RequestWriter, valuePool } from './request-writer.ts'
import { type LoadProgress, type LoadResult, progressOf, resultOf } from './result.ts'

/** Streams of the seed: one for the values, then two a connection. */
const VALUE_STREAM = 0
const streamsOf = (connection: number): readonly [arrivals: number, operations: number] => [
  1 + 2 * connection,
  2 + 2 * connection,
]

interface Client {
  readonly connection: Connection
  readonly arrivals: Arrivals
  readonly operations: Operations
  /** When its connection last kept a due operation waiting. */
  heldMs: number
}

export class LoadRun {
  readonly #settings: LoadSettings
  readonly #clients: readonly Client[]
  readonly #recorder: Recorder
  #beginMs = performance.now()
  /** What is due later is not sent. */
  #stopMs: number
  #interrupted = false
  #started = false

  /** `first`: name of the window before the first mark. */
  constructor(settings: LoadSettings, first: string) {
    this.#settings = settings
    this.#stopMs = settings.durationMs
    const { connections, seed, valueBytes, distribution, keys, prefix, rate, targets } = settings
    const pool = valuePool(new Random(seed, VALUE_STREAM), valueBytes)
    const table = distribution === 'zipf' ? zipfTable(keys) : null
    this.#recorder = new Recorder(first, settings)
    this.#clients = Array.from({ length: connections }, (_, index) => {
      const [arrivals, operations] = streamsOf(index).map((stream) => new Random(seed, stream)) as [Random, Random]
      const writer = new RequestWriter(prefix, valueBytes, pool)
      const target = targets[index % targets.length] as Target
      return {
        connection: new Connection(index, target, writer, this.#now),
        arrivals: new Arrivals(settings.arrivals, rate / connections, -settings.warmUpMs, arrivals),
        operations: new Operations(settings, index, operations, table),
        heldMs: Number.NEGATIVE_INFINITY,
      }
    })
  }

  /** Dials and fills the keys; then the clock runs, from before 0 when there is a warm-up. Rejects with `unreachable` or `load-refused`. */
  async start(): Promise<void> {
    try {
      await Promise.all(this.#connections.map((connection) => connection.open()))
      await fillKeys(this.#context, () => this.#interrupted)
    } catch (error) {
      this.close()
      throw error
    }
    this.#beginMs = performance.now() + this.#settings.warmUpMs
    this.#started = true
  }

  /** A new window begins; it runs by now. */
  mark(name: string): void {
    if (!this.#started) throw new GodwitError('usage', 'a load has no windows before it has begun')
    this.#recorder.windows.mark(name, this.#now())
  }

  /** Nothing that is due from now on is sent. */
  stop(): void {
    this.#interrupted = true
    if (this.#started) this.#stopMs = Math.min(this.#stopMs, this.#now())
  }

  progress(): LoadProgress {
    return progressOf(this.#recorder.windows, this.#now())
  }

  /** Sends until it is stopped or its time is over; resolves with what came of it. */
  async run(): Promise<LoadResult> {
    try {
      if (this.#interrupted) this.#stopMs = this.#now()
      const endMs = await this.#send()
      const read = await readCounters(this.#context, this.#recorder.counters)
      // Who could not be asked for a counter in all this time takes no keys away either.
      if (read && !this.#settings.keep) await removeKeys(this.#context)
      return resultOf(this.#settings, this.#recorder, endMs)
    } finally {
      this.close()
    }
  }

  close(): void {
    for (const connection of this.#connections) {
      connection.owner = null
      connection.close()
    }
  }

  get #connections(): Connection[] {
    return this.#clients.map(({ connection }) => connection)
  }

  get #context(): KeysContext {
    return { connections: this.#connections, settings: this.#settings, clock: this.#now }
  }

  readonly #now = (): number => performance.now() - this.#beginMs

  /** Sends what is due and takes replies in, until all is answered or given up; resolves with the time. */
  #send(): Promise<number> {
    const recorder = this.#recorder
    const oldestDue = (): number => Math.min(...this.#clients.map(oldestOf))
    const owner: Owner = {
      answered: ({ index, outstanding }, reply, nowMs) =>
        recorder.answered(index, outstanding, reply, nowMs, oldestDue),
      lost: ({ index, outstanding }, _, nowMs) => recorder.lost(index, outstanding, nowMs),
      disconnected: (_, reason, nowMs) => recorder.disconnected(reason, nowMs),
      ready: () => {},
    }
    for (const connection of this.#connections) connection.owner = owner
    return new Promise((resolve) => {
      const turn = (): void => {
        const nowMs = this.#now()
        let waits = false
        let nextMs = this.#stopMs
        for (const client of this.#clients) {
          this.#feed(client, nowMs)
          nextMs = Math.min(nextMs, client.arrivals.nextMs)
          waits ||= oldestOf(client) <= this.#stopMs
        }
        const over = nowMs > this.#stopMs + this.#settings.patienceMs
        if (nowMs >= this.#stopMs && (!waits || over)) resolve(this.#end(nowMs))
        else if (this.#settings.spin) setImmediate(turn)
        else setTimeout(turn, Math.max(1, Math.min(nextMs - nowMs, LONGEST_REST_MS)))
      }
      turn()
    })
  }

  #feed(client: Client, nowMs: number): void {
    const { connection, arrivals, operations } = client
    const { lateness } = this.#recorder
    const dueUntil = Math.min(nowMs, this.#stopMs)
    while (arrivals.nextMs <= dueUntil) {
      if (!connection.canSend) {
        client.heldMs = nowMs
        break
      }
      const dueMs = arrivals.nextMs
      if (dueMs <= client.heldMs) this.#recorder.heldBack++
      else if (dueMs >= 0) lateness.record(nowMs - dueMs)
      operations.next()
      const { kind, key, added } = operations
      connection.send(kind, key, added, kind === OPERATION.increment, dueMs, nowMs)
      arrivals.advance()
    }
    connection.flush()
    const { outstanding } = connection
    const { patienceMs } = this.#settings
    // A service that is behind, but answers, is not given up.
    if (outstanding.length > 0 && nowMs - Math.max(outstanding.sentMs, connection.repliedMs) > patienceMs) {
      connection.drop(`no reply for ${patienceMs / 1000} s`)
    }
  }

  /** Gives up what has no reply yet. */
  #end(nowMs: number): number {
    const due = this.#clients.map((client) => (oldestOf(client) <= this.#stopMs ? oldestOf(client) : Infinity))
    for (const { connection, arrivals } of this.#clients) {
      if (connection.outstanding.length > 0) connection.drop('no reply at the end')
      // A service that was away for an hour must not take another one to be counted.
      const portion = Math.max(1, Math.round(arrivals.expected(this.#stopMs) / UNSENT_PORTIONS))
      for (; arrivals.nextMs <= this.#stopMs; arrivals.advance(portion)) {
        this.#recorder.given(connection.index, arrivals.nextMs, nowMs, NOT_SENT, portion)
      }
    }
    this.#recorder.end(due, nowMs)
    for (const connection of this.#connections) connection.owner = null
    return nowMs
  }
}

const NOT_SENT = 'not sent: the connection took no more'
/** What one connection could not send is counted one by one up to about so many operations, then in so many portions. */
const UNSENT_PORTIONS = 10_000
/** Longest rest between two looks at the connections. */
const LONGEST_REST_MS = 50

/** When a client's oldest unanswered operation was due, or the next one will be. */
const oldestOf = ({ connection: { outstanding }, arrivals }: Client): number =>
  outstanding.length > 0 ? outstanding.dueMs : arrivals.nextMs
