// What a load does with its keys before and after it runs: fills them, reads its counters, removes what it wrote. run.ts
// calls these when nothing else is under way on the connections.

import { GodwitError } from '../errors.ts'
import { BAD_REPLY, type Connection } from './connection.ts'
import type { Counters } from './counters.ts'
import { OPERATION, type Operation } from './operations.ts'
import type { LoadSettings } from './options.ts'
import { type Reply, textOfReply } from './reply-parser.ts'
import { type SweepOptions, sweep } from './sweep.ts'

export interface KeysContext {
  readonly connections: readonly Connection[]
  readonly settings: LoadSettings
  readonly clock: () => number
}

type Take = (key: number, reply: Reply) => void
type More = Pick<SweepOptions, 'over' | 'disconnected'>

const sweepOver = (
  context: KeysContext,
  kind: Operation,
  counter: boolean,
  take: Take,
  more: More = {},
): Promise<number> => {
  const { connections, settings, clock } = context
  const { keys, counters, patienceMs } = settings
  return sweep(connections, { kind, counter, keys: counter ? counters : keys, take, patienceMs, clock, ...more })
}

/** Writes every key once, unless it is `interrupted`. Throws `load-refused` or `bad-reply`. */
export async function fillKeys(context: KeysContext, interrupted: () => boolean): Promise<void> {
  const { keys } = context.settings
  const take: Take = (_, reply) => {
    if (reply.kind !== 'simple') throw refused(reply)
  }
  const disconnected = (reason: string): void => {
    if (!reason.startsWith(BAD_REPLY)) return
    const message = `the service does not speak the Redis protocol: ${reason.slice(BAD_REPLY.length)}`
    throw new GodwitError('bad-reply', message, { hint: 'give the port of a service, not that of an agent' })
  }
  const answered = await sweepOver(context, OPERATION.set, false, take, { over: interrupted, disconnected })
  if (answered === keys || interrupted()) return
  throw new GodwitError('load-refused', `the service took ${answered} of ${keys} keys, then no more`, {
    hint: 'look at the service: it answers nothing, or no Redis protocol',
  })
}

function refused(reply: Reply): GodwitError {
  const said = reply.kind === 'error' ? textOfReply(reply) : `a reply of the kind ${reply.kind}`
  const full = 'give fewer --keys or a smaller --value-size, or the guest more memory'
  return new GodwitError('load-refused', `the service does not take the keys of the load: ${said}`, {
    hint: said.startsWith('OOM') ? full : undefined,
  })
}

/** Reads every counter; false: not every one was answered. */
export async function readCounters(context: KeysContext, recorded: Counters): Promise<boolean> {
  const answered = await sweepOver(context, OPERATION.readCounter, true, (counter, reply) => {
    if (reply.kind === 'null') recorded.read(counter, 0)
    else if (reply.kind === 'bulk') recorded.read(counter, Number(textOfReply(reply)))
  })
  return answered === context.settings.counters
}

export async function removeKeys(context: KeysContext): Promise<void> {
  await sweepOver(context, OPERATION.remove, false, () => {})
  await sweepOver(context, OPERATION.remove, true, () => {})
}
