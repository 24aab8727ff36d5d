// Commands on hashes. A hash is there as long as it has a field.

import { type Run, refuse, WRONG_TYPE, wrongArguments } from './command.ts'
import type { Reply } from './reply.ts'
import type { Shard } from './shard.ts'

/** The dictionary of the entry's hash; 0: the key is not there; null: it holds something else, and that is said. */
function hashOf(shard: Shard, entry: number, reply: Reply): number | null {
  if (entry === 0) return 0
  if (!shard.entries.isString(entry)) return shard.entries.dictionary(entry)
  reply.error(WRONG_TYPE)
  return null
}

/** Adds fields; `answer` gets the number of new ones. */
const setFields =
  (name: string, answer: (reply: Reply, added: number) => void): Run =>
  (shard, request, reply) => {
    if (request.count % 2 !== 0) return refuse(reply, wrongArguments(name))
    const entry = shard.find(request, 1)
    const hash = hashOf(shard, entry, reply)
    if (hash === null) return true
    const made = hash === 0 ? shard.addHash(request, 1) : entry
    if (made === null) return false
    const added = shard.hashes.set(shard.entries.dictionary(made), request, 2)
    if (added !== null) answer(reply, added)
    else if (hash === 0) shard.remove(made)
    return added !== null
  }

export const hset = setFields('hset', (reply, added) => reply.integer(added))
export const hmset = setFields('hmset', (reply) => reply.ok())

export const hlen: Run = (shard, request, reply) => {
  const hash = hashOf(shard, shard.lookUp(request, 1), reply)
  if (hash !== null) reply.integer(hash === 0 ? 0 : shard.hashes.count(hash))
  return true
}

export const hget: Run = (shard, request, reply) => {
  const hash = hashOf(shard, shard.lookUp(request, 1), reply)
  if (hash === null) return true
  const field = hash === 0 ? 0 : shard.hashes.find(hash, request, 2)
  if (field === 0) reply.null()
  else shard.entries.replyString(field, reply)
  return true
}

export const hdel: Run = (shard, request, reply) => {
  const entry = shard.find(request, 1)
  const hash = hashOf(shard, entry, reply)
  if (hash === null) return true
  let removed = 0
  for (let index = 2; index < request.count && hash !== 0 && shard.hashes.count(hash) > 0; index++) {
    const field = shard.hashes.find(hash, request, index)
    if (field === 0) continue
    shard.hashes.remove(hash, field)
    removed++
  }
  if (hash !== 0 && shard.hashes.count(hash) === 0) shard.remove(entry)
  reply.integer(removed)
  return true
}

export const hgetall: Run = (shard, request, reply) => {
  const hash = hashOf(shard, shard.lookUp(request, 1), reply)
  if (hash === 0) reply.array(0)
  else if (hash !== null) shard.hashes.replyAll(hash, reply)
  return true
}
