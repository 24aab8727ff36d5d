// A load in this thread: dials, fills its keys, sends what is due when it is due, and at the end reads the counters and
// removes its keys. load.ts runs it in a thread of its own, so that whatever else its process does cannot delay it.

import { GodwitError } from '../errors.ts'
import { Arrivals } from './arrivals.ts'
import { BAD_REPLY, Connection, type Owner } from './connection.ts'
import { OPERATION, type Operation, Operations, zipfTable } from './operations.ts'
import type { LoadSettings, Target } from './options.ts'
import { Random } from './random.ts'
import { Recorder } from './recorder.ts'
import { type Reply, textOfReply } from './reply-parser.ts'
import { RequestWriter, valuePool } from './request-writer.ts'
import { type LoadProgress, type LoadResult, progressOf, resultOf } from './result.ts'
import { type SweepOptions, sweep } from './sweep.ts'

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
      await this.#fill()
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
      const read = await this.#readCounters()
      // Who could not be asked for a counter in all this time takes no keys away either.
      if (read && !this.#settings.keep) await this.#remove()
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
    if (outstanding.length > 0 && nowMs - outstanding.sentMs > patienceMs) {
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

  async #fill(): Promise<void> {
    const { keys } = this.#settings
    const take = (_: number, reply: Reply): void => {
      if (reply.kind === 'simple') return
      const said = reply.kind === 'error' ? textOfReply(reply) : `a reply of the kind ${reply.kind}`
      throw new GodwitError('load-refused', `the service does not take the keys of the load: ${said}`, {
        hint: said.startsWith('OOM')
          ? 'give fewer --keys or a smaller --value-size, or the guest more memory'
          : undefined,
      })
    }
    const answered = await this.#sweep(OPERATION.set, false, keys, take, {
      over: () => this.#interrupted,
      disconnected: (reason) => {
        if (!reason.startsWith(BAD_REPLY)) return
        throw new GodwitError(
          'bad-reply',
          `the service does not speak the Redis protocol: ${reason.slice(BAD_REPLY.length)}`,
          {
            hint: 'give the port of a service, not that of an agent',
          },
        )
      },
    })
    if (answered === keys || this.#interrupted) return
    throw new GodwitError('load-refused', `the service took ${answered} of ${keys} keys, then no more`, {
      hint: 'look at the service: it answers nothing, or no Redis protocol',
    })
  }

  /** Whether every one was answered. */
  async #readCounters(): Promise<boolean> {
    const { counters: recorded } = this.#recorder
    const { counters } = this.#settings
    const answered = await this.#sweep(OPERATION.readCounter, true, counters, (counter, reply) => {
      if (reply.kind === 'null') recorded.read(counter, 0)
      else if (reply.kind === 'bulk') recorded.read(counter, Number(textOfReply(reply)))
    })
    return answered === counters
  }

  async #remove(): Promise<void> {
    const { keys, counters } = this.#settings
    await this.#sweep(OPERATION.remove, false, keys, () => {})
    await this.#sweep(OPERATION.remove, true, counters, () => {})
  }

  #sweep(
    kind: Operation,
    counter: boolean,
    keys: number,
    take: (key: number, reply: Reply) => void,
    more: Pick<SweepOptions, 'over' | 'disconnected'> = {},
  ): Promise<number> {
    const { patienceMs } = this.#settings
    return sweep(this.#connections, { kind, counter, keys, take, patienceMs, clock: this.#now, ...more })
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
