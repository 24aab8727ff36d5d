// The exchange of a soft migration as its session sees it (PageExchange in ports.ts): a thread that owns the connection, and
// this handle on the main thread, which alone issues handshakes (R2). Made by both worlds of a guest process.

import { Worker } from 'node:worker_threads'
import { GodwitError } from '../../errors.ts'
import type { GuestMemory } from '../../guest/memory.ts'
import type { VcpuState } from '../../guest/vcpus-port.ts'
import { EXCHANGE_CHANNEL } from '../../limits.ts'
import { workerUrl } from '../../worker-url.ts'
import type { ExchangeCounts, PageExchange } from '../ports.ts'
import { setRate } from '../transfer/pacer.ts'
import { endThreads } from '../transfer/source-transfer.ts'
import { countOf, resetCountersOf } from '../transfer/thread-counters.ts'
import type { ExchangeRole, ExchangeThreadData, FromExchangeThread, ToExchangeThread } from './messages.ts'

export interface ExchangeOptions {
  readonly memory: GuestMemory
  readonly where: ExchangeRole
  readonly migration: string
  readonly token: string
  /** Page hashes are kept (R15). */
  readonly hash: boolean
  /**
   * R11: resolves when no vCPU writes what is not ours any more; if such a page is in a round that is under way, when that
   * round is placed, too. A rejection ends the link, and the pages stay.
   */
  readonly quiet: () => Promise<void>
}

const CLOSE_MS = 500

export class ThreadedExchange implements PageExchange {
  readonly port: number
  readonly #memory: GuestMemory
  readonly #worker: Worker
  readonly #quiet: () => Promise<void>
  readonly #crossings = new Map<number, PromiseWithResolvers<void>>()
  readonly #early: { vcpu: number; state: VcpuState }[] = []
  #link: { generation: number; up: PromiseWithResolvers<void> } | null = null
  #pushes = 0
  #drained = Promise.withResolvers<void>()
  #onCut: (error: GodwitError) => void = () => {}
  #onArrived: ((vcpu: number, state: VcpuState) => void) | null = null
  readonly #broken = Promise.withResolvers<GodwitError>()
  #brokenBy: GodwitError | null = null
  #closed: Promise<void> | null = null
  #last: ExchangeCounts | null = null

