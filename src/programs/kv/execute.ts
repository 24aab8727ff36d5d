// One command on one shard: the store's only door. The same requests with the same times lead to the same bytes in the
// guest and the same replies, on whatever host.

import { assert } from '../../errors.ts'
import {
  KV_MAX_KEY_BYTES,
  KV_REAP_ENTRIES,
  KV_REAP_MORE_ENTRIES,
  KV_REAP_MORE_TIMES,
  KV_SWEEP_KEYS,
} from '../../limits.ts'
import { OUT_OF_MEMORY, type Run, wrongArguments } from './command.ts'
import { COMMANDS, type CommandName, type CommandSpec, findCommand, fitsArity, lastKey } from './command-table.ts'
import * as hashCommands from './hash-commands.ts'
import * as keyCommands from './key-commands.ts'
import type { Reply } from './reply.ts'
import { lengthOf, type Request, textOf } from './request.ts'
import * as serverCommands from './server-commands.ts'
import { COUNTER, type Shard } from './shard.ts'
import * as stringCommands from './string-commands.ts'

const { append, decr, decrby, get, getset, incr, incrby, mget, mset, set, setnx, strlen } = stringCommands
const { dbsize, del, exists, expire, flushall, persist, pexpire, pttl, ttl, type } = keyCommands
const { hdel, hget, hgetall, hlen, hmset, hset } = hashCommands
const { client, command, config, echo, hello, info, ping, select } = serverCommands
const BY_NAME: Readonly<Record<CommandName, Run>> = {
  ...{ append, decr, decrby, get, getset, incr, incrby, mget, mset, set, setnx, strlen },
  ...{ dbsize, del, exists, expire, flushall, flushdb: flushall, persist, pexpire, pttl, ttl, type },
  ...{ hdel, hget, hgetall, hlen, hmset, hset },
  ...{ client, command, config, echo, hello, info, ping, select },
}

/** By the index of the command: a look-up by name costs more. */
const RUN: readonly Run[] = COMMANDS.map(({ name }) => BY_NAME[name])

const KEY_TOO_LONG = `ERR key or field is longer than ${KV_MAX_KEY_BYTES} bytes`
/** Any reply but a key's content fits. */
export const MIN_REPLY_BYTES = 512
/** How much of the arguments an error shows, as in Redis. */
const SHOWN_BYTES = 128

/**
 * Executes a request, which has a name at least, and writes its reply behind what `reply` holds. `nowMs` comes with the
 * request: whole milliseconds since 1970, by the guest's time. `reply` has room for `MIN_REPLY_BYTES` at least.
 */
export function execute(shard: Shard, request: Request, reply: Reply, nowMs: number): void {
  assert(reply.fits(MIN_REPLY_BYTES), 'no room for a reply')
  assert(Number.isSafeInteger(nowMs), 'a request has no time')
  shard.advance(nowMs)
  shard.note(COUNTER.commands)
  shard.sweep(KV_SWEEP_KEYS)
  const spec = findCommand(request)
  const error = spec === null ? null : refusal(spec, request)
  if (spec === null) reply.error(unknownCommand(request))
  else if (error !== null) reply.error(error)
  else run(RUN[spec.index] as Run, shard, request, reply)
  shard.hashes.reap(KV_REAP_ENTRIES)
}

function run(command: Run, shard: Shard, request: Request, reply: Reply): void {
  const begin = reply.length
  let done = command(shard, request, reply)
  for (let times = 0; !done && times < KV_REAP_MORE_TIMES && shard.hashes.reap(KV_REAP_MORE_ENTRIES); times++) {
    reply.rewind(begin)
    done = command(shard, request, reply)
  }
  if (done && !reply.overflowed) return
  reply.rewind(begin)
  reply.error(done ? 'ERR the reply is too long' : OUT_OF_MEMORY)
}

/** What is wrong with a request for that command; null: nothing. */
function refusal(spec: CommandSpec, request: Request): string | null {
  if (!fitsArity(spec, request)) return wrongArguments(spec.name)
  const [first, , step] = spec.keys
  const last = lastKey(spec, request)
  if (first !== 0) {
    for (let index = first; index <= last; index += step) {
      if (lengthOf(request, index) > KV_MAX_KEY_BYTES) return KEY_TOO_LONG
    }
  }
  if (!spec.hasFields) return null
  for (let index = 2; index < request.count; index += 2) {
    if (lengthOf(request, index) > KV_MAX_KEY_BYTES) return KEY_TOO_LONG
  }
  return null
}

/** Redis's words for a command that is none; text ends at a zero byte there. */
export function unknownCommand(request: Request): string {
  const shown = (index: number, most: number): string => textOf(request, index, most).split('\0', 1)[0] as string
  let rest = ''
  for (let index = 1; index < request.count && rest.length < SHOWN_BYTES; index++) {
    rest += `'${shown(index, SHOWN_BYTES - rest.length)}' `
  }
  return `ERR unknown command '${shown(0, SHOWN_BYTES)}', with args beginning with: ${rest}`
}
