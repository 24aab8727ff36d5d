// The sending half of a migration: one thread and one port for each channel, driven by the source session through the
// PageSource port.

import { Worker } from 'node:worker_threads'
import { keepOnlyCopied } from '../../encoding/arrivals.ts'
import type { SharedForeignIndex } from '../../encoding/foreign-index.ts'
import type { Lz4Choice } from '../../encoding/lz4-backend.ts'
import type { EncodeMode } from '../../encoding/modes.ts'
import { ReferenceIndex } from '../../encoding/reference-index.ts'
import { seedOf } from '../../encoding/seed.ts'
import { addCounts } from '../../encoding/tally.ts'
import { clearVersions, type SharedVersions, versionsOf } from '../../encoding/version-store.ts'
import { GodwitError } from '../../errors.ts'
import { CODEC_AREA, HEADER } from '../../guest/layout.ts'
import type { GuestMemory } from '../../guest/memory.ts'
import { workerUrl } from '../../worker-url.ts'
import type { PageSource, PullCounts, PullOrder, RoundOrder, RoundSent } from '../ports.ts'
import { beginRound } from './batch.ts'
import { setRate } from './pacer.ts'
import { beginTransfer } from './select-lock.ts'
import { resetCounters, totals } from './thread-counters.ts'
import type {
  ChannelIdentity,
  ChannelRound,
  FromSourceThread,
  SourceThreadData,
  ToSourceThread,
} from './thread-messages.ts'

export interface ListenOptions extends ChannelIdentity {
  readonly memory: GuestMemory
  readonly channels: number
  readonly host: string
  /** First and last port to try; [0, 0]: the system chooses. */
  readonly portRange: readonly [number, number]
  /** The ports of an earlier generation, to listen at once more. */
  readonly ports?: readonly number[]
  /** Steps per page record of a locked guest; null: the guest steps by itself. */
  readonly locked: { readonly lambda: number } | null
  /** How pages of rounds are encoded. */
  readonly encode?: EncodeMode
  /** What compresses where lz4 is chosen. */
  readonly lz4?: Lz4Choice
  /** Bytes of last versions sent that are kept to compare with. */
  readonly deltaCache?: number
  /** Limit of all channels together, bytes per second; null: none. */
  readonly bandwidth?: number | null
  /** Takes a line for the log. */
  readonly notice?: (text: string) => void
  /** One lane more, the last, that answers faults in the pull phase. */
  readonly urgent?: boolean
}

/** A thread that does not end by itself in this time is ended. */
const CLOSE_MS = 500

interface ThreadsOptions {
  readonly channels: number
  readonly versions: SharedVersions | null
  readonly seed: bigint
  notice(text: string): void
  /** Asks them to stop early. */
  abort(): void
}

export class ThreadedPageSource implements PageSource {
  /** One a channel, in channel order; the urgent lane's is the last. */
  readonly ports: readonly number[]
  readonly failed: Promise<never>
  readonly #memory: GuestMemory
  readonly #workers: readonly Worker[]
  /** Those that take part in rounds. */
  readonly #bulk: readonly Worker[]
  readonly #connected: Promise<unknown>
  readonly #versions: SharedVersions | null
  readonly #seed: bigint
  readonly #abort: () => void
  #shares: { resolve(share: ChannelRound): void }[] = []
  #closed: Promise<void> | null = null
  #last = { sent: 0, received: 0, control: 0 }
  #lastPull: PullCounts = { pushed: 0, asked: 0, skipped: 0, zeroPages: 0 }

  private constructor(
    memory: GuestMemory,
    workers: readonly Worker[],
    ports: readonly number[],
    { channels, notice, versions, seed, abort }: ThreadsOptions,
  ) {
    this.#memory = memory
    this.#workers = workers
    this.#bulk = workers.slice(0, channels)
    this.#versions = versions
    this.#seed = seed
    this.#abort = abort
    this.ports = ports
    const { promise, reject } = Promise.withResolvers<never>()
    this.failed = promise
    this.failed.catch(() => {})
    const connections = workers.map((worker, channel) => {
      const connected = Promise.withResolvers<void>()
      worker.on('message', (message: FromSourceThread) => {
        if (message.type === 'connected') connected.resolve()
        else if (message.type === 'failed') reject(GodwitError.from(message.error))
        else if (message.type === 'notice') notice(message.text)
        else if (message.type === 'sent') this.#shares[channel]?.resolve(message.share)
      })
      worker.on('error', (cause) =>
        reject(new GodwitError('internal', `transfer thread ${channel}: ${cause}`, { cause })),
      )
      return connected.promise
    })
    this.#connected = Promise.all(connections)
  }

