// Commands that the gateway itself answers: those about the connection, and what clients ask a server before their work.
// client-commands.ts has CLIENT, cluster-commands.ts CLUSTER.

import { type Run as ShardRun, SYNTAX, wrongArguments } from '../programs/kv/command.ts'
import { unknownCommand } from '../programs/kv/execute.ts'
import type { Reply } from '../programs/kv/reply.ts'
import { isWord, type Request, textOf } from '../programs/kv/request.ts'
import {
  command,
  configReply,
  echo,
  helloRefusal,
  helloReply,
  ping,
  select,
  settingsOf,
} from '../programs/kv/server-commands.ts'
import type { Shard } from '../programs/kv/shard.ts'
import type { Client } from './client.ts'
import { clientCommand, setName } from './client-commands.ts'
import { clusterCommand } from './cluster-commands.ts'
import { NO_CLUSTER, NOT_CARRIED } from './failures.ts'

/** Writes the answer of a command that has arguments enough. */
export type Local = (client: Client, request: Request, reply: Reply) => void

/** Longer than any command's name. */
const NAME_BYTES = 32

/** Of these a shard's own answer is right, which it gives without looking at the shard. */
const shardless =
  (run: ShardRun): Local =>
  (_client, request, reply) => {
    run(undefined as unknown as Shard, request, reply)
  }

const okInCluster: Local = (client, _request, reply) =>
  client.front.cluster === null ? reply.error(NO_CLUSTER) : reply.ok()

const hello: Local = (client, request, reply) => {
  const refusal = helloRefusal(request)
  if (refusal !== null) return reply.error(refusal)
  let name: number | null = null
  for (let index = 2; index < request.count; index++) {
    if (isWord(request, index, 'AUTH') && index + 2 < request.count) {
      if (!isWord(request, index + 1, 'DEFAULT')) return reply.error(WRONG_PASSWORD)
      index += 2
      continue
    }
    if (!isWord(request, index, 'SETNAME') || index + 1 === request.count) {
      return reply.error(`ERR Syntax error in HELLO option '${textOf(request, index)}'`)
    }
    name = ++index
  }
  if (name !== null && !setName(client, request, name, reply)) return
  helloReply(reply, client.id, client.front.cluster === null ? 'standalone' : 'cluster')
}

const NO_PASSWORD =
  'ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?'

const WRONG_PASSWORD = 'WRONGPASS invalid username-password pair or user is disabled.'

/** There is one user, 'default', for whom any password does, as for Redis's without one. */
const auth: Local = (_client, request, reply) => {
  if (request.count > 3) return reply.error(SYNTAX)
  if (request.count === 2) return reply.error(NO_PASSWORD)
  if (isWord(request, 1, 'DEFAULT')) reply.ok()
  else reply.error(WRONG_PASSWORD)
}

/**
 * What a page in a browser sends when it is made to talk to this port, which may have nothing but loopback before it: the
 * lines behind it must not be taken for commands. Redis does the same.
 */
const browser: Local = (client) => client.drop()

const quit: Local = (client, _request, reply) => {
  reply.ok()
  client.finish()
}

const reset: Local = (client, _request, reply) => {
  client.name = ''
  client.asking = false
  reply.simple('RESET')
}

const asking: Local = (client, _request, reply) => {
  if (client.front.cluster === null) return reply.error(NO_CLUSTER)
  client.asking = true
  reply.ok()
}

const config: Local = (_client, request, reply) => {
  configReply(settingsOf(0), request, reply)
}

/** Arguments with the name (negative: at least so many), and what answers. */
const TABLE: ReadonlyMap<string, readonly [number, Local]> = new Map<string, readonly [number, Local]>([
  ['asking', [1, asking]],
  ['auth', [-2, auth]],
  ['client', [-2, clientCommand]],
  ['cluster', [-2, clusterCommand]],
  ['command', [-1, shardless(command)]],
  ['config', [-2, config]],
  ['echo', [2, shardless(echo)]],
  ['hello', [-1, hello]],
  ['host:', [-1, browser]],
  ['ping', [-1, shardless(ping)]],
  ['post', [-1, browser]],
  ['quit', [-1, quit]],
  ['readonly', [1, okInCluster]],
  ['readwrite', [1, okInCluster]],
  ['reset', [1, reset]],
  ['select', [2, shardless(select)]],
])

/** Commands of Redis that users may expect, and that a gateway which resends and splits cannot carry. */
const REFUSED: ReadonlySet<string> = new Set(
  (
    'subscribe unsubscribe psubscribe punsubscribe ssubscribe sunsubscribe publish spublish pubsub monitor ' +
    'blpop brpop blmove brpoplpush blmpop bzpopmin bzpopmax bzmpop wait waitaof xread xreadgroup ' +
    'multi exec discard watch unwatch eval eval_ro evalsha evalsha_ro script function fcall fcall_ro'
  ).split(' '),
)

/** Answers a command that goes to no vCPU, one that is none included. */
export function runLocal(client: Client, request: Request): void {
  const { reply } = client.front
  const name = textOf(request, 0, NAME_BYTES).toLowerCase()
  const found = TABLE.get(name)
  reply.rewind(0)
  if (found === undefined) reply.error(REFUSED.has(name) ? `ERR '${name}' ${NOT_CARRIED}` : unknownCommand(request))
  else if (found[0] < 0 ? request.count < -found[0] : request.count !== found[0]) reply.error(wrongArguments(name))
  else found[1](client, request, reply)
  if (reply.overflowed) {
    reply.rewind(0)
    reply.error('ERR the reply is too long')
  }
  client.answer()
}
