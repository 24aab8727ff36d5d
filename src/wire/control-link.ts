// One control connection over a socket: frames in and out, keep-alive, dead-peer detection and the peer's clock. The
// same class at both ends. Pings and pongs never surface.

import type { Socket } from 'node:net'
import { GodwitError, type Side } from '../errors.ts'
import { PEER_SILENT_MS, PING_INTERVAL_MS } from '../limits.ts'
import { encodeControl } from './control-codec.ts'
import { ControlFrameReader } from './frame-reader.ts'
import type { ControlMessage } from './messages.ts'

/** Messages waiting for a reader; more of them is a peer that floods. */
const MAX_QUEUED_MESSAGES = 1024

interface Reader {
  resolve(message: ControlMessage): void
  reject(error: GodwitError): void
}

export class SocketControlLink {
  readonly bytes = { sent: 0, received: 0 }
  roundTripMs = 0
  clockOffsetNs = 0n
  readonly #socket: Socket
  readonly #side: Side
  readonly #pinger: NodeJS.Timeout
  readonly #queue: ControlMessage[] = []
  readonly #frames = new ControlFrameReader()
  #reader: Reader | null = null
  #failure: GodwitError | null = null
  #heardAt = performance.now()
  #closed = false

  /** `side`: which side this end is; errors found here carry it. */
  constructor(socket: Socket, options: { side: Side }) {
    this.#socket = socket
    this.#side = options.side
    socket.setNoDelay(true)
    socket.on('data', (piece: Buffer) => this.#take(piece))
    socket.on('error', (cause) =>
      this.#fail(new GodwitError('link-lost', `connection lost: ${cause.message}`, { cause })),
    )
    socket.on('close', () => this.#fail(new GodwitError('link-lost', 'the peer closed the connection')))
    this.#pinger = setInterval(() => this.#beat(), PING_INTERVAL_MS)
    this.#pinger.unref()
  }

  /** Measures round trip and clock at once instead of at the next beat. */
  ping(): void {
    this.send({ type: 'ping', sentAt: process.hrtime.bigint() })
  }

  send(message: ControlMessage): void {
    if (this.#failure !== null || this.#closed) return
    const frame = encodeControl(message)
    this.bytes.sent += frame.length
    this.#socket.write(frame)
  }

  receive(): Promise<ControlMessage> {
    const message = this.#queue.shift()
    if (message !== undefined) return Promise.resolve(message)
    if (this.#failure !== null) return Promise.reject(this.#failure)
    const { promise, resolve, reject } = Promise.withResolvers<ControlMessage>()
    this.#reader = { resolve, reject }
    return promise
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    clearInterval(this.#pinger)
    this.#socket.end()
    // A peer that never closes its half must not keep this process alive.
    this.#socket.setTimeout(PEER_SILENT_MS, () => this.#socket.destroy())
    this.#socket.unref()
  }

  #beat(): void {
    if (performance.now() - this.#heardAt > PEER_SILENT_MS) {
      this.#fail(new GodwitError('peer-silent', `the peer sent nothing for ${PEER_SILENT_MS} ms`))
      this.#socket.destroy()
      return
    }
    this.ping()
  }

  #take(piece: Buffer): void {
    this.bytes.received += piece.length
    this.#heardAt = performance.now()
    if (this.#failure !== null) return
    try {
      this.#frames.push(piece, (message) => this.#deliver(message))
    } catch (thrown) {
      this.#refuse(GodwitError.from(thrown))
    }
  }

  #deliver(message: ControlMessage): void {
    if (message.type === 'ping') {
      this.send({ type: 'pong', sentAt: message.sentAt, clock: process.hrtime.bigint() })
      return
    }
    if (message.type === 'pong') {
      this.#measure(message.sentAt, message.clock)
      return
    }
    const reader = this.#reader
    this.#reader = null
    if (reader !== null) {
      reader.resolve(message)
      return
    }
    this.#queue.push(message)
    if (this.#queue.length > MAX_QUEUED_MESSAGES)
      throw new GodwitError('bad-message', 'more messages than anybody reads')
  }

  /** The sample with the smallest round trip says most about the peer's clock. */
  #measure(sentAt: bigint, peerClock: bigint): void {
    const now = process.hrtime.bigint()
    const roundTripMs = Number(now - sentAt) / 1e6
    if (roundTripMs < 0 || (this.roundTripMs !== 0 && roundTripMs >= this.roundTripMs)) return
    this.roundTripMs = roundTripMs
    this.clockOffsetNs = peerClock - (sentAt + now) / 2n
  }

  /** A peer that breaks the protocol is told the named error, so that both sides report the real cause. */
  #refuse(error: GodwitError): void {
    const named = new GodwitError(error.code, error.message, { hint: error.hint, side: this.#side, cause: error })
    const { code, message } = named
    this.send({ type: 'abort', error: { code, message: message.slice(0, 1000), side: this.#side } })
    this.#fail(named)
    this.close()
  }

  #fail(error: GodwitError): void {
    clearInterval(this.#pinger)
    if (this.#failure !== null) return
    this.#failure = error
    this.#reader?.reject(error)
    this.#reader = null
  }
}
