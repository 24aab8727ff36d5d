// Bytes of a client to requests: RESP2 arrays of bulk strings, and inline commands. A push machine: it knows no socket. What
// breaks the protocol ends the connection with the error that Redis would give; nothing is allocated by a length that a
// client claims, only for bytes that came.
//
//   push(bytes) → next() 'request' … 'request' → 'more' → push(bytes) → …       next() 'broken': `error` says why, for ever
//
//   next:  begin ──'*'──► arguments: length line ◄──► its bytes ──last one──► request
//            └──other──► inline line ──────────────────────────────────────► request

import { giveBack } from '../../give-back.ts'
import { KV_MAX_ARGUMENTS, KV_MAX_LINE_BYTES, KV_MAX_REQUEST_BYTES, KV_MAX_VALUE_BYTES } from '../../limits.ts'
import { splitInline } from './inline.ts'
import { parseInteger } from './integers.ts'
import type { Request } from './request.ts'

const [CR, LF, STAR, DOLLAR] = [0x0d, 0x0a, 0x2a, 0x24]
const FIRST_ARGUMENTS = 16
/** An idle connection keeps no more than this, and places of no more arguments. */
const KEPT_BYTES = 16 * 1024
const KEPT_ARGUMENTS = 1024
const NOTHING = new Uint8Array(0)

/** `request`: `parser.request` is one. `more`: bytes are missing. `broken`: `parser.error` says why. */
export type Parsed = 'request' | 'more' | 'broken'

/** What a client may ask for; the defaults are those of limits.ts. */
export interface RequestLimits {
  readonly maxBulkBytes: number
  readonly maxRequestBytes: number
}

export class RequestParser {
  /** The request that `next` found; good until `next` or `push` is called. */
  readonly request: Request
  /** Text of the error reply with which the connection ends. */
  error = ''
  readonly #limits: RequestLimits
  #bytes: Uint8Array = NOTHING
  /** Whether `#bytes` is the parser's own, not the caller's. */
  #own = false
  /** Where the request under way begins, how far it is read, and where the bytes end. */
  #start = 0
  #at = 0
  #end = 0
  /** Arguments that the request is to have; 0 between requests. */
  #wanted = 0
  /** Length of the argument whose bytes are awaited; -1: its length is. */
  #bulk = -1
  /** How far a line was searched for its end. */
  #searched = 0

  constructor(limits: Partial<RequestLimits> = {}) {
    this.#limits = { maxBulkBytes: KV_MAX_VALUE_BYTES, maxRequestBytes: KV_MAX_REQUEST_BYTES, ...limits }
    const places = (): Uint32Array => new Uint32Array(FIRST_ARGUMENTS)
    this.request = { bytes: NOTHING, starts: places(), lengths: places(), count: 0 }
  }

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

  /** Bytes of memory that the parser keeps alive between two calls. */
  get keptBytes(): number {
    return this.#bytes.length
  }

  next(): Parsed {
    while (this.error === '') {
      const parsed = this.#wanted === 0 ? this.#begin() : this.#argument()
      if (parsed === 'request') return parsed
      if (parsed === 'more') return this.#more()
    }
    return 'broken'
  }

