// The source's control port: takes the destination's connection, and a new one after a cut. A connection that does not
// show the migration's token first is closed before it costs memory (R14). Used by source-world.ts.

import { createServer, type Server, type Socket } from 'node:net'
import { GodwitError } from '../errors.ts'
import { HELLO_TIMEOUT_MS, MAX_STRANGERS } from '../limits.ts'
import { SocketControlLink } from '../wire/control-link.ts'
import { listenInRange } from '../wire/listen.ts'
import { CAPABILITIES, type MessageOf, PROTOCOL_VERSION } from '../wire/messages.ts'

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

  /** The next control link of this migration. */
  next(signal: AbortSignal): Promise<SocketControlLink> {
    const waiting = this.#arrived.shift()
    if (waiting !== undefined) return Promise.resolve(waiting)
    const { promise, resolve, reject } = Promise.withResolvers<SocketControlLink>()
    this.#waiter = resolve
    signal.addEventListener('abort', () => reject(signal.reason), { once: true })
    if (signal.aborted) reject(signal.reason)
    return promise
  }

  close(): void {
    this.#server.close()
    for (const socket of this.#strangers) socket.destroy()
    for (const link of this.#arrived) link.close()
  }

  async #greet(socket: Socket): Promise<void> {
    if (this.#strangers.size >= MAX_STRANGERS) {
      socket.destroy()
      return
    }
    this.#strangers.add(socket)
    const tooLate = setTimeout(() => socket.destroy(), HELLO_TIMEOUT_MS)
    try {
      const link = new SocketControlLink(socket, { side: 'source' })
      const hello = await link.receive()
      if (hello.type !== 'hello') throw new GodwitError('unexpected-message', `'${hello.type}' before hello`)
      this.#admit(hello)
      link.send({ type: 'welcome', capabilities: [...CAPABILITIES] })
      this.#hand(link)
    } catch (thrown) {
      const { code, message } = GodwitError.from(thrown, 'bad-frame')
      // A stranger learns nothing but the name of its mistake.
      void message
      socket.destroySoon()
      void code
    } finally {
      clearTimeout(tooLate)
      this.#strangers.delete(socket)
    }
  }

  #admit(hello: MessageOf<'hello'>): void {
    const { migration, token } = this.#options
    if (hello.version !== PROTOCOL_VERSION) {
      throw new GodwitError('wrong-version', `the peer speaks protocol ${hello.version}, not ${PROTOCOL_VERSION}`)
    }
    if (hello.migration !== migration || hello.token !== token || hello.channel !== 'control') {
      throw new GodwitError('bad-token', 'a connection without the token of this migration')
    }
  }

  #hand(link: SocketControlLink): void {
    const waiter = this.#waiter
    this.#waiter = null
    if (waiter === null) this.#arrived.push(link)
    else waiter(link)
  }
}
