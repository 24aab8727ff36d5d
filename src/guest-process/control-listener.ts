// The source's control port: takes the destination's connection, and a new one after a cut. A connection that does not
// show the migration's token first is closed before it costs memory (R14). Used by source-world.ts.

import { createServer, type Server, type Socket } from 'node:net'
import { SocketControlLink } from '../wire/control-link.ts'
import { greet } from '../wire/greeting.ts'
import { listenInRange } from '../wire/listen.ts'
import { admitStranger } from '../wire/strangers.ts'

export interface ControlListenerOptions {
  readonly host: string
  /** First and last port to try; [0, 0]: the system chooses. */
  readonly portRange: readonly [number, number]
  readonly migration: string
  readonly token: string
}

export class ControlListener {
  readonly port: number
  readonly #server: Server
  readonly #options: ControlListenerOptions
  readonly #arrived: SocketControlLink[] = []
  readonly #strangers = new Set<Socket>()
  #waiter: ((link: SocketControlLink) => void) | null = null
  #closed = false

  private constructor(server: Server, port: number, options: ControlListenerOptions) {
    this.#server = server
    this.port = port
    this.#options = options
    server.on('connection', (socket) => void this.#greet(socket))
  }

  /** Throws `no-port` when the range is exhausted. */
  static async listen(options: ControlListenerOptions): Promise<ControlListener> {
    const server = createServer()
    const port = await listenInRange(server, options.host, options.portRange)
    return new ControlListener(server, port, options)
  }

  /** The next control link of this migration: the newest, for whoever dials again has given up the link before. */
  next(signal: AbortSignal): Promise<SocketControlLink> {
    const newest = this.#arrived.pop()
    for (const older of this.#arrived.splice(0)) older.close()
    if (newest !== undefined) return Promise.resolve(newest)
    const { promise, resolve, reject } = Promise.withResolvers<SocketControlLink>()
    // A link that arrives after the caller has gone is for the next one: nobody would read it otherwise.
    const giveUp = (): void => {
      if (this.#waiter === taken) this.#waiter = null
      reject(signal.reason)
    }
    const taken = (link: SocketControlLink): void => {
      signal.removeEventListener('abort', giveUp)
      resolve(link)
    }
    this.#waiter = taken
    signal.addEventListener('abort', giveUp, { once: true })
    if (signal.aborted) giveUp()
    return promise
  }

  close(): void {
    this.#closed = true
    this.#server.close()
    for (const socket of this.#strangers) socket.destroy()
    for (const link of this.#arrived) link.close()
  }

  async #greet(socket: Socket): Promise<void> {
    admitStranger(this.#strangers, socket)
    try {
      socket.write(await greet(socket, { ...this.#options, channel: 'control' }))
      this.#hand(new SocketControlLink(socket, { side: 'source' }))
    } catch {
      // A stranger has been told the name of its mistake.
    } finally {
      this.#strangers.delete(socket)
    }
  }

  #hand(link: SocketControlLink): void {
    if (this.#closed) return link.close()
    const waiter = this.#waiter
    this.#waiter = null
    if (waiter === null) this.#arrived.push(link)
    else waiter(link)
  }
}
