// The control connection of a migration over a TCP socket, either side: framing, a bounded queue of messages, pings that
// measure the round trip and the peer's clock, and a peer that falls silent is noticed. A broken rule is told to the peer
// before the connection ends, so both sides report the same cause.
//
//   open ──error or end──► failed (receive rejects for ever)        open ──close()──► closed

import type { Socket } from 'node:net'
import { GodwitError, type Side } from '../errors.ts'
import { MAX_CONTROL_FRAME_BYTES, MAX_QUEUED_MESSAGES, PEER_SILENT_MS, PING_INTERVAL_MS } from '../limits.ts'
import { decodeControl } from './control-codec.ts'
import { ControlFrameReader } from './frame-reader.ts'
import { encodeControl } from './message-frame.ts'
import type { ControlMessage, MessageOf } from './messages.ts'

/** Pings in a row at the start: the smallest round trip is known before the first round ends. */
const FIRST_PINGS = 8
/** Bytes queued for a peer that does not read; more means it is stuck. */
const MAX_UNSENT_BYTES = 8 * MAX_CONTROL_FRAME_BYTES

export interface ControlLinkOptions {
  readonly side: Side
  /** For tests; the limits say why. */
  readonly pingIntervalMs?: number
  readonly peerSilentMs?: number
}

/**
 * Implements ControlLink (migration/ports.ts) on a connected socket, which it owns from then on. At the source the socket
 * has been greeted (greeting.ts); at the destination the hello is the first message sent.
 */
export class SocketControlLink {
  readonly #socket: Socket
  readonly #side: Side
  readonly #peerSilentMs: number
  readonly #reader = new ControlFrameReader(decodeControl)
  readonly #queue: ControlMessage[] = []
  readonly #timers: NodeJS.Timeout[] = []
  readonly #ended = Promise.withResolvers<void>()
  #waiters: PromiseWithResolvers<ControlMessage>[] = []
  #failure: GodwitError | null = null
  #closed = false
  #heardAt = performance.now()
  #pings = 0
  #roundTripNs: bigint | null = null
  #clockOffsetNs = 0n

