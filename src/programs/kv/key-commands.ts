// Commands on keys of any type: whether they are there, until when, and away with them.

import { invalidExpiry, NOT_AN_INTEGER, type Run, refuse, SYNTAX } from './command.ts'
import { parseInteger } from './integers.ts'
import type { Reply } from './reply.ts'
import { isWord, lengthOf, type Request, startOf, textOf } from './request.ts'
import type { Shard } from './shard.ts'

/** When a time that an argument gives is over, ms; null: it is none, and that is said. */
export function expiryOf(
  shard: Shard,
  request: Request,
  index: number,
  unitMs: number,
  command: string,
  reply: Reply,
): number | null {
  const value = parseInteger(request.bytes, startOf(request, index), lengthOf(request, index))
  const deadline = value === null ? 0 : shard.nowMs + Number(value) * unitMs
  if (value !== null && Math.abs(deadline) <= Number.MAX_SAFE_INTEGER) return deadline
  reply.error(value === null ? NOT_AN_INTEGER : invalidExpiry(command))
  return null
}

export const del: Run = (shard, request, reply) => {
  let removed = 0
  for (let index = 1; index < request.count; index++) {
    const entry = shard.find(request, index)
    if (entry === 0) continue
    shard.remove(entry)
    removed++
  }
  reply.integer(removed)
  return true
}

export const exists: Run = (shard, request, reply) => {
  let found = 0
  for (let index = 1; index < request.count; index++) if (shard.lookUp(request, index) !== 0) found++
  reply.integer(found)
  return true
}

export const type: Run = (shard, request, reply) => {
  const entry = shard.find(request, 1)
  reply.simple(entry === 0 ? 'none' : shard.entries.isString(entry) ? 'string' : 'hash')
  return true
}

const expireIn =
  (unitMs: number, name: string): Run =>
  (shard, request, reply) => {
    if (request.count > 3) return refuse(reply, `ERR Unsupported option ${textOf(request, 3)}`)
    const deadline = expiryOf(shard, request, 2, unitMs, name, reply)
    if (deadline === null) return true
    const entry = shard.find(request, 1)
    if (entry !== 0 && deadline <= shard.nowMs) shard.remove(entry)
    else if (entry !== 0) {
      if (shard.deadlines.of(entry) === null && !shard.deadlines.reserve()) return false
      shard.deadlines.set(entry, deadline)
    }
    reply.integer(entry === 0 ? 0 : 1)
    return true
  }

export const expire = expireIn(1000, 'expire')
export const pexpire = expireIn(1, 'pexpire')

const timeLeft =
  (inUnits: (ms: number) => number): Run =>
  (shard, request, reply) => {
    const entry = shard.lookUp(request, 1)
    const deadline = entry === 0 ? null : shard.deadlines.of(entry)
    if (deadline === null) reply.integer(entry === 0 ? -2 : -1)
    else reply.integer(inUnits(deadline - shard.nowMs))
    return true
  }

export const ttl = timeLeft((ms) => Math.floor((ms + 500) / 1000))
export const pttl = timeLeft((ms) => ms)

export const persist: Run = (shard, request, reply) => {
  const entry = shard.find(request, 1)
  const ends = entry !== 0 && shard.deadlines.of(entry) !== null
  if (ends) shard.deadlines.clear(entry)
  reply.integer(ends ? 1 : 0)
  return true
}

export const dbsize: Run = (shard, _request, reply) => {
  reply.integer(shard.count)
  return true
}

export const flushall: Run = (shard, request, reply) => {
  const known = request.count === 1 || isWord(request, 1, 'ASYNC') || isWord(request, 1, 'SYNC')
  if (request.count > 2 || !known) return refuse(reply, SYNTAX)
  shard.flush()
  reply.ok()
  return true
}