  /** The head of a request, or a whole inline command; null: go on. */
  #begin(): Parsed | null {
    this.#start = this.#at
    this.#searched = Math.max(this.#searched, this.#at)
    this.#forget()
    if (this.#at === this.#end) return 'more'
    const inline = this.#bytes[this.#at] !== STAR
    const lineEnd = this.#lineEnd(inline ? 'too big inline request' : 'too big mbulk count string', inline)
    if (lineEnd < 0) return 'more'
    if (inline) return this.#inline(lineEnd)
    const count = parseInteger(this.#bytes, this.#at + 1, lineEnd - this.#at - 1)
    if (typeof count !== 'number' || count > KV_MAX_ARGUMENTS) return this.#fail('invalid multibulk length')
    this.#at = lineEnd + 2
    this.#wanted = Math.max(0, count)
    return null
  }

  /** One argument, or a part of it; null: go on. */
  #argument(): Parsed | null {
    if (this.#bulk < 0) {
      if (this.#at === this.#end) return 'more'
      const first = this.#bytes[this.#at] as number
      if (first !== DOLLAR) return this.#fail(`expected '$', got '${String.fromCharCode(first)}'`)
      const lineEnd = this.#lineEnd('too big bulk count string', false)
      if (lineEnd < 0) return 'more'
      const length = parseInteger(this.#bytes, this.#at + 1, lineEnd - this.#at - 1)
      if (typeof length !== 'number' || length < 0 || length > this.#limits.maxBulkBytes) {
        return this.#fail('invalid bulk length')
      }
      this.#at = lineEnd + 2
      if (this.#at + length - this.#start > this.#limits.maxRequestBytes) return this.#fail('too big request')
      this.#bulk = length
    }
    const end = this.#at + this.#bulk
    if (end + 2 > this.#end) return 'more'
    if (this.#bytes[end] !== CR || this.#bytes[end + 1] !== LF)
      return this.#fail('expected a line end after a bulk string')
    this.#note(this.#at, this.#bulk)
    this.#at = end + 2
    this.#bulk = -1
    if (this.request.count < this.#wanted) return null
    this.#wanted = 0
    return this.#found(this.#bytes)
  }

  #inline(lineEnd: number): Parsed | null {
    const end = this.#bytes[lineEnd - 1] === CR && lineEnd > this.#at ? lineEnd - 1 : lineEnd
    const parts = splitInline(this.#bytes.subarray(this.#at, end))
    if (parts === null) return this.#fail('unbalanced quotes in request')
    this.#at = lineEnd + 1
    if (parts.length === 0) return null
    const bytes = Buffer.concat(parts)
    let start = 0
    for (const { length } of parts) {
      this.#note(start, length)
      start += length
    }
    return this.#found(bytes)
  }

  #forget(): void {
    const { request } = this
    request.count = 0
    if (request.starts.length <= KEPT_ARGUMENTS) return
    request.starts = new Uint32Array(FIRST_ARGUMENTS)
    request.lengths = new Uint32Array(FIRST_ARGUMENTS)
  }

  #found(bytes: Uint8Array): Parsed {
    this.request.bytes = bytes
    return 'request'
  }

  #note(start: number, length: number): void {
    const { request } = this
    if (request.count === request.starts.length) {
      for (const name of ['starts', 'lengths'] as const) {
        const larger = new Uint32Array(2 * request.count)
        larger.set(request[name])
        request[name] = larger
      }
    }
    request.starts[request.count] = start
    request.lengths[request.count++] = length
  }

  /** Where the line ends (CR LF, or LF alone for `bare`); -1: not here, or it is too long and that is the error. */
  #lineEnd(tooLong: string, bare: boolean): number {
    const bytes = this.#bytes
    for (let at = Math.max(this.#searched, this.#at); at < this.#end; at++) {
      if (bare ? bytes[at] === LF : bytes[at] === LF && bytes[at - 1] === CR) {
        this.#searched = at
        return bare ? at : at - 1
      }
    }
    this.#searched = this.#end
    if (this.#end - this.#at > KV_MAX_LINE_BYTES) this.#fail(tooLong)
    return -1
  }

  /** Keeps what is left of the caller's bytes, and no more memory than that needs. */
  #more(): Parsed {
    if (this.error !== '') return 'broken'
    if (this.#at === this.#end && this.#start === this.#at) {
      if (!this.#own || this.#bytes.length > KEPT_BYTES) this.#replace(NOTHING)
      this.#start = this.#at = this.#end = this.#searched = 0
    } else if (!this.#own) this.#reserve(0)
    return 'more'
  }

  /** Moves the request under way to the front of a buffer of the parser's own with room for `more` bytes. */
  #reserve(more: number): void {
    const rest = this.#bytes.subarray(this.#start, this.#end)
    const needed = rest.length + more
    const kept = this.#own && this.#bytes.length >= needed && this.#bytes.length <= Math.max(KEPT_BYTES, 4 * needed)
    if (kept && this.#end + more <= this.#bytes.length) return
    const bytes = kept ? this.#bytes : new Uint8Array(Math.max(needed, this.#own ? 2 * rest.length : 0))
    bytes.set(rest)
    for (let index = 0; index < this.request.count; index++) {
      this.request.starts[index] = (this.request.starts[index] as number) - this.#start
    }
    this.#at -= this.#start
    this.#end -= this.#start
    this.#searched = Math.max(0, this.#searched - this.#start)
    this.#start = 0
    if (bytes !== this.#bytes) this.#replace(bytes)
    this.#own = true
  }

  #replace(bytes: Uint8Array): void {
    if (this.#own) giveBack(this.#bytes)
    this.#bytes = bytes
  }

  #fail(reason: string): Parsed {
    this.error = `ERR Protocol error: ${reason}`
    return 'broken'
  }
}
