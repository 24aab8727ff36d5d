// Entries: a key of the shard, or a field of a hash, with what it holds. One slot has the key and its header; a string's
// bytes and a hash's dictionary lie elsewhere.

import type { Accessors } from '../../guest/accessors.ts'
import type { Arena } from './arena.ts'
import { ENTRY, TYPE } from './arena-layout.ts'
import { copyIn, copyOut } from './copying.ts'
import type { Dictionaries } from './dictionary.ts'
import { keyHash } from './key-hash.ts'
import type { Reply } from './reply.ts'
import { lengthOf, type Request, startOf } from './request.ts'
import type { StringValues } from './string-values.ts'

export class Entries {
  readonly #accessors: Accessors
  readonly #arena: Arena
  readonly #values: StringValues
  readonly #dictionaries: Dictionaries
  readonly #hashKey: readonly [number, number]

  constructor(
    accessors: Accessors,
    arena: Arena,
    values: StringValues,
    dictionaries: Dictionaries,
    hashKey: readonly [number, number],
  ) {
    this.#accessors = accessors
    this.#arena = arena
    this.#values = values
    this.#dictionaries = dictionaries
    this.#hashKey = hashKey
  }

  /** The entry of a dictionary whose key is an argument, or 0. */
  find(dictionary: number, request: Request, index: number): number {
    const { bytes } = request
    const start = startOf(request, index)
    const length = lengthOf(request, index)
    return this.#dictionaries.find(dictionary, this.#hash(bytes, start, length), bytes, start, length)
  }

  #hash(bytes: Uint8Array, start: number, length: number): number {
    return keyHash(this.#hashKey[0], this.#hashKey[1], bytes, start, length)
  }

  /** A new entry, in no dictionary yet, whose key is an argument; it holds an empty string. Null: no memory is left. */
  make(request: Request, index: number): number | null {
    const start = startOf(request, index)
    const length = lengthOf(request, index)
    const entry = this.#arena.take(ENTRY.key + length)
    if (entry === null) return null
    const accessors = this.#accessors
    accessors.storeU32(entry + ENTRY.next, 0)
    accessors.storeU32(entry + ENTRY.hash, this.#hash(request.bytes, start, length))
    accessors.storeU16(entry + ENTRY.keyLength, length)
    accessors.storeU16(entry + ENTRY.type, TYPE.string)
    accessors.storeU32(entry + ENTRY.length, 0)
    accessors.storeU32(entry + ENTRY.value, 0)
    accessors.storeU32(entry + ENTRY.deadline, 0)
    copyIn(accessors, entry + ENTRY.key, request.bytes, start, length)
    return entry
  }

  /**
   * New entries for the pairs of arguments from `first` on, linked in their order; null: no memory is left for all of them,
   * and none is taken.
   */
  makePairs(request: Request, first: number): number | null {
    let [head, last] = [0, 0]
    for (let index = first; index < request.count; index += 2) {
      const entry = this.make(request, index)
      if (entry !== null) {
        if (last === 0) head = entry
        else this.#accessors.storeU32(last + ENTRY.next, entry)
        last = entry
      }
      if (entry === null || !this.setString(entry, request, index + 1)) {
        this.giveAll(head)
        return null
      }
    }
    return head
  }

  /** Puts linked entries into a dictionary that was prepared; `replaced` gets each that had the same key. */
  placePairs(dictionary: number, head: number, request: Request, first: number, replaced: (old: number) => void): void {
    let entry = head
    for (let index = first; entry !== 0; index += 2) {
      const next = this.#accessors.loadU32(entry + ENTRY.next)
      const old = this.find(dictionary, request, index)
      if (old === 0) this.#dictionaries.insert(dictionary, entry)
      else {
        this.#dictionaries.exchange(dictionary, old, entry)
        replaced(old)
      }
      entry = next
    }
  }

  isString(entry: number): boolean {
    return this.#accessors.loadU16(entry + ENTRY.type) === TYPE.string
  }

  /** Length of the string. */
  length(entry: number): number {
    return this.#accessors.loadU32(entry + ENTRY.length)
  }

  /** The string becomes what an argument says. False: no memory is left, nothing has changed. */
  setString(entry: number, request: Request, index: number): boolean {
    return this.setBytes(entry, request.bytes, startOf(request, index), lengthOf(request, index))
  }

  setBytes(entry: number, source: Uint8Array, start: number, length: number): boolean {
    const old = this.#accessors.loadU32(entry + ENTRY.value)
    return this.#keep(entry, this.#values.replace(old, this.length(entry), source, start, length), length)
  }

  /** Adds an argument to the string's end. False: no memory is left, nothing has changed. */
  append(entry: number, request: Request, index: number): boolean {
    const [old, length] = [this.#accessors.loadU32(entry + ENTRY.value), this.length(entry)]
    const [start, added] = [startOf(request, index), lengthOf(request, index)]
    return this.#keep(entry, this.#values.append(old, length, request.bytes, start, added), length + added)
  }

  #keep(entry: number, value: number | null, length: number): boolean {
    if (value === null) return false
    this.#accessors.storeU32(entry + ENTRY.value, value)
    this.#accessors.storeU32(entry + ENTRY.length, length)
    return true
  }

  /** Copies the string. */
  read(entry: number, target: Uint8Array, at: number): void {
    this.#values.read(this.#accessors.loadU32(entry + ENTRY.value), this.length(entry), target, at)
  }

  replyString(entry: number, reply: Reply): void {
    const at = reply.bulkRoom(this.length(entry))
    if (at >= 0) this.read(entry, reply.bytes, at)
  }

  replyKey(entry: number, reply: Reply): void {
    const length = this.#accessors.loadU16(entry + ENTRY.keyLength)
    const at = reply.bulkRoom(length)
    if (at >= 0) copyOut(this.#accessors, entry + ENTRY.key, reply.bytes, at, length)
  }

  /** The dictionary of a hash. */
  dictionary(entry: number): number {
    return this.#accessors.loadU32(entry + ENTRY.value)
  }

  /** The entry, which holds an empty string, holds the hash of that dictionary. */
  becomeHash(entry: number, dictionary: number): void {
    this.#accessors.storeU16(entry + ENTRY.type, TYPE.hash)
    this.#accessors.storeU32(entry + ENTRY.value, dictionary)
  }

  /** The entry, whose hash somebody else gives back, holds an empty string. */
  becomeString(entry: number): void {
    this.#accessors.storeU16(entry + ENTRY.type, TYPE.string)
    this.#accessors.storeU32(entry + ENTRY.value, 0)
  }

  /** Gives the entry back, with its string. */
  give(entry: number): void {
    if (this.isString(entry)) this.#values.give(this.#accessors.loadU32(entry + ENTRY.value), this.length(entry))
    this.#arena.give(entry)
  }

  /** Gives linked entries back. */
  giveAll(head: number): void {
    for (let entry = head; entry !== 0; ) {
      const next = this.#accessors.loadU32(entry + ENTRY.next)
      this.give(entry)
      entry = next
    }
  }
}
