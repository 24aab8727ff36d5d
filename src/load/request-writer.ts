// RESP requests of a load, one behind the other in a buffer that is handed to the socket at the end of a turn; nothing is
// allocated for a single request. A value says its key first, so that a reply that belongs elsewhere is found.

import { writeNumber } from '../programs/kv/integers.ts'
import { OPERATION, type Operation } from './operations.ts'
import type { Random } from './random.ts'

const FIRST_BYTES = 16 * 1024
/** What stands around the arguments: heads, lengths and line ends. */
const OVERHEAD_BYTES = 96
/** Digits of a key's number and what ends them. */
const STAMP_BYTES = 11
const STAMP_END = 0x3a
/** Values are cut out of so many random bytes, at changing places. */
const POOL_BYTES = 64 * 1024
const [CR, LF, DOLLAR] = [0x0d, 0x0a, 0x24]

const ascii = (text: string): Uint8Array => Buffer.from(text, 'latin1')
const HEADS: readonly Uint8Array[] = [
  ascii('*2\r\n$3\r\nGET\r\n'),
  ascii('*3\r\n$3\r\nSET\r\n'),
  ascii('*3\r\n$6\r\nINCRBY\r\n'),
  ascii('*2\r\n$3\r\nGET\r\n'),
  ascii('*2\r\n$3\r\nDEL\r\n'),
]

/** Random bytes that values are cut from: as long as the longest value, and a pool more. */
export function valuePool(random: Random, valueBytes: number): Uint8Array {
  return Uint8Array.from({ length: POOL_BYTES + valueBytes }, () => 0x20 + random.below(0x5f))
}

/** The keys of a run: values first, then counters. */
const keyPrefixes = (run: string): { values: string; counters: string } => ({
  values: `${run}:v:`,
  counters: `${run}:c:`,
})

export class RequestWriter {
  readonly #values: Uint8Array
  readonly #counters: Uint8Array
  readonly #pool: Uint8Array
  readonly #valueBytes: number
  #bytes = new Uint8Array(FIRST_BYTES)
  #length = 0
  #poolAt = 0

  constructor(run: string, valueBytes: number, pool: Uint8Array) {
    const { values, counters } = keyPrefixes(run)
    this.#values = ascii(values)
    this.#counters = ascii(counters)
    this.#valueBytes = valueBytes
    this.#pool = pool
  }

  /** How much is written and not taken. */
  get length(): number {
    return this.#length
  }

  /** `counter`: the key is one of a counter; what is read and added always is. */
  write(kind: Operation, key: number, added: number, counter: boolean): void {
    this.#room(OVERHEAD_BYTES + this.#values.length + (kind === OPERATION.set ? this.#valueBytes : 0))
    this.#copy(HEADS[kind] as Uint8Array)
    this.#bulk(counter ? this.#counters : this.#values, key)
    if (kind === OPERATION.set) this.#value(key)
    if (kind === OPERATION.increment) this.#bulk(NOTHING, added)
  }

  /** What is written, in a buffer of its own. */
  take(): Uint8Array {
    const taken = this.#bytes.slice(0, this.#length)
    this.#length = 0
    return taken
  }

  /** Lets go of what is written. */
  clear(): void {
    this.#length = 0
  }

  #value(key: number): void {
    const bytes = this.#bytes
    bytes[this.#length] = DOLLAR
    let at = writeNumber(bytes, this.#length + 1, this.#valueBytes)
    bytes[at++] = CR
    bytes[at++] = LF
    this.#poolAt = (this.#poolAt + 61) % POOL_BYTES
    bytes.set(this.#pool.subarray(this.#poolAt, this.#poolAt + this.#valueBytes), at)
    if (this.#valueBytes >= STAMP_BYTES) bytes[writeNumber(bytes, at, key)] = STAMP_END
    at += this.#valueBytes
    bytes[at++] = CR
    bytes[at++] = LF
    this.#length = at
  }

  /** A bulk string of some bytes and the digits of a number. */
  #bulk(before: Uint8Array, number: number): void {
    const digits = digitsOf(number)
    this.#bytes[this.#length] = DOLLAR
    this.#length = writeNumber(this.#bytes, this.#length + 1, before.length + digits)
    this.#end()
    this.#copy(before)
    this.#length = writeNumber(this.#bytes, this.#length, number)
    this.#end()
  }

  #end(): void {
    this.#bytes[this.#length++] = CR
    this.#bytes[this.#length++] = LF
  }

  #copy(bytes: Uint8Array): void {
    for (let index = 0; index < bytes.length; index++) this.#bytes[this.#length++] = bytes[index] as number
  }

  #room(count: number): void {
    const needed = this.#length + count
    if (needed <= this.#bytes.length) return
    const larger = new Uint8Array(Math.max(needed, 2 * this.#bytes.length))
    larger.set(this.#bytes.subarray(0, this.#length))
    this.#bytes = larger
  }
}

const NOTHING = new Uint8Array(0)

function digitsOf(number: number): number {
  let digits = 1
  for (let power = 10; power <= number; power *= 10) digits++
  return digits
}

/** Whether a value of `length` bytes is one that a load wrote for the key. */
export function isValueOf(key: number, bytes: Uint8Array, start: number, length: number, valueBytes: number): boolean {
  if (length !== valueBytes) return false
  if (valueBytes < STAMP_BYTES) return true
  const digits = digitsOf(key)
  if (bytes[start + digits] !== STAMP_END) return false
  let value = 0
  for (let at = start; at < start + digits; at++) value = value * 10 + (bytes[at] as number) - 0x30
  return value === key
}
