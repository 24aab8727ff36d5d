// One client of a service port: its bytes to commands, commands to where they are executed, replies back in order. Made by
// front.ts. The path of a command with one key allocates nothing but what the parser keeps.
//
//   socket ─► parser ─► routeOf ─► backend.send ──► onReply ─► in turn? ─► piece ─► one write when the turn ends
//                          └─► answered here ────────────────────┘└─ early: kept

import type { Socket } from 'node:net'
import { giveBack } from '../give-back.ts'
import {
  GATEWAY_CLOSE_BYTES,
  GATEWAY_FIRST_WINDOW_COMMANDS,
  GATEWAY_OUTPUT_PIECE_BYTES,
  GATEWAY_PAUSE_BYTES,
  GATEWAY_REQUEST_BYTES,
  GATEWAY_WINDOW_BYTES,
  GATEWAY_WINDOW_COMMANDS,
} from '../limits.ts'
import { RequestParser } from '../programs/kv/request-parser.ts'
import type { BackendError, ReplyTaker } from './backend.ts'
import { dispatch } from './dispatch.ts'
import { failureReply, NO_MEMORY } from './failures.ts'
import type { Front } from './front.ts'
import { ReplyOrder } from './reply-order.ts'

const REQUEST_LIMITS = { maxBulkBytes: GATEWAY_REQUEST_BYTES, maxRequestBytes: GATEWAY_REQUEST_BYTES }
const FIRST_REPLY_BYTES = GATEWAY_WINDOW_BYTES / GATEWAY_FIRST_WINDOW_COMMANDS
/** Up to so many bytes are copied one by one: a call costs more. */
const SHORT_BYTES = 64
/** The part of the last estimate that the next one keeps. */
const FADING = 7 / 8
/** What a client may bring when all of them bring too much. */
const SMALL_INPUT_BYTES = 64 * 1024
const NOTHING = new Uint8Array(0)

export class Client implements ReplyTaker {
  readonly id: number
  readonly connectedAt = performance.now()
  /** When it last sent something; performance.now(). */
  lastAt = this.connectedAt
  /** What it calls itself and its library; '' until it does. */
  name = ''
  library = ''
  libraryVersion = ''
  /** It said ASKING: its next command is executed though it is to be asked for elsewhere. */
  asking = false
  readonly front: Front
  readonly #socket: Socket
  readonly #order = new ReplyOrder()
  /** Made when the first bytes come: most of many clients say nothing. */
  #parser: RequestParser | null = null
  /** What one read brought, until the parser has taken all of it. */
  #portion: Uint8Array = NOTHING
  /** The parser's request is still to be dispatched: the backend was full. */
  #again = false
  /** Nothing more is executed: it said QUIT or broke the protocol. */
  #ending = false
  /** It sends nothing more, but may still read. */
  #ended = false
  /** Every whole request that came is dispatched. */
  #idle = true
  #reading = true
  #consuming = false
  #gone = false
  /** Replies of this turn: `#length` bytes of the piece. */
  #piece: Buffer | null = null
  #length = 0
  #dirty = false
  /** Bytes that the socket had when it was looked at last: after each write, and before commands are taken. */
  #unsent = 0
  /** What the front has counted of this client. */
  #countedInput = 0
  #countedOutput = 0
  /** An estimate that follows long replies at once and short ones slowly. */
  #replyBytes = FIRST_REPLY_BYTES

