// Commands that are not about keys: what clients ask a server before and beside their work. What belongs to one connection
// (its number, its name) is the gateway's, which answers CLIENT ID and the like before a shard sees them.

import { KV_MAX_VALUE_BYTES } from '../../limits.ts'
import { NOT_AN_INTEGER, type Run, refuse, wrongArguments } from './command.ts'
import { COMMANDS, type CommandSpec, findCommand } from './command-table.ts'
import { infoText, type Sections } from './info.ts'
import { parseInteger } from './integers.ts'
import type { Reply } from './reply.ts'
import { isWord, lengthOf, type Request, startOf, textOf } from './request.ts'
import { COUNTER, type Shard } from './shard.ts'

/** The Redis whose answers these are; clients choose their commands by it. */
export const REDIS_VERSION = '7.2.0'

/** The argument as a number; null: it is none, or too large to be exact. */
export const integerOf = (request: Request, index: number): number | null => {
  const value = parseInteger(request.bytes, startOf(request, index), lengthOf(request, index))
  return typeof value === 'number' ? value : null
}

/** Arguments from `from` on, as text. */
export const textsOf = (request: Request, from: number): string[] =>
  Array.from({ length: request.count - from }, (_, index) => textOf(request, from + index))

/** Redis's words for a second word that a command does not know. */
export function unknownSubcommand(request: Request, reply: Reply): true {
  const [command, subcommand] = [textOf(request, 0), textOf(request, 1)]
  return refuse(reply, `ERR unknown subcommand '${subcommand}'. Try ${command.toUpperCase()} HELP.`)
}

export const ping: Run = (_shard, request, reply) => {
  if (request.count > 2) return refuse(reply, wrongArguments('ping'))
  if (request.count === 2) reply.bulk(request.bytes, startOf(request, 1), lengthOf(request, 1))
  else reply.simple('PONG')
  return true
}

export const echo: Run = (_shard, request, reply) => {
  reply.bulk(request.bytes, startOf(request, 1), lengthOf(request, 1))
  return true
}

export const select: Run = (_shard, request, reply) => {
  const index = integerOf(request, 1)
  if (index === 0) reply.ok()
  else reply.error(index === null ? NOT_AN_INTEGER : 'ERR DB index is out of range')
  return true
}

/** What is wrong with the version that HELLO asks for; null: nothing. */
export function helloRefusal(request: Request): string | null {
  if (request.count === 1) return null
  const version = integerOf(request, 1)
  if (version === null) return 'ERR Protocol version is not an integer or out of range'
  return version === 2 ? null : 'NOPROTO unsupported protocol version'
}

/** The answer to HELLO. */
export function helloReply(reply: Reply, id: number, mode: 'standalone' | 'cluster'): void {
  const facts = { server: 'redis', version: REDIS_VERSION, proto: 2, id, mode, role: 'master' }
  reply.array(2 * Object.keys(facts).length + 2)
  for (const [name, value] of Object.entries(facts)) {
    reply.text(name)
    if (typeof value === 'number') reply.integer(value)
    else reply.text(value)
  }
  reply.text('modules')
  reply.array(0)
}

export const hello: Run = (_shard, request, reply) => {
  const refusal = helloRefusal(request)
  if (refusal !== null) return refuse(reply, refusal)
  if (request.count > 2) return refuse(reply, `ERR Syntax error in HELLO option '${textOf(request, 2)}'`)
  helloReply(reply, 0, 'standalone')
  return true
}

export const client: Run = (_shard, request, reply) => {
  if (isWord(request, 1, 'SETINFO')) {
    if (request.count !== 4) return refuse(reply, wrongArguments('client|setinfo'))
    reply.ok()
  } else if (isWord(request, 1, 'SETNAME')) {
    if (request.count !== 3) return refuse(reply, wrongArguments('client|setname'))
    reply.ok()
  } else if (isWord(request, 1, 'GETNAME')) {
    if (request.count !== 2) return refuse(reply, wrongArguments('client|getname'))
    reply.null()
  } else return unknownSubcommand(request, reply)
  return true
}

