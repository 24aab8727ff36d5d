// Requests, answers and events between an agent and its guest processes: one JSON document a line over a unix socket.
// The guest process serves (main.ts), the agent calls (supervise.ts). Requests may overtake each other.
//
//   agent → guest   {"id":7,"method":"migrate","params":{…}}
//   guest → agent   {"id":7,"result":{…}}   {"id":7,"error":{"code":…}}   {"event":{…}}

import { rmSync } from 'node:fs'
import { connect, createServer, type Socket } from 'node:net'
import { GodwitError } from '../errors.ts'
import { RPC_LINE_BYTES } from '../limits.ts'

/** Cuts a stream of bytes into lines; a pure push machine. Throws `frame-too-long` above the cap. */
export class LineSplitter {
  #parts: Buffer[] = []
  #length = 0
  readonly #cap: number

  constructor(cap: number = RPC_LINE_BYTES) {
    this.#cap = cap
  }

  /** The lines that `chunk` completes, without their ends. */
  push(chunk: Buffer): string[] {
    const lines: string[] = []
    let start = 0
    for (let end = chunk.indexOf(10); end !== -1; end = chunk.indexOf(10, start)) {
      this.#keep(chunk.subarray(start, end))
      lines.push(Buffer.concat(this.#parts).toString('utf8'))
      this.#parts = []
      this.#length = 0
      start = end + 1
    }
    this.#keep(chunk.subarray(start))
    return lines
  }

  #keep(part: Buffer): void {
    this.#length += part.length
    if (this.#length > this.#cap) throw new GodwitError('frame-too-long', `a line of over ${this.#cap} bytes`)
    if (part.length > 0) this.#parts.push(part)
  }
}

interface Envelope {
  id?: unknown
  method?: unknown
  params?: unknown
  result?: unknown
  error?: unknown
  event?: unknown
}

/** Calls `receive` with every JSON object that arrives; anything else destroys the socket. */
function receiveLines(socket: Socket, receive: (envelope: Envelope) => void): void {
  const splitter = new LineSplitter()
  socket.on('data', (chunk: Buffer) => {
    try {
      for (const line of splitter.push(chunk)) {
        const envelope: unknown = JSON.parse(line)
        if (typeof envelope !== 'object' || envelope === null) throw new GodwitError('bad-message', 'not an object')
        receive(envelope)
      }
    } catch (error) {
      socket.destroy(error as Error)
    }
  })
}

const send = (socket: Socket, envelope: Envelope): void => {
  if (socket.writable) socket.write(`${JSON.stringify(envelope)}\n`)
}

export type RpcHandler = (params: unknown) => unknown | Promise<unknown>

export interface RpcServer {
  /** Sends an event to every connected client; one that reads too slowly is cut off. */
  broadcast(event: unknown): void
  close(): Promise<void>
}

/** Serves `handlers` on a unix socket, replacing a stale socket file. What a handler throws travels as its code. */
export async function serveRpc(path: string, handlers: Record<string, RpcHandler>): Promise<RpcServer> {
  rmSync(path, { force: true })
  const clients = new Set<Socket>()
  const answer = async (socket: Socket, { id, method, params }: Envelope): Promise<void> => {
    try {
      const handler = typeof method === 'string' && Object.hasOwn(handlers, method) ? handlers[method] : undefined
      if (handler === undefined) throw new GodwitError('bad-message', `no method ${JSON.stringify(method)}`)
      send(socket, { id, result: (await handler(params)) ?? null })
    } catch (error) {
      send(socket, { id, error: GodwitError.from(error).toJSON() })
    }
  }
  const server = createServer((socket) => {
    clients.add(socket)
    socket.on('error', () => {})
    socket.on('close', () => clients.delete(socket))
    receiveLines(socket, (envelope) => void answer(socket, envelope))
  })
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(path, resolve)
  })
  return {
    broadcast: (event) => {
      for (const socket of clients) {
        if (socket.writableLength > RPC_LINE_BYTES) socket.destroy()
        else send(socket, { event })
      }
    },
    close: async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()))
      for (const socket of clients) socket.destroySoon()
      await closed
      rmSync(path, { force: true })
    },
  }
}

/** The calling half. Every call still waiting when the socket closes rejects with `link-lost`. */
export class RpcClient {
  readonly #socket: Socket
  readonly #waiting = new Map<number, { resolve: (result: unknown) => void; reject: (error: Error) => void }>()
  #nextId = 1
  /** Resolves when the connection is gone, for whatever reason. */
  readonly closed: Promise<void>

  private constructor(socket: Socket, onEvent: (event: unknown) => void) {
    this.#socket = socket
    socket.on('error', () => {})
    this.closed = new Promise((resolve) => {
      socket.on('close', () => {
        for (const { reject } of this.#waiting.values()) {
          reject(new GodwitError('link-lost', 'the guest process closed its socket'))
        }
        this.#waiting.clear()
        resolve()
      })
    })
    receiveLines(socket, (envelope) => {
      if (envelope.event !== undefined) return onEvent(envelope.event)
      const waiting = this.#waiting.get(envelope.id as number)
      if (waiting === undefined) return
      this.#waiting.delete(envelope.id as number)
      if (envelope.error !== undefined) waiting.reject(GodwitError.from(envelope.error))
      else waiting.resolve(envelope.result)
    })
  }

  /** Connects to a guest's socket. Throws `unreachable`. */
  static async connect(path: string, onEvent: (event: unknown) => void = () => {}): Promise<RpcClient> {
    const socket = connect(path)
    await new Promise<void>((resolve, reject) => {
      socket.once('connect', resolve)
      socket.once('error', (cause) => reject(new GodwitError('unreachable', `no guest answers at ${path}`, { cause })))
    })
    return new RpcClient(socket, onEvent)
  }

  /** Calls a method; `timeoutMs` null waits as long as it takes. */
  async call<T>(method: string, params: unknown = null, timeoutMs: number | null = 10_000): Promise<T> {
    if (this.#socket.destroyed) throw new GodwitError('link-lost', 'the guest process is gone')
    const id = this.#nextId++
    return await new Promise<T>((resolve, reject) => {
      const timer =
        timeoutMs === null
          ? undefined
          : setTimeout(() => {
              this.#waiting.delete(id)
              reject(new GodwitError('unreachable', `the guest process did not answer '${method}' in ${timeoutMs} ms`))
            }, timeoutMs)
      this.#waiting.set(id, {
        resolve: (result) => {
          clearTimeout(timer)
          resolve(result as T)
        },
        reject: (error) => {
          clearTimeout(timer)
          reject(error)
        },
      })
      send(this.#socket, { id, method, params })
    })
  }

  close(): void {
    this.#socket.destroy()
  }
}