  /** Starts the threads; resolves when every one listens. Throws `no-port`. */
  static async listen(options: ListenOptions): Promise<ThreadedPageSource> {
    const { memory, channels, host, portRange, locked, urgent = false, migration, token, generation } = options
    const { encode = 'zero', lz4 = 'auto', deltaCache = 0, bandwidth = null, notice = () => {} } = options
    const deltas = encode === 'adaptive' || encode === 'delta'
    const versions = deltas ? versionsOf(memory, deltaCache) : null
    if (encode === 'adaptive' || encode === 'dedup') ReferenceIndex.clear(memory)
    const bytesPerSecond = bandwidth === null ? null : bandwidth / channels
    const lanes = channels + (urgent ? 1 : 0)
    const abort = beginTransfer(memory)
    resetCounters(memory, lanes)
    const workers: Worker[] = []
    try {
      for (let channel = 0; channel < lanes; channel++) {
        const identity = { migration, token, generation }
        const port = options.ports?.[channel]
        const range = port === undefined ? portRange : ([port, port] as const)
        const where = { memory: memory.shared, channel, host, portRange: range }
        const how = { encode, lz4, versions, bytesPerSecond, locked, urgent: channel === channels }
        const workerData: SourceThreadData = { ...identity, ...where, ...how }
        workers.push(new Worker(workerUrl(import.meta.url, './source-thread'), { workerData }))
      }
      const ports = await Promise.all(workers.map(listening))
      const how = { channels, notice, versions, seed: seedOf(token), abort }
      return new ThreadedPageSource(memory, workers, ports, how)
    } catch (thrown) {
      await Promise.all(workers.map((worker) => worker.terminate()))
      throw thrown
    }
  }

  /** Resolves when the destination has dialled every channel. */
  async connected(signal: AbortSignal): Promise<void> {
    const { promise, reject } = Promise.withResolvers<never>()
    const onAbort = (): void => reject(signal.reason)
    signal.addEventListener('abort', onAbort, { once: true })
    if (signal.aborted) onAbort()
    try {
      await Promise.race([this.#connected, this.failed, promise])
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }

  async sendRound(order: RoundOrder): Promise<RoundSent> {
    if (order.round === 0) this.#beginVersions(order.copy === true)
    beginRound(this.#memory)
    const shares = this.#bulk.map(() => Promise.withResolvers<ChannelRound>())
    this.#shares = shares
    for (const worker of this.#bulk) worker.postMessage({ type: 'round', order } satisfies ToSourceThread)
    const all = await Promise.race([Promise.all(shares.map(({ promise }) => promise)), this.failed])
    const sum: ChannelRound = { sent: 0, bytes: 0, encodings: {}, verdict: null }
    for (const share of all) {
      sum.sent += share.sent
      sum.bytes += share.bytes
      addCounts(sum.encodings, share.encodings)
      sum.verdict ??= share.verdict
    }
    const words = this.#memory.controlWords
    return { ...sum, skipped: Atomics.load(words, HEADER.skipped), free: Atomics.load(words, HEADER.freed) }
  }

  share(index: SharedForeignIndex): void {
    for (const worker of this.#bulk) worker.postMessage({ type: 'share', index } satisfies ToSourceThread)
  }

  /** R13: before anything is sent the destination holds nothing, or what its copy holds. */
  #beginVersions(copy: boolean): void {
    if (this.#versions === null) return
    const { layout } = this.#memory
    if (copy) keepOnlyCopied(this.#memory, this.#versions, this.#seed, layout.codecs + CODEC_AREA.tables)
    else clearVersions(this.#versions)
  }

  answer(): void {
    for (const worker of this.#workers.slice(this.#bulk.length)) {
      worker.postMessage({ type: 'answer' } satisfies ToSourceThread)
    }
  }

  pull(order: PullOrder): void {
    this.answer()
    for (const worker of this.#bulk) worker.postMessage({ type: 'pull', order } satisfies ToSourceThread)
  }

  get pullCounts(): PullCounts {
    if (this.#closed !== null) return this.#lastPull
    const { pushedPages, askedPages, skippedPages, zeroPages } = totals(this.#memory, this.#workers.length)
    return { pushed: pushedPages, asked: askedPages, skipped: skippedPages, zeroPages }
  }

  setBandwidth(bytesPerSecond: number | null): void {
    setRate(this.#memory, bytesPerSecond)
  }

  progress(): { pages: number; bytes: number } {
    const { workPages, pushedPages, askedPages, pageFrameBytes } = totals(this.#memory, this.#workers.length)
    return { pages: workPages + pushedPages + askedPages, bytes: pageFrameBytes }
  }

  get bytes(): { sent: number; received: number; control: number } {
    if (this.#closed !== null) return this.#last
    const { pageFrameBytes, controlBytes, receivedBytes } = totals(this.#memory, this.#workers.length)
    return { sent: pageFrameBytes + controlBytes, received: receivedBytes, control: controlBytes }
  }

  close(): Promise<void> {
    if (this.#closed === null) {
      this.#last = this.bytes
      this.#lastPull = this.pullCounts
      this.#closed = this.#end()
    }
    return this.#closed
  }

  async #end(): Promise<void> {
    this.#abort()
    await endThreads(this.#workers, { type: 'close' }, CLOSE_MS)
  }
}

/** Asks threads to end and ends those that do not. */
export async function endThreads(workers: readonly Worker[], message: unknown, withinMs: number): Promise<void> {
  const end = (worker: Worker): Promise<void> =>
    new Promise((resolve) => {
      const timer = setTimeout(() => worker.terminate(), withinMs)
      worker.once('exit', () => {
        clearTimeout(timer)
        resolve()
      })
      // A thread that has gone already says nothing any more.
      if (worker.threadId === -1) {
        clearTimeout(timer)
        resolve()
      }
      worker.postMessage(message)
    })
  await Promise.all(workers.map(end))
}

function listening(worker: Worker): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>()
  const onMessage = (message: FromSourceThread): void => {
    if (message.type === 'listening') resolve(message.port)
    else if (message.type === 'failed') reject(GodwitError.from(message.error))
    worker.off('message', onMessage)
    worker.off('error', reject)
  }
  worker.on('message', onMessage)
  worker.on('error', reject)
  return promise
}