function describe({ name, arity, flags, keys }: CommandSpec, reply: Reply): void {
  reply.array(6)
  reply.text(name)
  reply.integer(arity)
  reply.array(flags.length)
  for (const flag of flags) reply.simple(flag)
  for (const key of keys) reply.integer(key)
}

export const command: Run = (_shard, request, reply) => {
  if (request.count === 1) {
    reply.array(COMMANDS.length)
    for (const spec of COMMANDS) describe(spec, reply)
  } else if (isWord(request, 1, 'COUNT')) {
    if (request.count !== 2) return refuse(reply, wrongArguments('command|count'))
    reply.integer(COMMANDS.length)
  } else if (isWord(request, 1, 'DOCS')) {
    reply.array(0)
  } else if (isWord(request, 1, 'INFO')) {
    reply.array(request.count - 2)
    for (let index = 2; index < request.count; index++) {
      const spec = findCommand(request, index)
      if (spec === null) reply.null()
      else describe(spec, reply)
    }
  } else return unknownSubcommand(request, reply)
  return true
}

/** What programs ask for: redis-benchmark wants the first two. */
export const settingsOf = (maxBytes: number): Readonly<Record<string, string>> => ({
  save: '',
  appendonly: 'no',
  databases: '1',
  maxmemory: String(maxBytes),
  'maxmemory-policy': 'noeviction',
  'proto-max-bulk-len': String(KV_MAX_VALUE_BYTES),
})

/** Whether the name is of the pattern's form: * for anything, ? for one character. */
function matches(name: string, pattern: string): boolean {
  // Where the last * stood, and how far the name had come then: the only choice that can still be taken back.
  let [star, resume] = [-1, 0]
  let at = 0
  let next = 0
  while (at < name.length) {
    if (pattern[next] === '*') {
      star = next++
      resume = at
    } else if (pattern[next] === '?' || pattern[next] === name[at]) {
      next++
      at++
    } else if (star >= 0) {
      next = star + 1
      at = ++resume
    } else return false
  }
  while (pattern[next] === '*') next++
  return next === pattern.length
}

/** CONFIG GET of these settings. */
export function configReply(settings: Readonly<Record<string, string>>, request: Request, reply: Reply): true {
  if (!isWord(request, 1, 'GET')) return unknownSubcommand(request, reply)
  if (request.count < 3) return refuse(reply, wrongArguments('config|get'))
  const patterns = textsOf(request, 2).map((pattern) => pattern.toLowerCase())
  const found = Object.entries(settings).filter(([name]) => patterns.some((each) => matches(name, each)))
  reply.array(2 * found.length)
  for (const text of found.flat()) reply.text(text)
  return true
}

export const config: Run = (shard, request, reply) => configReply(settingsOf(shard.maxBytes), request, reply)

/** The sections of INFO, of this shard alone. */
const sectionsOf = (shard: Shard): Sections => ({
  Server: { redis_version: REDIS_VERSION, redis_mode: 'standalone' },
  Clients: {},
  Memory: { used_memory: shard.usedBytes, maxmemory: shard.maxBytes, maxmemory_policy: 'noeviction' },
  Persistence: { loading: 0 },
  Stats: {
    total_commands_processed: shard.counter(COUNTER.commands),
    expired_keys: shard.counter(COUNTER.expired),
    keyspace_hits: shard.counter(COUNTER.hits),
    keyspace_misses: shard.counter(COUNTER.misses),
  },
  Replication: { role: 'master', connected_slaves: 0 },
  Keyspace:
    shard.count === 0 ? {} : { db0: `keys=${shard.count},expires=${shard.deadlines.count},avg_ttl=0,subexpiry=0` },
})

export const info: Run = (shard, request, reply) => {
  reply.text(infoText(sectionsOf(shard), textsOf(request, 1)))
  return true
}