  private constructor({ memory, quiet }: ExchangeOptions, worker: Worker, port: number) {
    this.port = port
    this.#memory = memory
    this.#worker = worker
    this.#quiet = quiet
    worker.on('message', (message: FromExchangeThread) => this.#obey(message))
    worker.on('error', (cause) => this.#break(cause))
    worker.on('exit', (code) => this.#break(new Error(`it ended with code ${code}`)))
  }

  /** Starts the thread; at the source it listens when this resolves. Throws `no-port`. */
  static async create(options: ExchangeOptions): Promise<ThreadedExchange> {
    const { memory, where, migration, token, hash } = options
    resetCountersOf(memory, EXCHANGE_CHANNEL)
    const workerData: ExchangeThreadData = { memory: memory.shared, where, migration, token, hash }
    const worker = new Worker(workerUrl(import.meta.url, './exchange-thread'), { workerData, name: 'exchange' })
    try {
      return new ThreadedExchange(options, worker, await listening(worker))
    } catch (thrown) {
      await worker.terminate()
      throw thrown
    }
  }

  async link(generation: number, host: string | null, signal: AbortSignal): Promise<void> {
    signal.throwIfAborted()
    // Not before everybody hears of it: whoever is refused asks what the others know.
    if (this.#brokenBy !== null) throw await this.broken
    this.#link?.up.reject(new GodwitError('link-lost', 'a newer link begins'))
    const up = Promise.withResolvers<void>()
    this.#link = { generation, up }
    const onAbort = (): void => {
      this.#say({ type: 'unlink', generation })
      up.reject(signal.reason)
    }
    signal.addEventListener('abort', onAbort, { once: true })
    this.#say({ type: 'link', generation, host })
    try {
      await up.promise
    } finally {
      signal.removeEventListener('abort', onAbort)
    }
  }

  onCut(listener: (error: GodwitError) => void): void {
    this.#onCut = listener
  }

  get broken(): Promise<GodwitError> {
    return this.#broken.promise
  }

  cross(vcpu: number, state: VcpuState): Promise<void> {
    // Not `cancelled`, after which it would be tried again, for ever.
    if (this.#closed !== null) return Promise.reject(new GodwitError('guest-not-running', 'the exchange was closed'))
    // The thread has not heard of it: the vCPU has not begun to cross, and nobody tries again once all hear that it is broken.
    if (this.#brokenBy !== null) {
      return Promise.reject(new GodwitError('cancelled', `the exchange failed before vCPU ${vcpu} crossed: it stays`))
    }
    const crossing = Promise.withResolvers<void>()
    this.#crossings.set(vcpu, crossing)
    this.#say({ type: 'cross', vcpu, state })
    return crossing.promise
  }

  onArrived(listener: (vcpu: number, state: VcpuState) => void): void {
    this.#onArrived = listener
    for (const { vcpu, state } of this.#early.splice(0)) listener(vcpu, state)
  }

  push(what: { readonly homes: readonly number[] } | 'everything' | null): void {
    const homes = (vcpus: readonly number[]): number[] => {
      const table = Array.from({ length: this.#memory.layout.vcpus + 1 }, () => 0)
      for (const vcpu of vcpus) table[vcpu + 1] = 1
      return table
    }
    // Whoever waits for what is not pushed any more has waited long enough.
    this.#drained.resolve()
    this.#drained = Promise.withResolvers()
    if (what === null) this.#drained.resolve()
    this.#pushes++
    this.#say({ type: 'push', what: what === null || what === 'everything' ? what : homes(what.homes) })
  }

  drained(): Promise<void> {
    return this.#drained.promise
  }

  get counts(): ExchangeCounts {
    if (this.#last !== null) return this.#last
    const of = (counter: Parameters<typeof countOf>[2]): number => countOf(this.#memory, EXCHANGE_CHANNEL, counter)
    return {
      pushed: of('exchangePushed'),
      asked: of('exchangeAsked'),
      withoutData: of('exchangeWithoutData'),
      received: of('exchangeReceived'),
      returned: of('exchangeReturned'),
      pingPong: of('exchangePingPong'),
      asks: of('exchangeAsks'),
      again: of('exchangeAgain'),
      sentBytes: of('controlBytes'),
      receivedBytes: of('receivedBytes'),
    }
  }

  setBandwidth(bytesPerSecond: number | null): void {
    setRate(this.#memory, bytesPerSecond)
  }

  close(): Promise<void> {
    this.#closed ??= this.#end()
    return this.#closed
  }

  async #end(): Promise<void> {
    await endThreads([this.#worker], { type: 'close' } satisfies ToExchangeThread, CLOSE_MS)
    this.#last = this.counts
    // Not `cancelled`: whether the vCPUs under way have crossed is not known.
    const over = new GodwitError('guest-not-running', 'the exchange was closed')
    this.#link?.up.reject(over)
    this.#dropCrossings(over)
  }

  #say(message: ToExchangeThread): void {
    if (this.#closed === null) this.#worker.postMessage(message)
  }

  #obey(message: FromExchangeThread): void {
    switch (message.type) {
      case 'linked':
        if (this.#link?.generation === message.generation) this.#link.up.resolve()
        return
      case 'failed':
        return this.#failed(message.generation, message.up, GodwitError.from(message.error))
      case 'revoke':
        this.#quiet().then(
          () => this.#say({ type: 'quiet' }),
          (thrown) => this.#say({ type: 'unquiet', error: GodwitError.from(thrown).toJSON() }),
        )
        return
      case 'crossed':
        this.#crossings.get(message.vcpu)?.resolve()
        this.#crossings.delete(message.vcpu)
        return
      case 'cancelled':
        this.#crossings
          .get(message.vcpu)
          ?.reject(new GodwitError('cancelled', `the link was cut while vCPU ${message.vcpu} crossed: it stays`))
        this.#crossings.delete(message.vcpu)
        return
      case 'arrived':
        if (this.#onArrived === null) this.#early.push(message)
        else this.#onArrived(message.vcpu, message.state)
        return
      case 'drained':
        if (message.push === this.#pushes) this.#drained.resolve()
        return
      case 'broken':
        return this.#break(GodwitError.from(message.error))
    }
  }

  #failed(generation: number, up: boolean, error: GodwitError): void {
    if (this.#link?.generation !== generation) return
    if (up) this.#onCut(error)
    else this.#link.up.reject(error)
  }

  /** The thread is gone, or of no use any more. What it has given by then is told only when it can give nothing more. */
  #break(cause: Error): void {
    if (this.#closed !== null || this.#brokenBy !== null) return
    const message = `the exchange of pages and vCPUs has failed: ${cause.message}`
    const error = new GodwitError('exchange-broken', message, { cause })
    this.#brokenBy = error
    this.#worker.terminate().then(() => {
      this.#broken.resolve(error)
      this.#link?.up.reject(error)
      // Nobody knows who has them (R26).
      this.#dropCrossings(error)
      this.#onCut(error)
    })
  }

  #dropCrossings(error: GodwitError): void {
    for (const crossing of this.#crossings.values()) crossing.reject(error)
    this.#crossings.clear()
  }
}

function listening(worker: Worker): Promise<number> {
  const { promise, resolve, reject } = Promise.withResolvers<number>()
  worker.once('message', (message: FromExchangeThread) => {
    if (message.type === 'listening') resolve(message.port)
    else if (message.type === 'broken') reject(GodwitError.from(message.error))
  })
  worker.once('error', reject)
  worker.once('exit', () => reject(new GodwitError('exchange-broken', 'the exchange thread ended while it began')))
  return promise
}
