// Bytes of a server to replies (RESP2), the other side of programs/kv/request-parser.ts. A push machine: it knows no socket.
// Nothing is allocated by a length that a server claims, only for bytes that came; what is no reply ends the connection.
//
//   push(bytes) → next() 'reply' … 'reply' → 'more' → push(bytes) → …          next() 'broken': `error` says why, for ever
//
// Of an array only its length is kept: its elements, nested ones too, are read over before it is a reply.

import { LOAD_MAX_ELEMENTS, LOAD_MAX_LINE_BYTES, LOAD_MAX_REPLY_BYTES } from '../limits.ts'
import { parseInteger } from '../programs/kv/integers.ts'

const [CR, LF, PLUS, MINUS, COLON, DOLLAR, STAR] = [0x0d, 0x0a, 0x2b, 0x2d, 0x3a, 0x24, 0x2a]
/** An idle connection keeps no more than this. */
const KEPT_BYTES = 16 * 1024
const NOTHING = new Uint8Array(0)

export type ReplyKind = 'simple' | 'error' | 'integer' | 'bulk' | 'null' | 'array'

/** A reply as it came; good until `next` or `push` is called. */
export interface Reply {
  kind: ReplyKind
  /** Text of a simple string or error, or the bytes of a bulk string: `length` from `start` on. */
  bytes: Uint8Array
  start: number
  length: number
  /** Value of an integer, NaN where it has no exact one, or elements of an array. */
  integer: number
}

export const textOfReply = ({ bytes, start, length }: Reply, most = 200): string =>
  Buffer.from(bytes.buffer, bytes.byteOffset + start, Math.min(length, most)).toString('latin1')

export class ReplyParser {
  readonly reply: Reply = { kind: 'null', bytes: NOTHING, start: 0, length: 0, integer: 0 }
  error = ''
  #bytes: Uint8Array = NOTHING
  /** Whether `#bytes` is the parser's own, not the caller's. */
  #own = false
  #at = 0
  #end = 0
  /** How far a line was searched for its end. */
  #searched = 0
  /** Elements of the array under way that are still to be read over; -1: none is under way. */
  #elements = -1
  #arrayLength = 0
  #arrayElements = 0

  /** Takes bytes in, which must stay as they are until `next` says `more`; before that nothing else may be pushed. */
  push(bytes: Uint8Array): void {
    if (this.error !== '') return
    if (this.#end === 0) {
      this.#bytes = bytes
      this.#own = false
      this.#end = bytes.length
      return
    }
    this.#reserve(bytes.length)
    this.#bytes.set(bytes, this.#end)
    this.#end += bytes.length
  }

  next(): 'reply' | 'more' | 'broken' {
    while (this.error === '') {
      if (!this.#item()) return this.error === '' ? this.#more() : 'broken'
      if (this.#elements < 0) return 'reply'
      if (this.#elements === 0) {
        this.#elements = -1
        this.#found('array', 0, 0, this.#arrayLength)
        return 'reply'
      }
    }
    return 'broken'
  }

  /** Takes one item, alone or of an array, into `reply`; false: bytes are missing, or it is none. */
  #item(): boolean {
    if (this.#at === this.#end) return false
    const first = this.#bytes[this.#at] as number
    if (!isType(first)) return this.#fail(`a reply begins with the byte 0x${first.toString(16).padStart(2, '0')}`)
    const lineEnd = this.#lineEnd()
    if (lineEnd < 0) return false
    const [start, length] = [this.#at + 1, lineEnd - this.#at - 1]
    if (first === PLUS || first === MINUS) {
      this.#found(first === PLUS ? 'simple' : 'error', start, length, 0)
      return this.#taken(lineEnd + 2)
    }
    const value = parseInteger(this.#bytes, start, length)
    if (value === null) return this.#fail('a number of a reply is none')
    if (first === COLON) {
      this.#found('integer', start, length, typeof value === 'number' ? value : Number.NaN)
      return this.#taken(lineEnd + 2)
    }
    if (value === -1) {
      this.#found('null', 0, 0, 0)
      return this.#taken(lineEnd + 2)
    }
    if (typeof value !== 'number' || value < 0) return this.#fail('a length of a reply is none')
    return first === DOLLAR ? this.#bulk(lineEnd + 2, value) : this.#array(lineEnd + 2, value)
  }

  #bulk(start: number, length: number): boolean {
    if (length > LOAD_MAX_REPLY_BYTES) return this.#fail('a bulk string of a reply is too long')
    const end = start + length
    if (end + 2 > this.#end) return false
    if (this.#bytes[end] !== CR || this.#bytes[end + 1] !== LF) return this.#fail('a bulk string has no line end')
    this.#found('bulk', start, length, 0)
    return this.#taken(end + 2)
  }

  /** The head of an array, which may be an element itself: its elements are then some more to read over. */
  #array(at: number, length: number): boolean {
    const within = this.#elements >= 0
    if (!within) {
      this.#elements = 1
      this.#arrayLength = length
      this.#arrayElements = 0
    }
    this.#arrayElements += length
    if (this.#arrayElements > LOAD_MAX_ELEMENTS) return this.#fail('an array of a reply is too long')
    this.#elements += length
    return this.#taken(at)
  }

  #taken(at: number): true {
    this.#at = at
    if (this.#elements > 0) this.#elements--
    return true
  }

  #found(kind: ReplyKind, start: number, length: number, integer: number): void {
    const { reply } = this
    reply.kind = kind
    reply.bytes = this.#bytes
    reply.start = start
    reply.length = length
    reply.integer = integer
  }

  /** Where the line's CR LF is; -1: not here, or the line is too long and that is the error. */
  #lineEnd(): number {
    const bytes = this.#bytes
    for (let at = Math.max(this.#searched, this.#at + 1); at < this.#end; at++) {
      if (bytes[at] !== LF || bytes[at - 1] !== CR) continue
      // A bulk string whose bytes are missing is looked at again: up to here there is nothing new.
      this.#searched = at
      return at - 1
    }
    this.#searched = this.#end
    if (this.#end - this.#at > LOAD_MAX_LINE_BYTES) this.#fail('a line of a reply is too long')
    return -1
  }

  /** Keeps what is left of the caller's bytes, and no more memory than that needs. */
  #more(): 'more' {
    if (this.#at === this.#end) {
      if (!this.#own || this.#bytes.length > KEPT_BYTES) this.#bytes = NOTHING
      this.#at = this.#end = this.#searched = 0
    } else if (!this.#own) this.#reserve(0)
    return 'more'
  }

  /** Moves the reply under way to the front of a buffer of the parser's own with room for `more` bytes. */
  #reserve(more: number): void {
    const rest = this.#bytes.subarray(this.#at, this.#end)
    const needed = rest.length + more
    const kept = this.#own && this.#bytes.length >= needed && this.#bytes.length <= Math.max(KEPT_BYTES, 4 * needed)
    if (kept && this.#end + more <= this.#bytes.length) return
    const bytes = kept ? this.#bytes : new Uint8Array(Math.max(needed, this.#own ? 2 * rest.length : 0))
    bytes.set(rest)
    this.#end -= this.#at
    this.#searched = Math.max(0, this.#searched - this.#at)
    this.#at = 0
    this.#bytes = bytes
    this.#own = true
  }

  #fail(reason: string): false {
    this.error = reason
    return false
  }
}

const isType = (byte: number): boolean =>
  byte === PLUS || byte === MINUS || byte === COLON || byte === DOLLAR || byte === STAR
