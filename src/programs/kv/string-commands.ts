// Commands on strings and counters.

import { KV_MAX_VALUE_BYTES } from '../../limits.ts'
import { invalidExpiry, NOT_AN_INTEGER, type Run, refuse, SYNTAX, WRONG_TYPE, wrongArguments } from './command.ts'
import { addIntegers, type Integer, negateInteger, parseInteger, writeInteger } from './integers.ts'
import { expiryOf } from './key-commands.ts'
import type { Reply } from './reply.ts'
import { lengthOf, type Request, startOf, textOf } from './request.ts'
import type { Shard } from './shard.ts'

/** True for a key that is not there or holds a string; otherwise the error is said. */
function stringOrNone(shard: Shard, entry: number, reply: Reply): boolean {
  if (entry === 0 || shard.entries.isString(entry)) return true
  reply.error(WRONG_TYPE)
  return false
}

function replyValue(shard: Shard, entry: number, reply: Reply): void {
  if (entry === 0) reply.null()
  else shard.entries.replyString(entry, reply)
}

export const get: Run = (shard, request, reply) => {
  const entry = shard.lookUp(request, 1)
  if (stringOrNone(shard, entry, reply)) replyValue(shard, entry, reply)
  return true
}

export const mget: Run = (shard, request, reply) => {
  reply.array(request.count - 1)
  for (let index = 1; index < request.count; index++) {
    const entry = shard.lookUp(request, index)
    replyValue(shard, entry !== 0 && shard.entries.isString(entry) ? entry : 0, reply)
  }
  return true
}

export const strlen: Run = (shard, request, reply) => {
  const entry = shard.lookUp(request, 1)
  if (stringOrNone(shard, entry, reply)) reply.integer(entry === 0 ? 0 : shard.entries.length(entry))
  return true
}

interface SetOptions {
  nx: boolean
  xx: boolean
  /** Where its time stands, and how many milliseconds one of it is; 0: there is none. */
  expiryIndex: number
  unitMs: number
  /** What of Redis's options is not carried; '': none of them. */
  notCarried: string
}

interface SetOption {
  /** Arguments that follow. */
  readonly following: number
  /** It says when the value ends, as one option may. */
  readonly timed: boolean
  /** Milliseconds that one of its argument is; 0: it has none, or is not carried. */
  readonly unitMs: number
}

/** Redis's options of SET, carried or not. */
const SET_OPTIONS: ReadonlyMap<string, SetOption> = new Map([
  ['NX', { following: 0, timed: false, unitMs: 0 }],
  ['XX', { following: 0, timed: false, unitMs: 0 }],
  ['EX', { following: 1, timed: true, unitMs: 1000 }],
  ['PX', { following: 1, timed: true, unitMs: 1 }],
  ['KEEPTTL', { following: 0, timed: true, unitMs: 0 }],
  ['GET', { following: 0, timed: false, unitMs: 0 }],
  ['EXAT', { following: 1, timed: true, unitMs: 0 }],
  ['PXAT', { following: 1, timed: true, unitMs: 0 }],
])

const NO_OPTIONS: SetOptions = { nx: false, xx: false, expiryIndex: 0, unitMs: 0, notCarried: '' }

/** The options of SET from argument 3 on; null: they are none. */
function setOptions(request: Request): SetOptions | null {
  const options = { ...NO_OPTIONS }
  let timed = false
  for (let index = 3; index < request.count; index++) {
    const word = textOf(request, index).toUpperCase()
    const option = SET_OPTIONS.get(word)
    if (option === undefined || index + option.following >= request.count || (timed && option.timed)) return null
    timed ||= option.timed
    if (word === 'NX') options.nx = true
    else if (word === 'XX') options.xx = true
    else if (option.unitMs === 0) options.notCarried = word
    else {
      options.unitMs = option.unitMs
      options.expiryIndex = index + 1
    }
    index += option.following
  }
  return options.nx && options.xx ? null : options
}

