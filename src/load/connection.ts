// One client of a load: a socket that pipelines requests, matches replies with them in order, and dials again when it is
// lost. What its replies mean is its owner's business: the load itself (run.ts), or a sweep over all keys (sweep.ts).
//
//   dialling ──connected──► open ──lost, or what came is no reply──► waiting ──after a moment──► dialling
//      any ──close()──► closed

import { connect, type Socket } from 'node:net'
import { GodwitError } from '../errors.ts'
import { LOAD_DIAL_TIMEOUT_MS, LOAD_REDIAL_FIRST_MS, LOAD_REDIAL_MAX_MS, READ_BYTES } from '../limits.ts'
import type { Operation } from './operations.ts'
import type { Target } from './options.ts'
import { Outstanding } from './outstanding.ts'
import { type Reply, ReplyParser } from './reply-parser.ts'
import type { RequestWriter } from './request-writer.ts'

/** What is written and not handed to the socket, at most about this. */
const BATCH_BYTES = 128 * 1024

/** What the reason begins with when a connection ends because of what came. */
export const BAD_REPLY = 'bad-reply: '

export interface Owner {
  /** A reply to the oldest outstanding operation of the connection, which is dropped afterwards. */
  answered(connection: Connection, reply: Reply, nowMs: number): void
  /** The oldest outstanding operation will have no reply; called for each, the oldest first. */
  lost(connection: Connection, reason: string, nowMs: number): void
  /** An open connection was lost. */
  disconnected(connection: Connection, reason: string, nowMs: number): void
  /** It may be sent on: replies came, the socket has room again, or it is open again. */
  ready(connection: Connection): void
}

export class Connection {
  readonly index: number
  readonly outstanding = new Outstanding()
  owner: Owner | null = null
  /** When the last bytes came. */
  repliedMs = Number.NEGATIVE_INFINITY
  readonly #target: Target
  readonly #writer: RequestWriter
  readonly #clock: () => number
  readonly #buffer = Buffer.allocUnsafeSlow(READ_BYTES / 4)
  #state: 'dialling' | 'open' | 'waiting' | 'closed' = 'dialling'
  #socket: Socket | null = null
  #parser = new ReplyParser()
  /** The socket has as much as it takes. */
  #blocked = false
  #failures = 0
  #redial: NodeJS.Timeout | null = null

  constructor(index: number, target: Target, writer: RequestWriter, clock: () => number) {
    this.index = index
    this.#target = target
    this.#writer = writer
    this.#clock = clock
  }

  /** Dials for the first time. Rejects with `unreachable`; later losses are dialled again and again. */
  open(): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#dial(resolve, (reason) => {
        this.close()
        const at = `${this.#target.host}:${this.#target.port}`
        const hint = 'start the service first, and give its port; an agent prints the ports of its guests'
        reject(new GodwitError('unreachable', `nothing serves at ${at}: ${reason}`, { hint }))
      })
    })
  }

  /** Takes another operation. */
  get canSend(): boolean {
    return this.#state === 'open' && !this.#blocked && !this.outstanding.full && this.#writer.length < BATCH_BYTES
  }

  /** Writes one operation; `flush` sends what is written. */
  send(kind: Operation, key: number, added: number, counter: boolean, dueMs: number, nowMs: number): void {
    this.#writer.write(kind, key, added, counter)
    this.outstanding.push(kind, key, added, dueMs, nowMs)
  }

  flush(): void {
    if (this.#writer.length === 0 || this.#socket === null) return
    this.#blocked = !this.#socket.write(this.#writer.take())
  }

  /** Ends the connection for a reason, and dials again. */
  drop(reason: string): void {
    if (this.#state === 'open') this.#lost(reason)
  }

  /** Ends it for good; what is outstanding is lost. */
  close(reason = 'closed'): void {
    if (this.#redial !== null) clearTimeout(this.#redial)
    this.#state = 'closed'
    this.#forget(reason)
  }

  #dial(onOpen: () => void, onFailure: (reason: string) => void): void {
    this.#state = 'dialling'
    const { host, port } = this.#target
    const onread = { buffer: this.#buffer, callback: (bytes: number) => this.#read(bytes) }
    const socket = connect({ host, port, noDelay: true, onread })
    let reason = ''
    const timer = setTimeout(() => socket.destroy(new Error('no answer')), LOAD_DIAL_TIMEOUT_MS)
    this.#socket = socket
    this.#parser = new ReplyParser()
    this.#blocked = false
    socket.once('connect', () => {
      clearTimeout(timer)
      if (this.#socket !== socket) return
      this.#state = 'open'
      onOpen()
      this.owner?.ready(this)
    })
    socket.on('drain', () => {
      this.#blocked = false
      this.owner?.ready(this)
    })
    socket.on('error', (error: NodeJS.ErrnoException) => {
      reason = error.code ?? error.message
    })
    socket.once('close', () => {
      clearTimeout(timer)
      if (this.#socket !== socket) return
      if (this.#state === 'open') this.#lost(reason || 'closed by the server')
      else onFailure(reason || 'closed by the server')
    })
  }

  #read(bytes: number): boolean {
    if (this.#state !== 'open') return false
    const nowMs = this.#clock()
    this.#failures = 0
    this.repliedMs = nowMs
    this.#parser.push(this.#buffer.subarray(0, bytes))
    let parsed = this.#parser.next()
    for (; parsed === 'reply'; parsed = this.#parser.next()) {
      if (this.outstanding.length === 0) {
        this.#lost(`${BAD_REPLY}a reply that nothing asked for`)
        return false
      }
      this.owner?.answered(this, this.#parser.reply, nowMs)
      // The owner may have closed it.
      if (this.outstanding.length === 0) return false
      this.outstanding.shift()
    }
    if (parsed === 'broken') {
      this.#lost(`${BAD_REPLY}${this.#parser.error}`)
      return false
    }
    this.owner?.ready(this)
    return true
  }

  #lost(reason: string): void {
    this.#state = 'waiting'
    const nowMs = this.#clock()
    this.owner?.disconnected(this, reason, nowMs)
    this.#forget(reason)
    this.#again()
  }

  /** Lets go of the socket and of what was sent on it. */
  #forget(reason: string): void {
    const socket = this.#socket
    this.#socket = null
    socket?.destroy()
    this.#writer.clear()
    const nowMs = this.#clock()
    while (this.outstanding.length > 0) {
      this.owner?.lost(this, reason, nowMs)
      this.outstanding.shift()
    }
  }

  #again(): void {
    if (this.#state === 'closed') return
    this.#state = 'waiting'
    const wait = Math.min(LOAD_REDIAL_MAX_MS, LOAD_REDIAL_FIRST_MS * 2 ** Math.min(this.#failures++, 10))
    this.#redial = setTimeout(
      () =>
        this.#dial(
          () => {},
          () => this.#again(),
        ),
      wait,
    )
  }
}