  constructor(socket: Socket, options: ControlLinkOptions) {
    this.#socket = socket
    this.#side = options.side
    this.#peerSilentMs = options.peerSilentMs ?? PEER_SILENT_MS
    socket.setNoDelay(true)
    socket.on('data', (bytes) => this.#onData(bytes))
    socket.on('error', (cause) => this.#fail(this.#lost(cause)))
    socket.on('end', () => this.#fail(this.#lost()))
    socket.on('close', () => this.#fail(this.#lost()))
    const pingMs = options.pingIntervalMs ?? PING_INTERVAL_MS
    this.#timers.push(setInterval(() => this.#ping(), pingMs))
    this.#timers.push(setInterval(() => this.#checkSilence(), Math.min(pingMs, this.#peerSilentMs / 5)))
    // The source has just welcomed the peer; the destination's hello must go out before its first ping.
    if (options.side === 'source') this.#ping()
  }

  /** Bytes at the socket so far. */
  get bytes(): { sent: number; received: number } {
    return { sent: this.#socket.bytesWritten, received: this.#socket.bytesRead }
  }

  /** Resolves when the link has failed or is closed; messages received before can still be taken. */
  get ended(): Promise<void> {
    return this.#ended.promise
  }

  /** Smallest ping round trip so far, ms; 0 before the first pong. */
  get roundTripMs(): number {
    return Number(this.#roundTripNs ?? 0n) / 1e6
  }

  /** The peer's clock minus ours, ns, from the ping with the smallest round trip: off by half of it at most. */
  get clockOffsetNs(): bigint {
    return this.#clockOffsetNs
  }

  /** Queues a message; dropped once the link has failed or is closed. */
  send(message: ControlMessage): void {
    if (this.#failure !== null || this.#closed || !this.#socket.writable) return
    this.#socket.write(encodeControl(message))
    if (this.#socket.writableLength > MAX_UNSENT_BYTES) {
      this.#fail(new GodwitError('peer-silent', 'the peer does not read its control messages', { side: this.#side }))
    }
  }

  /** Resolves when what was sent so far has left for the kernel, or never will because the link has ended. */
  flushed(): Promise<void> {
    const socket = this.#socket
    if (this.#failure !== null || this.#closed || socket.writableLength === 0) return Promise.resolve()
    const { promise, resolve } = Promise.withResolvers<void>()
    socket.write('', () => resolve())
    return Promise.race([promise, this.ended])
  }

  /** The next message, pings and pongs excepted; rejects with the link's failure for ever after one. */
  receive(): Promise<ControlMessage> {
    const message = this.#queue.shift()
    if (message !== undefined) return Promise.resolve(message)
    if (this.#failure !== null) return Promise.reject(this.#failure)
    const waiter = Promise.withResolvers<ControlMessage>()
    this.#waiters.push(waiter)
    return waiter.promise
  }

  /** Sends what is queued, then closes; messages received before can still be taken. Idempotent. */
  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#settle(new GodwitError('link-lost', 'the control connection was closed', { side: this.#side }))
    this.#socket.end()
    // A peer that never ends its half must not keep the socket.
    const last = setTimeout(() => this.#socket.destroy(), this.#peerSilentMs)
    this.#socket.once('close', () => clearTimeout(last))
    this.#socket.resume()
  }

  #onData(bytes: Uint8Array): void {
    if (this.#failure !== null || this.#closed) return
    this.#heardAt = performance.now()
    try {
      this.#reader.push(bytes, (message) => this.#deliver(message))
    } catch (thrown) {
      this.#breakOff(GodwitError.from(thrown, 'bad-frame'))
    }
  }

  #deliver(message: ControlMessage): void {
    if (this.#failure !== null || this.#closed) return
    if (message.type === 'ping') {
      this.send({ type: 'pong', sentAt: message.sentAt, clock: process.hrtime.bigint() })
      if (this.#pings === 0) this.#ping()
    } else if (message.type === 'pong') {
      this.#onPong(message)
    } else {
      const waiter = this.#waiters.shift()
      if (waiter !== undefined) waiter.resolve(message)
      else if (this.#queue.push(message) > MAX_QUEUED_MESSAGES) {
        throw new GodwitError('unexpected-message', `over ${MAX_QUEUED_MESSAGES} control messages not yet taken`)
      }
    }
  }

  #ping(): void {
    this.#pings++
    this.send({ type: 'ping', sentAt: process.hrtime.bigint() })
  }

  #onPong(pong: MessageOf<'pong'>): void {
    const now = process.hrtime.bigint()
    const roundTrip = now - pong.sentAt
    // Only an echo of ours can be older than now and younger than the link's silence limit.
    if (roundTrip < 0n || roundTrip > BigInt(this.#peerSilentMs) * 2_000_000n) {
      throw new GodwitError('bad-message', 'a pong to a ping that was never sent')
    }
    if (this.#roundTripNs === null || roundTrip < this.#roundTripNs) {
      this.#roundTripNs = roundTrip
      this.#clockOffsetNs = pong.clock - (pong.sentAt + now) / 2n
    }
    if (this.#pings < FIRST_PINGS) this.#ping()
  }

  #checkSilence(): void {
    if (performance.now() - this.#heardAt < this.#peerSilentMs) return
    this.#fail(
      new GodwitError('peer-silent', `the peer sent nothing for ${this.#peerSilentMs} ms`, {
        side: this.#side,
        hint: 'check the network between the hosts and whether the other process is alive',
      }),
    )
  }

  /** The peer broke a rule: it is told, then the link ends. */
  #breakOff(error: GodwitError): void {
    const { code, message, hint } = error
    const told = new GodwitError(code, message, { hint, side: this.#side })
    this.send({ type: 'abort', error: told.toJSON() })
    this.#settle(told)
    this.#socket.end()
    const last = setTimeout(() => this.#socket.destroy(), PING_INTERVAL_MS)
    this.#socket.once('close', () => clearTimeout(last))
  }

  #lost(cause?: unknown): GodwitError {
    const cut = this.#reader.midFrame ? ' in the middle of a frame' : ''
    return new GodwitError('link-lost', `the control connection was lost${cut}`, { side: this.#side, cause })
  }

  #fail(error: GodwitError): void {
    if (this.#failure !== null) return
    this.#settle(error)
    this.#socket.destroy()
  }

  #settle(error: GodwitError): void {
    if (this.#failure !== null) return
    this.#failure = error
    this.#ended.resolve()
    for (const timer of this.#timers) clearInterval(timer)
    const waiters = this.#waiters
    this.#waiters = []
    for (const waiter of waiters) waiter.reject(error)
  }
}
