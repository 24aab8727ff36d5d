// A service port: takes RESP clients in, and lets each turn of the event loop end with one write a client. The agent has one
// for each guest that serves, `godwit gateway` one. client.ts does what is one client's.

import { createServer, type Server, type Socket } from 'node:net'
import {
  GATEWAY_INPUT_BYTES,
  GATEWAY_KEEPALIVE_MS,
  GATEWAY_MAX_CLIENTS,
  GATEWAY_OUTPUT_BYTES,
  GATEWAY_OUTPUT_PIECE_BYTES,
  GATEWAY_OUTPUT_PIECES,
} from '../limits.ts'
import { Reply } from '../programs/kv/reply.ts'
import { listenInRange } from '../wire/listen.ts'
import type { Backend } from './backend.ts'
import { Client } from './client.ts'
import type { ClusterView } from './cluster-view.ts'
import { MAX_CLIENTS_REACHED } from './failures.ts'

export interface FrontOptions {
  readonly backend: Backend
  /** Cluster mode: redirects, and answers to CLUSTER. */
  readonly cluster?: ClusterView | null
  readonly maxClients?: number
}

const FIRST_REPLY_BYTES = 4096
/** CLIENT LIST of as many clients as there may be. */
const MAX_REPLY_BYTES = 8 * 1024 * 1024

export class Front {
  readonly backend: Backend
  readonly cluster: ClusterView | null
  readonly clients = new Map<number, Client>()
  /** For what the gateway itself answers; used up before anything else is done. */
  readonly reply = new Reply(new Uint8Array(FIRST_REPLY_BYTES), MAX_REPLY_BYTES)
  /** Commands that clients have sent, and clients that have come, since the port is open. */
  commands = 0
  connections = 0
  port = 0
  readonly #server: Server
  readonly maxClients: number
  readonly #pieces: Buffer[] = []
  readonly #stalled = new Set<Client>()
  #dirty: Client[] = []
  #flushing = false
  #inputBytes = 0
  #outputBytes = 0
  #nextId = 1

  constructor({ backend, cluster = null, maxClients = GATEWAY_MAX_CLIENTS }: FrontOptions) {
    this.backend = backend
    this.cluster = cluster
    this.maxClients = maxClients
    const keepAlive = { keepAlive: true, keepAliveInitialDelay: GATEWAY_KEEPALIVE_MS }
    this.#server = createServer({ allowHalfOpen: true, noDelay: true, ...keepAlive }, (socket) => this.#enter(socket))
    backend.onDrain(() => this.#resume())
  }

  /** Listens on the first free port of the range ([0, 0]: the system chooses). Throws `no-port`. */
  async listen(host: string, range: readonly [number, number]): Promise<void> {
    this.port = await listenInRange(this.#server, host, range)
  }

  /** Ends every connection, and the port; the backend is its maker's to close. */
  async close(): Promise<void> {
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    for (const client of [...this.clients.values()]) client.destroy()
    await closed
  }

  /** The client has something to write when this turn ends. */
  noteDirty(client: Client): void {
    this.#dirty.push(client)
    if (this.#flushing) return
    this.#flushing = true
    setImmediate(this.#flush)
  }

  /** The client waits for room at the backend. */
  noteStalled(client: Client): void {
    this.#stalled.add(client)
  }

  /** It waits for room, and is woken when there is some. */
  isStalled(client: Client): boolean {
    return this.#stalled.has(client)
  }

  /** Bytes of requests in part, more or fewer; false: those of all clients are too many. */
  countInput(difference: number): boolean {
    this.#inputBytes += difference
    return this.#inputBytes <= GATEWAY_INPUT_BYTES
  }

  /** Bytes of replies that wait, more or fewer; false: those of all clients are too many. */
  countOutput(difference: number): boolean {
    this.#outputBytes += difference
    return this.#outputBytes <= GATEWAY_OUTPUT_BYTES
  }

  leave(client: Client): void {
    this.clients.delete(client.id)
    this.#stalled.delete(client)
  }

  takePiece(): Buffer {
    return this.#pieces.pop() ?? Buffer.allocUnsafeSlow(GATEWAY_OUTPUT_PIECE_BYTES)
  }

  givePiece(piece: Buffer): void {
    if (this.#pieces.length < GATEWAY_OUTPUT_PIECES) this.#pieces.push(piece)
  }

  #enter(socket: Socket): void {
    // The server counts those that are about to leave, too.
    if (this.clients.size >= this.maxClients) {
      socket.on('error', () => {})
      socket.write(`-${MAX_CLIENTS_REACHED}\r\n`)
      socket.destroySoon()
      return
    }
    this.connections++
    const client = new Client(this, socket, this.#nextId++)
    this.clients.set(client.id, client)
  }

  readonly #flush = (): void => {
    this.#flushing = false
    const dirty = this.#dirty
    this.#dirty = []
    for (const client of dirty) client.flush()
  }

  /** One that alone would fill all the room is behind the others the next time. */
  #resume(): void {
    const stalled = [...this.#stalled]
    this.#stalled.clear()
    for (const client of stalled) client.resume()
    const [first] = stalled
    if (first !== undefined && this.#stalled.delete(first)) this.#stalled.add(first)
  }
}