  constructor(front: Front, socket: Socket, id: number) {
    this.front = front
    this.#socket = socket
    this.id = id
    socket.on('data', (bytes) => this.#take(bytes))
    socket.on('drain', () => this.resume())
    socket.on('end', () => this.#noteEnd())
    socket.on('error', () => {})
    socket.on('close', () => this.#close())
  }

  /** `host:port` of its end. */
  get address(): string {
    const { remoteAddress = '', remotePort = 0 } = this.#socket
    return remoteAddress.includes(':') ? `[${remoteAddress}]:${remotePort}` : `${remoteAddress}:${remotePort}`
  }

  onReply(tag: number, bytes: Uint8Array, start: number, end: number): void {
    if (this.#gone) return
    const length = end - start
    this.#replyBytes = Math.max(length, this.#replyBytes * FADING)
    const order = this.#order
    if (tag !== order.head) {
      order.keep(tag, Buffer.copyBytesFrom(bytes, start, length))
    } else {
      this.#write(bytes, start, end)
      for (let next = order.pass(); next !== null; next = order.pass()) this.#write(next, 0, next.length)
      // Nothing more is to come: whoever waits for these may have them while others are being answered.
      if (order.pending === 0 && !this.#consuming) this.#sendPiece()
    }
    this.#markDirty()
  }

  onFailure(tag: number, error: BackendError): void {
    const reply = failureReply(error)
    this.onReply(tag, reply, 0, reply.length)
  }

  /** The number under which the reply to the command at hand is to come. */
  tag(): number {
    return this.#order.take()
  }

  /** Answers the command at hand with what stands in the front's reply. */
  answer(): void {
    const { bytes, length } = this.front.reply
    this.onReply(this.tag(), bytes, 0, length)
  }

  answerError(text: string): void {
    const { reply } = this.front
    reply.rewind(0)
    reply.error(text)
    this.answer()
  }

  /** Takes nothing more in; the connection ends when everything is answered. */
  finish(): void {
    this.#ending = true
    this.#markDirty()
  }

  /** Ends the connection at once, and takes nothing more of what came before. */
  drop(): void {
    this.#ending = true
    this.destroy()
  }

  destroy(): void {
    this.#socket.destroy()
  }

  /** There is room again, at the backend or in its socket. */
  resume(): void {
    if (this.#gone || this.#reading) return
    this.#consume()
    if (this.#again || this.#isBehind()) return
    this.#reading = true
    this.#socket.resume()
  }

  /** Writes what this turn has brought. */
  flush(): void {
    this.#dirty = false
    if (this.#gone) return
    this.#sendPiece()
    this.#countOutput()
    if (this.#order.pending === 0 && (this.#ending || (this.#ended && this.#idle))) this.#socket.destroySoon()
    // There may have been room again while it was behind: then it is stalled no more, and nobody else wakes it.
    else if (!this.#reading && !this.front.isStalled(this)) this.resume()
  }

  #markDirty(): void {
    if (this.#dirty) return
    this.#dirty = true
    this.front.noteDirty(this)
  }

  #noteEnd(): void {
    this.#ended = true
    this.#markDirty()
  }

  #take(bytes: Buffer): void {
    if (this.#ending) return
    this.lastAt = performance.now()
    this.#parser ??= new RequestParser(REQUEST_LIMITS)
    this.#portion = bytes
    this.#parser.push(bytes)
    this.#consume()
    if (this.#again || this.#isBehind()) this.#stop()
  }

  #consume(): void {
    const parser = this.#parser
    if (parser === null || this.#consuming) return
    this.#consuming = true
    this.#idle = false
    this.#unsent = this.#socket.writableLength
    while (!this.#ending && !this.#isBehind()) {
      if (!this.#again) {
        const parsed = parser.next()
        if (parsed !== 'request') {
          this.#idle = parsed === 'more'
          if (parsed === 'more') {
            giveBack(this.#portion)
            this.#portion = NOTHING
            break
          }
          this.answerError(parser.error)
          this.finish()
          break
        }
        this.front.commands++
      }
      this.#again = !dispatch(this, parser.request)
      if (this.#again) break
    }
    this.#consuming = false
    this.#countInput(parser.keptBytes)
  }

  /** More is under way for it than it takes away. */
  #isBehind(): boolean {
    const { pending, keptBytes } = this.#order
    if (pending >= GATEWAY_WINDOW_COMMANDS || pending * this.#replyBytes >= GATEWAY_WINDOW_BYTES) return true
    return this.#unsent + keptBytes >= GATEWAY_PAUSE_BYTES
  }

  #stop(): void {
    if (!this.#reading) return
    this.#reading = false
    this.#socket.pause()
  }

  #write(bytes: Uint8Array, start: number, end: number): void {
    const length = end - start
    if (this.#length + length > GATEWAY_OUTPUT_PIECE_BYTES) this.#sendPiece()
    if (length > GATEWAY_OUTPUT_PIECE_BYTES) {
      this.#socket.write(Buffer.from(bytes.subarray(start, end)))
      this.#countOutput()
      return
    }
    this.#piece ??= this.front.takePiece()
    const piece = this.#piece
    const at = this.#length
    if (length > SHORT_BYTES) piece.set(bytes.subarray(start, end), at)
    else for (let index = 0; index < length; index++) piece[at + index] = bytes[start + index] as number
    this.#length = at + length
  }

  /** Hands what is put together to the socket; a full piece is its own then. */
  #sendPiece(): void {
    const piece = this.#piece
    if (piece === null) return
    const length = this.#length
    this.#piece = null
    this.#length = 0
    if (length > GATEWAY_OUTPUT_PIECE_BYTES / 4) {
      this.#socket.write(piece.subarray(0, length))
      this.#unsent = this.#socket.writableLength
      return
    }
    const bytes = Buffer.allocUnsafe(length)
    piece.copy(bytes, 0, 0, length)
    this.#socket.write(bytes)
    this.front.givePiece(piece)
    this.#unsent = this.#socket.writableLength
  }

  #countOutput(): void {
    this.#unsent = this.#socket.writableLength
    const bytes = this.#unsent + this.#order.keptBytes
    const fits = this.front.countOutput(bytes - this.#countedOutput)
    this.#countedOutput = bytes
    if (bytes > GATEWAY_CLOSE_BYTES || (!fits && bytes > GATEWAY_PAUSE_BYTES)) this.destroy()
  }

  #countInput(bytes: number): void {
    const fits = this.front.countInput(bytes - this.#countedInput)
    this.#countedInput = bytes
    if (fits || bytes <= SMALL_INPUT_BYTES) return
    this.answerError(NO_MEMORY)
    this.finish()
  }

  #close(): void {
    this.#gone = true
    this.front.countInput(-this.#countedInput)
    this.front.countOutput(-this.#countedOutput)
    if (this.#piece !== null) this.front.givePiece(this.#piece)
    this.#piece = null
    this.#parser = null
    this.front.leave(this)
  }
}
