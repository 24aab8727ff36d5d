// A bare Node.js server of the Redis protocol: parses requests as the store's gateway does and answers from a Map, with no
// guest, no rings and no second process. Loads are tested against it, and benchmarks measure the store by it; so it is to
// be fast: one write for each read, nothing allocated for a command but the key and the value that it brings.

import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { findCommand, fitsArity } from '../../src/programs/kv/command-table.ts'
import { Reply } from '../../src/programs/kv/reply.ts'
import { lengthOf, type Request, startOf } from '../../src/programs/kv/request.ts'
import { RequestParser } from '../../src/programs/kv/request-parser.ts'

const REPLY_BYTES = 1024 * 1024
const MOST_REPLY_BYTES = 256 * 1024 * 1024

type Value = string | number | Map<string, string>

export class BareServer {
  readonly values = new Map<string, Value>()
  readonly sockets = new Set<Socket>()
  /** Requests so far. */
  commands = 0
  readonly #server: Server
  readonly #reply = new Reply(Buffer.allocUnsafeSlow(REPLY_BYTES), MOST_REPLY_BYTES)
  /** The bytes of the reply and of the last request as buffers, made anew only when they are others. */
  #out = Buffer.from(this.#reply.bytes.buffer)
  #in: Buffer = Buffer.alloc(0)
  #paused = false

  constructor() {
    this.#server = createServer({ noDelay: true }, (socket) => this.#accept(socket))
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  /** Port 0: the system chooses. */
  listen(port = 0, host = '127.0.0.1'): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject)
      this.#server.listen(port, host, resolve)
    })
  }

  async close(): Promise<void> {
    this.disconnect()
    if (!this.#server.listening) return
    await new Promise((resolve) => this.#server.close(resolve))
  }

  /** Breaks every connection. */
  disconnect(): void {
    for (const socket of this.sockets) socket.resetAndDestroy()
  }

  /** Neither reads nor answers, as a guest that stands still. */
  pause(): void {
    this.#paused = true
    for (const socket of this.sockets) socket.pause()
  }

  resume(): void {
    this.#paused = false
    for (const socket of this.sockets) socket.resume()
  }

  /** The counter's value after adding; tests have servers that cannot add. */
  protected add(key: string, amount: number): number {
    const value = Number(this.values.get(key) ?? 0) + amount
    this.values.set(key, value)
    return value
  }

  /** Replies to all that one read brought; tests have servers that send something else. */
  protected send(socket: Socket, replies: Uint8Array): void {
    socket.write(replies)
  }

  #accept(socket: Socket): void {
    const parser = new RequestParser()
    this.sockets.add(socket)
    if (this.#paused) socket.pause()
    socket.on('error', () => {})
    socket.once('close', () => this.sockets.delete(socket))
    socket.on('data', (bytes: Buffer) => {
      const reply = this.#reply
      reply.rewind(0)
      parser.push(bytes)
      let parsed = parser.next()
      for (; parsed === 'request'; parsed = parser.next()) this.#execute(parser.request)
      if (parsed === 'broken') reply.error(parser.error)
      if (reply.length > 0) this.send(socket, reply.bytes.slice(0, reply.length))
      if (parsed === 'broken') socket.end()
    })
  }

  #text(request: Request, index: number): string {
    const { bytes } = request
    if (
      this.#in.buffer !== bytes.buffer ||
      this.#in.byteOffset !== bytes.byteOffset ||
      this.#in.length !== bytes.length
    ) {
      this.#in = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
    }
    const start = startOf(request, index)
    return this.#in.toString('latin1', start, start + lengthOf(request, index))
  }

  #bulk(text: string): void {
    const reply = this.#reply
    const at = reply.bulkRoom(text.length)
    if (at < 0) return
    if (this.#out.buffer !== reply.bytes.buffer) {
      this.#out = Buffer.from(reply.bytes.buffer, reply.bytes.byteOffset, reply.bytes.length)
    }
    this.#out.write(text, at, 'latin1')
  }

  #value(value: Value | undefined): void {
    if (value === undefined) this.#reply.null()
    else if (value instanceof Map)
      this.#reply.error('WRONGTYPE Operation against a key holding the wrong kind of value')
    else this.#bulk(String(value))
  }

  #execute(request: Request): void {
    const [reply, { values }] = [this.#reply, this]
    this.commands++
    const spec = findCommand(request)
    if (spec === null) return reply.error(`ERR unknown command '${this.#text(request, 0)}'`)
    if (!fitsArity(spec, request)) return reply.error(`ERR wrong number of arguments for '${spec.name}' command`)
    const word = (index: number): string => this.#text(request, index)
    switch (spec.name) {
      case 'get':
        return this.#value(values.get(word(1)))
      case 'set':
        values.set(word(1), word(2))
        return reply.ok()
      case 'incr':
        return reply.integer(this.add(word(1), 1))
      case 'incrby':
        return reply.integer(this.add(word(1), Number(word(2))))
      case 'del': {
        let gone = 0
        for (let index = 1; index < request.count; index++) gone += values.delete(word(index)) ? 1 : 0
        return reply.integer(gone)
      }
      case 'mget':
        reply.array(request.count - 1)
        for (let index = 1; index < request.count; index++) this.#value(values.get(word(index)))
        return
      case 'mset':
        for (let index = 1; index + 1 < request.count; index += 2) values.set(word(index), word(index + 1))
        return reply.ok()
      case 'hset':
        return this.#setFields(request)
      case 'ping':
        return request.count > 1 ? this.#bulk(word(1)) : reply.simple('PONG')
      case 'echo':
        return this.#bulk(word(1))
      case 'select':
      case 'client':
        return reply.ok()
      case 'dbsize':
        return reply.integer(values.size)
      case 'flushall':
        values.clear()
        return reply.ok()
      case 'command':
        return reply.array(0)
      case 'config':
        // redis-benchmark asks for `save` and `appendonly`.
        reply.array(2)
        this.#bulk(request.count > 2 ? word(2) : '')
        return this.#bulk('')
      case 'info':
        return this.#bulk('# Server\r\nredis_version:7.0.0\r\nredis_mode:standalone\r\n')
      default:
        return reply.error(`ERR '${spec.name}' is not of the bare server`)
    }
  }

  #setFields(request: Request): void {
    const key = this.#text(request, 1)
    const known = this.values.get(key)
    const fields = known instanceof Map ? known : new Map<string, string>()
    const before = fields.size
    for (let index = 2; index + 1 < request.count; index += 2) {
      fields.set(this.#text(request, index), this.#text(request, index + 1))
    }
    this.values.set(key, fields)
    this.#reply.integer(fields.size - before)
  }
}
