// How the exchange thread comes by a connection for each link: the source listens for the whole of the migration and takes
// the one that shows the token and the generation in force (R14, R23), the destination dials.

import { connect, createServer, type Socket } from 'node:net'
import { GodwitError } from '../../errors.ts'
import { EXCHANGE_CHANNEL, READ_BYTES } from '../../limits.ts'
import { greet } from '../../wire/greeting.ts'
import { listenInRange } from '../../wire/listen.ts'
import { encodeControl } from '../../wire/message-frame.ts'
import { CAPABILITIES, PROTOCOL_VERSION } from '../../wire/protocol.ts'
import { admitStranger } from '../../wire/strangers.ts'

export interface Identity {
  readonly migration: string
  readonly token: string
}

/** The socket was greeted; `welcome` is still to be sent. */
export type OnConnection = (socket: Socket, welcome: Buffer) => void

/** Listens; connections that come while none is wanted wait, a few of them, until one is. */
export class ExchangeListener {
  readonly #server = createServer({ noDelay: true })
  readonly #identity: Identity
  readonly #waiting = new Set<Socket>()
  readonly #greeting = new Set<Socket>()
  #wanted: { generation: number; take: OnConnection } | null = null

  constructor(identity: Identity) {
    this.#identity = identity
    this.#server.on('connection', (socket) => this.#meet(socket))
  }

  /** Returns the port. Throws `no-port`. */
  listen(host: string, range: readonly [number, number]): Promise<number> {
    return listenInRange(this.#server, host, range)
  }

  /** From now on a connection of this generation is taken, once; null: none. */
  want(generation: number | null, take: OnConnection): void {
    this.#wanted = generation === null ? null : { generation, take }
    if (generation === null) return
    for (const socket of [...this.#waiting]) {
      this.#waiting.delete(socket)
      void this.#greet(socket)
    }
  }

  close(): void {
    this.#server.close()
    for (const socket of [...this.#waiting, ...this.#greeting]) socket.destroy()
  }

  #meet(socket: Socket): void {
    if (this.#wanted !== null) return void this.#greet(socket)
    admitStranger(this.#waiting, socket)
    socket.on('error', () => this.#waiting.delete(socket))
    socket.on('close', () => this.#waiting.delete(socket))
  }

  async #greet(socket: Socket): Promise<void> {
    const wanted = this.#wanted
    if (wanted === null) return
    admitStranger(this.#greeting, socket)
    try {
      const { generation } = wanted
      const welcome = await greet(socket, { ...this.#identity, channel: EXCHANGE_CHANNEL, generation })
      if (this.#wanted !== wanted) {
        socket.destroy()
        return
      }
      this.#wanted = null
      wanted.take(socket, welcome)
    } catch {
      // A stranger has been told the name of its mistake.
    } finally {
      this.#greeting.delete(socket)
    }
  }
}

/** Dials and says hello; what comes is handed to `onBytes`, which must be done with it when it returns. */
export function dialExchange(options: {
  readonly host: string
  readonly port: number
  readonly generation: number
  readonly identity: Identity
  readonly onBytes: (bytes: Uint8Array) => void
}): Socket {
  const { host, port, generation, identity, onBytes } = options
  const callback = (size: number, buffer: Uint8Array): boolean => {
    onBytes(buffer.subarray(0, size))
    return true
  }
  const onread = { buffer: new Uint8Array(READ_BYTES), callback }
  const socket = connect({ host, port, noDelay: true, keepAlive: true, onread })
  socket.on('connect', () => {
    const capabilities = [...CAPABILITIES]
    const hello = {
      type: 'hello',
      version: PROTOCOL_VERSION,
      ...identity,
      generation,
      channel: EXCHANGE_CHANNEL,
    } as const
    socket.write(encodeControl({ ...hello, capabilities }))
  })
  return socket
}

export const noAnswer = (where: string): GodwitError =>
  new GodwitError('unreachable', `no exchange with ${where} in time`, {
    hint: "the destination dials the source: open the source's data ports, or set --advertise",
  })
