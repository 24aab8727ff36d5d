// The receiving half of a migration: one thread for each channel, and the barrier between rounds (R12). Driven by the
// destination session through the PageDestination port.

import { Worker } from 'node:worker_threads'
import { clearVersions, versionsOf } from '../../encoding/version-store.ts'
import { GodwitError } from '../../errors.ts'
import { HEADER } from '../../guest/layout.ts'
import type { GuestMemory } from '../../guest/memory.ts'
import { MAX_PAGE_RETRIES } from '../../limits.ts'
import { workerUrl } from '../../worker-url.ts'
import type { Neighbour, PageDestination, RoundPlaced } from '../ports.ts'
import { beginTransfer } from './select-lock.ts'
import { endThreads } from './source-transfer.ts'
import { resetCounters, totals } from './thread-counters.ts'
import type {
  ChannelIdentity,
  DestinationThreadData,
  FromDestinationThread,
  ToDestinationThread,
} from './thread-messages.ts'

export interface DialOptions extends ChannelIdentity {
  readonly memory: GuestMemory
  readonly host: string
  /** One a channel, in channel order. */
  readonly ports: readonly number[]
  /** Keep page hashes and the digest (R15). */
  readonly hash: boolean
  /** Bytes of pages that are kept as they came, for deltas when the guest migrates back; 0: none. */
  readonly arrivalCache?: number
  /** The memory begins as a stale copy of the guest, which is kept in that cache, too. */
  readonly copy?: boolean
  /** The last port is that of the urgent lane. */
  readonly urgent?: boolean
  /** Pull phase of a locked guest: steps granted per page. */
  readonly locked?: { readonly lambda: number } | null
}

const CLOSE_MS = 500

export class ThreadedPageDestination implements PageDestination {
  readonly #workers: readonly Worker[]
  readonly failed: Promise<never>
  readonly pulled: Promise<void>
  readonly #memory: GuestMemory
  readonly #abort: () => void
  readonly #connected: Promise<unknown>
  readonly #rounds: PromiseWithResolvers<RoundPlaced>[] = []
  /** Round and bytes each channel has ended; −1 before the first. */
  readonly #ended: { round: number; bytes: number }[]
  /** Pages of the round under way that are to be sent once more. */
  #missing: number[] = []
  /** How often a page came with a wrong hash. */
  readonly #spoilt = new Map<number, number>()
  #closed: Promise<void> | null = null

  private constructor(memory: GuestMemory, workers: readonly Worker[], urgent: boolean, abort: () => void) {
    this.#memory = memory
    this.#abort = abort
    this.#workers = workers
    this.#ended = workers.slice(0, urgent ? -1 : undefined).map(() => ({ round: -1, bytes: 0 }))
    const last = Promise.withResolvers<void>()
    this.pulled = last.promise
    const { promise, reject } = Promise.withResolvers<never>()
    this.failed = promise
    this.failed.catch(() => {})
    const connections = workers.map((worker, channel) => {
      const connected = Promise.withResolvers<void>()
      worker.on('message', (message: FromDestinationThread) => {
        if (message.type === 'connected') connected.resolve()
        else if (message.type === 'failed') reject(GodwitError.from(message.error))
        else if (message.type === 'pulled') last.resolve()
        else if (message.type === 'spoilt') this.#askAgain(message.page, reject)
        else this.#end(channel, message)
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
    const { memory, host, ports, hash, urgent = false, locked = null, migration, token, generation } = options
    const { arrivalCache = 0, copy = false } = options
    const abort = beginTransfer(memory)
    Atomics.store(memory.controlWords, HEADER.foreignPages, 0)
    resetCounters(memory, ports.length)
    const identity = { migration, token, generation }
    const versions = versionsOf(memory, arrivalCache)
    if (versions !== null) clearVersions(versions)
    const copyParts = copy ? ports.length : null
    const workers = ports.map((port, channel) => {
      const lane = {
        versions,
        copyParts,
        channel,
        host,
        port,
        hash,
        locked,
        urgent: urgent && channel === ports.length - 1,
      }
      const workerData: DestinationThreadData = { ...identity, memory: memory.shared, ...lane }
      return new Worker(workerUrl(import.meta.url, './destination-thread'), { workerData })
    })
    const pages = new ThreadedPageDestination(memory, workers, urgent, abort)
    try {
      await Promise.race([pages.#connected, pages.failed])
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
  placed(round: number): Promise<RoundPlaced> {
    return Promise.race([this.#round(round).promise, this.failed])
  }

  share(neighbours: readonly Neighbour[]): void {
    const pages = neighbours.reduce((sum, neighbour) => sum + neighbour.pages, 0)
    Atomics.store(this.#memory.controlWords, HEADER.foreignPages, pages)
    for (const worker of this.#workers) {
      worker.postMessage({ type: 'share', neighbours } satisfies ToDestinationThread)
    }
  }

  get dropped(): number {
    return totals(this.#memory, this.#workers.length).droppedPages
  }

  close(): Promise<void> {
    this.#abort()
    this.#closed ??= endThreads(this.#workers, { type: 'close' }, CLOSE_MS)
    return this.#closed
  }

  #end(channel: number, { round, bytes, missing }: FromDestinationThread & { type: 'ended' }): void {
    this.#ended[channel] = { round, bytes }
    for (const page of missing) this.#missing.push(page)
    if (!this.#ended.every((ended) => ended.round === round)) return
    const all = this.#ended.reduce((sum, ended) => sum + ended.bytes, 0)
    this.#round(round).resolve({ bytes: all, missing: this.#missing })
    this.#missing = []
    for (const worker of this.#workers) worker.postMessage({ type: 'proceed' })
  }

  /** R10: asked again so many times, then the pull is paused. */
  #askAgain(page: number, fail: (error: GodwitError) => void): void {
    const tries = (this.#spoilt.get(page) ?? 0) + 1
    this.#spoilt.set(page, tries)
    if (tries <= MAX_PAGE_RETRIES) this.#workers.at(-1)?.postMessage({ type: 'again', page })
    else fail(new GodwitError('bad-page', `page ${page} came with a wrong hash ${tries} times`, { side: 'source' }))
  }

  #round(round: number): PromiseWithResolvers<RoundPlaced> {
    for (let index = this.#rounds.length; index <= round; index++) this.#rounds.push(Promise.withResolvers())
    return this.#rounds[round] as PromiseWithResolvers<RoundPlaced>
  }
}
