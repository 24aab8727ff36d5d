// The commands there are, as Redis's COMMAND describes them: what a gateway needs to route one, and `execute` to check it.

import { lengthOf, type Request, startOf } from './request.ts'
import { slotOf } from './shares.ts'

export interface CommandSpec {
  readonly name: CommandName
  /** In `COMMANDS`. */
  readonly index: number
  /** Every second argument from 2 on is the name of a hash's field. */
  readonly hasFields: boolean
  /** Arguments with the name; negative: at least so many. */
  readonly arity: number
  readonly flags: readonly ('readonly' | 'write' | 'denyoom' | 'fast' | 'loading' | 'stale' | 'admin')[]
  /** Where its keys are: first, last (negative: from the end) and step; 0: it has none. */
  readonly keys: readonly [first: number, last: number, step: number]
}

const [NONE, ONE, ALL, PAIRS] = [
  [0, 0, 0],
  [1, 1, 1],
  [1, -1, 1],
  [1, -1, 2],
] as const

const TABLE = {
  append: [3, ['write', 'denyoom', 'fast'], ONE],
  client: [-2, ['loading', 'stale'], NONE],
  command: [-1, ['loading', 'stale'], NONE],
  config: [-2, ['admin', 'loading', 'stale'], NONE],
  dbsize: [1, ['readonly', 'fast'], NONE],
  decr: [2, ['write', 'denyoom', 'fast'], ONE],
  decrby: [3, ['write', 'denyoom', 'fast'], ONE],
  del: [-2, ['write'], ALL],
  echo: [2, ['loading', 'stale', 'fast'], NONE],
  exists: [-2, ['readonly', 'fast'], ALL],
  expire: [-3, ['write', 'fast'], ONE],
  flushall: [-1, ['write'], NONE],
  flushdb: [-1, ['write'], NONE],
  get: [2, ['readonly', 'fast'], ONE],
  getset: [3, ['write', 'denyoom', 'fast'], ONE],
  hdel: [-3, ['write', 'fast'], ONE],
  hello: [-1, ['loading', 'stale', 'fast'], NONE],
  hget: [3, ['readonly', 'fast'], ONE],
  hgetall: [2, ['readonly'], ONE],
  hlen: [2, ['readonly', 'fast'], ONE],
  hmset: [-4, ['write', 'denyoom', 'fast'], ONE],
  hset: [-4, ['write', 'denyoom', 'fast'], ONE],
  incr: [2, ['write', 'denyoom', 'fast'], ONE],
  incrby: [3, ['write', 'denyoom', 'fast'], ONE],
  info: [-1, ['loading', 'stale'], NONE],
  mget: [-2, ['readonly', 'fast'], ALL],
  mset: [-3, ['write', 'denyoom'], PAIRS],
  persist: [2, ['write', 'fast'], ONE],
  pexpire: [-3, ['write', 'fast'], ONE],
  ping: [-1, ['fast'], NONE],
  pttl: [2, ['readonly', 'fast'], ONE],
  select: [2, ['loading', 'stale', 'fast'], NONE],
  set: [-3, ['write', 'denyoom'], ONE],
  setnx: [3, ['write', 'denyoom', 'fast'], ONE],
  strlen: [2, ['readonly', 'fast'], ONE],
  ttl: [2, ['readonly', 'fast'], ONE],
  type: [2, ['readonly', 'fast'], ONE],
} as const satisfies Record<string, readonly [number, CommandSpec['flags'], CommandSpec['keys']]>

export type CommandName = keyof typeof TABLE

export const COMMANDS: readonly CommandSpec[] = Object.entries(TABLE).map(([name, [arity, flags, keys]], index) => ({
  name: name as CommandName,
  index,
  hasFields: name === 'hset' || name === 'hmset',
  arity,
  flags,
  keys,
}))

/** A number of a name's letters, in any case: what the names are found by. */
function digest(bytes: Uint8Array, start: number, length: number): number {
  let sum = length
  for (let at = start; at < start + length; at++) sum = (Math.imul(sum, 31) + ((bytes[at] as number) | 0x20)) | 0
  return sum >>> 0
}

const NAMES = COMMANDS.map(({ name }) => Buffer.from(name))
const MAX_NAME_BYTES = Math.max(...NAMES.map(({ length }) => length))
/** Places of commands by the digests of their names, one behind the other where two have the same: index and 1, 0 is none. */
const PLACES = new Uint8Array(256)
const placeAfter = (place: number): number => (place + 1) % PLACES.length
for (const [index, bytes] of NAMES.entries()) {
  let place = digest(bytes, 0, bytes.length) % PLACES.length
  while (PLACES[place] !== 0) place = placeAfter(place)
  PLACES[place] = index + 1
}

/** The command that an argument names, in any case; null: there is none. */
export function findCommand(request: Request, index = 0): CommandSpec | null {
  const { bytes } = request
  const start = startOf(request, index)
  const length = lengthOf(request, index)
  if (length > MAX_NAME_BYTES) return null
  let place = digest(bytes, start, length) % PLACES.length
  for (let number = PLACES[place] as number; number !== 0; number = PLACES[place] as number) {
    if (isName(NAMES[number - 1] as Uint8Array, bytes, start, length)) return COMMANDS[number - 1] as CommandSpec
    place = placeAfter(place)
  }
  return null
}

function isName(name: Uint8Array, bytes: Uint8Array, start: number, length: number): boolean {
  if (name.length !== length) return false
  for (let at = 0; at < length; at++) {
    const byte = bytes[start + at] as number
    // Letters alone differ in this bit by their case only.
    if ((byte | 0x20) !== name[at] || (byte & 0x40) === 0) return false
  }
  return true
}

/** Whether a request has as many arguments as its command takes. */
export const fitsArity = ({ arity }: CommandSpec, { count }: Request): boolean =>
  arity < 0 ? count >= -arity : count === arity

/** Index of the last key, for a request that fits its command; before `keys[0]` when it has none. */
export function lastKey({ keys: [first, last] }: CommandSpec, { count }: Request): number {
  if (first === 0) return -1
  return last < 0 ? count + last : last
}

/** The slot of all keys of a request; 'none' without keys, 'cross' when they lie in several. */
export function slotOfRequest(spec: CommandSpec, request: Request): number | 'none' | 'cross' {
  const [first, , step] = spec.keys
  const last = lastKey(spec, request)
  if (first === 0 || last < first) return 'none'
  const slotAt = (index: number): number => slotOf(request.bytes, startOf(request, index), lengthOf(request, index))
  const slot = slotAt(first)
  for (let index = first + step; index <= last; index += step) if (slotAt(index) !== slot) return 'cross'
  return slot
}
