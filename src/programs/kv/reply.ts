// RESP2 replies, written one behind the other into the caller's buffer, which may be allowed to grow.

import { type Integer, writeInteger, writeNumber } from './integers.ts'

const ascii = (text: string): Uint8Array => Buffer.from(text, 'latin1')

const OK = ascii('+OK\r\n')
const NULL = ascii('$-1\r\n')
const [COLON, DOLLAR, STAR, PLUS, MINUS, CR, LF] = [0x3a, 0x24, 0x2a, 0x2b, 0x2d, 0x0d, 0x0a]
/** The longest head of a reply: a sign, 20 digits and the line's end. */
const HEAD_BYTES = 24

export class Reply {
  /** `length` bytes of it are written. */
  bytes: Uint8Array
  length = 0
  /** What was to be written did not fit: from there on nothing is. */
  overflowed = false
  readonly #maxBytes: number

  /** Begins with `bytes`; where they end larger ones take their place, up to `maxBytes`. */
  constructor(bytes: Uint8Array, maxBytes: number = bytes.length) {
    this.bytes = bytes
    this.#maxBytes = Math.max(maxBytes, bytes.length)
  }

  /** Goes back to `length` bytes. */
  rewind(length: number): void {
    this.length = length
    this.overflowed = false
  }

  /** Whether so many bytes can be written, with their heads. */
  fits(bytes: number): boolean {
    return this.length + bytes + HEAD_BYTES <= this.#maxBytes
  }

  ok(): void {
    this.#raw(OK)
  }

  null(): void {
    this.#raw(NULL)
  }

  /** A simple string: no line ends. */
  simple(text: string): void {
    this.#line(PLUS, text)
  }

  /** An error, with its code first; line ends become spaces, as Redis makes them. */
  error(text: string): void {
    this.#line(MINUS, text.replace(/[\r\n]/g, ' '))
  }

  integer(value: Integer): void {
    if (this.#room(HEAD_BYTES)) this.#end(COLON, writeInteger(this.bytes, this.length + 1, value))
  }

  /** The head of an array; its elements follow. */
  array(count: number): void {
    if (this.#room(HEAD_BYTES)) this.#end(STAR, writeNumber(this.bytes, this.length + 1, count))
  }

  /** A bulk string of `count` bytes of `source`. */
  bulk(source: Uint8Array, start = 0, count: number = source.length): void {
    const at = this.bulkRoom(count)
    if (at >= 0) this.bytes.set(source.subarray(start, start + count), at)
  }

  text(text: string): void {
    this.bulk(Buffer.from(text))
  }

  /** A bulk string whose `count` bytes the caller puts at the returned place at once; -1: it does not fit. */
  bulkRoom(count: number): number {
    if (!this.#room(HEAD_BYTES + count + 2)) return -1
    this.#end(DOLLAR, writeNumber(this.bytes, this.length + 1, count))
    const at = this.length
    this.bytes[at + count] = CR
    this.bytes[at + count + 1] = LF
    this.length = at + count + 2
    return at
  }

  #raw(bytes: Uint8Array): void {
    if (!this.#room(bytes.length)) return
    for (let index = 0; index < bytes.length; index++) this.bytes[this.length + index] = bytes[index] as number
    this.length += bytes.length
  }

  #line(sign: number, text: string): void {
    const bytes = ascii(text)
    if (!this.#room(bytes.length + HEAD_BYTES)) return
    this.bytes.set(bytes, this.length + 1)
    this.#end(sign, this.length + 1 + bytes.length)
  }

  /** Puts the sign in front of what ends at `end`, and the line's end behind it. */
  #end(sign: number, end: number): void {
    this.bytes[this.length] = sign
    this.bytes[end] = CR
    this.bytes[end + 1] = LF
    this.length = end + 2
  }

  #room(count: number): boolean {
    if (this.overflowed) return false
    const needed = this.length + count
    if (needed <= this.bytes.length) return true
    if (needed > this.#maxBytes) {
      this.overflowed = true
      return false
    }
    const larger = new Uint8Array(Math.min(this.#maxBytes, Math.max(needed, 2 * this.bytes.length)))
    larger.set(this.bytes.subarray(0, this.length))
    this.bytes = larger
    return true
  }
}
