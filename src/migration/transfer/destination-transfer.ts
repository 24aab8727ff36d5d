// The receiving half of a migration: one thread for each channel, and the barrier between rounds (R12). Driven by the
// destination session through the PageDestination port.

import { Worker } from 'node:worker_threads'
import { GodwitError } from '../../errors.ts'
import type { GuestMemory } from '../../guest/memory.ts'
import { workerUrl } from '../../worker-url.ts'
import type { PageDestination } from '../ports.ts'
import { endThreads } from './source-transfer.ts'
import { resetCounters } from './thread-counters.ts'
import type { ChannelIdentity, DestinationThreadData, FromDestinationThread } from './thread-messages.ts'

export interface DialOptions extends ChannelIdentity {
  readonly memory: GuestMemory
  readonly host: string
  /** One a channel, in channel order. */
  readonly ports: readonly number[]
  /** Keep page hashes and the digest (R15). */
  readonly hash: boolean
}

const CLOSE_MS = 500

export class ThreadedPageDestination implements PageDestination {
  readonly #workers: readonly Worker[]
  readonly #failed: Promise<never>
  readonly #connected: Promise<unknown>
  readonly #rounds: PromiseWithResolvers<{ bytes: number }>[] = []
  /** Round and bytes each channel has ended; −1 before the first. */
  readonly #ended: { round: number; bytes: number }[]
  #closed: Promise<void> | null = null

  private constructor(workers: readonly Worker[]) {
    this.#workers = workers
    this.#ended = workers.map(() => ({ round: -1, bytes: 0 }))
    const { promise, reject } = Promise.withResolvers<never>()
    this.#failed = promise
    this.#failed.catch(() => {})
    const connections = workers.map((worker, channel) => {
      const connected = Promise.withResolvers<void>()
      worker.on('message', (message: FromDestinationThread) => {
        if (message.type === 'connected') connected.resolve()
        else if (message.type === 'failed') reject(GodwitError.from(message.error))
        else this.#end(channel, message.round, message.bytes)
      })
      worker.on('error', (cause) =>
        reject(new GodwitError('internal', `transfer thread ${channel}: ${cause}`, { cause })),
      )
      return connected.promise
    })
    this.#connected = Promise.all(connections)
  }

  /** Dials every channel. Throws `unreachable` or `link-lost`. */
  static async dial(options: DialOptions): Promise<ThreadedPageDestination> {
    const { memory, host, ports, hash, migration, token, generation } = options
    resetCounters(memory, ports.length)
    const identity = { migration, token, generation }
    const workers = ports.map((port, channel) => {
      const workerData: DestinationThreadData = { ...identity, memory: memory.shared, channel, host, port, hash }
      return new Worker(workerUrl(import.meta.url, './destination-thread'), { workerData })
    })
    const pages = new ThreadedPageDestination(workers)
    try {
      await Promise.race([pages.#connected, pages.#failed])
    } catch (thrown) {
      await pages.close()
      throw thrown
    }
    return pages
  }

  /**
   * Resolves with the bytes of the round's page frames when every channel has ended it and its pages are placed; also
   * when that was before a failure. Rejects with the first failure otherwise.
   */
  placed(round: number): Promise<{ bytes: number }> {
    return Promise.race([this.#round(round).promise, this.#failed])
  }

  close(): Promise<void> {
    this.#closed ??= endThreads(this.#workers, { type: 'close' }, CLOSE_MS)
    return this.#closed
  }

  #end(channel: number, round: number, bytes: number): void {
    this.#ended[channel] = { round, bytes }
    if (!this.#ended.every((ended) => ended.round === round)) return
    this.#round(round).resolve({ bytes: this.#ended.reduce((sum, ended) => sum + ended.bytes, 0) })
    for (const worker of this.#workers) worker.postMessage({ type: 'proceed' })
  }

  #round(round: number): PromiseWithResolvers<{ bytes: number }> {
    for (let index = this.#rounds.length; index <= round; index++) this.#rounds.push(Promise.withResolvers())
    return this.#rounds[round] as PromiseWithResolvers<{ bytes: number }>
  }
}