export const set: Run = (shard, request, reply) => {
  const options = request.count === 3 ? NO_OPTIONS : setOptions(request)
  if (options === null) return refuse(reply, SYNTAX)
  if (options.notCarried !== '') return refuse(reply, `ERR Unsupported option ${options.notCarried}`)
  let deadline: number | null = null
  if (options.expiryIndex !== 0) {
    deadline = expiryOf(shard, request, options.expiryIndex, options.unitMs, 'set', reply)
    if (deadline === null) return true
    if (deadline <= shard.nowMs) return refuse(reply, invalidExpiry('set'))
  }
  const entry = shard.find(request, 1)
  if (options.nx ? entry !== 0 : options.xx && entry === 0) {
    reply.null()
    return true
  }
  if (!assign(shard, entry, request, deadline)) return false
  reply.ok()
  return true
}

/** Argument 2 becomes the value of the key in argument 1, until the deadline. */
function assign(shard: Shard, entry: number, request: Request, deadline: number | null): boolean {
  const { deadlines } = shard
  if (deadline !== null && !deadlines.reserve()) return false
  const place = shard.put(entry, request, 1, 2)
  if (place === null) deadlines.unreserve()
  else if (deadline === null) deadlines.clear(place)
  else deadlines.set(place, deadline)
  return place !== null
}

export const setnx: Run = (shard, request, reply) => {
  const entry = shard.find(request, 1)
  if (entry === 0 && !assign(shard, 0, request, null)) return false
  reply.integer(entry === 0 ? 1 : 0)
  return true
}

export const getset: Run = (shard, request, reply) => {
  const entry = shard.lookUp(request, 1)
  if (!stringOrNone(shard, entry, reply)) return true
  replyValue(shard, entry, reply)
  // A value that cannot be told is not replaced.
  return reply.overflowed || assign(shard, entry, request, null)
}

export const mset: Run = (shard, request, reply) => {
  if (request.count % 2 === 0) return refuse(reply, wrongArguments('mset'))
  if (!shard.putPairs(request, 1)) return false
  reply.ok()
  return true
}

export const append: Run = (shard, request, reply) => {
  const entry = shard.find(request, 1)
  if (!stringOrNone(shard, entry, reply)) return true
  const length = lengthOf(request, 2) + (entry === 0 ? 0 : shard.entries.length(entry))
  if (length > KV_MAX_VALUE_BYTES) {
    return refuse(reply, 'ERR string exceeds maximum allowed size (proto-max-bulk-len)')
  }
  const done = entry === 0 ? shard.put(0, request, 1, 2) !== null : shard.entries.append(entry, request, 2)
  if (done) reply.integer(length)
  return done
}

/** A counter as text: what is read, and what is written. */
const digits = new Uint8Array(32)

/** The integer of a key, 0 where it is not there; null: it holds none. */
function integerOf(shard: Shard, entry: number): Integer | null {
  if (entry === 0) return 0
  const length = shard.entries.length(entry)
  if (length > digits.length) return null
  shard.entries.read(entry, digits, 0)
  return parseInteger(digits, 0, length)
}

function add(shard: Shard, request: Request, reply: Reply, by: Integer | null): boolean {
  if (by === null) return refuse(reply, NOT_AN_INTEGER)
  const entry = shard.find(request, 1)
  if (!stringOrNone(shard, entry, reply)) return true
  const value = integerOf(shard, entry)
  if (value === null) return refuse(reply, NOT_AN_INTEGER)
  const sum = addIntegers(value, by)
  if (sum === null) return refuse(reply, 'ERR increment or decrement would overflow')
  const length = writeInteger(digits, 0, sum)
  const place = entry === 0 ? shard.add(request, 1) : entry
  if (place === null) return false
  if (!shard.entries.setBytes(place, digits, 0, length)) {
    if (entry === 0) shard.remove(place)
    return false
  }
  reply.integer(sum)
  return true
}

const argument = (request: Request, index: number): Integer | null =>
  parseInteger(request.bytes, startOf(request, index), lengthOf(request, index))

export const incr: Run = (shard, request, reply) => add(shard, request, reply, 1)
export const decr: Run = (shard, request, reply) => add(shard, request, reply, -1)
export const incrby: Run = (shard, request, reply) => add(shard, request, reply, argument(request, 2))
export const decrby: Run = (shard, request, reply) => {
  const by = argument(request, 2)
  const opposite = by === null ? null : negateInteger(by)
  if (by !== null && opposite === null) return refuse(reply, 'ERR decrement would overflow')
  return add(shard, request, reply, opposite)
}
