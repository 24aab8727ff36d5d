// The options of `godwit load`, for the command table, and what `godwit demo` shares with it.

import { GodwitError } from '../errors.ts'
import { LOAD_MAX_CONNECTIONS, LOAD_MAX_KEYS, LOAD_MAX_RATE, LOAD_MAX_VALUE_BYTES } from '../limits.ts'
import { ARRIVALS } from '../load/arrivals.ts'
import { DISTRIBUTIONS } from '../load/operations.ts'
import { formatBytes } from '../quantities.ts'
import type { Arguments, OptionTable } from './arguments.ts'

export const LOAD: OptionTable = {
  rate: {
    type: 'text',
    placeholder: 'N/s',
    default: '1000/s',
    help: 'operations a second, sent when they are due, whatever the service does',
  },
  connections: {
    type: 'integer',
    least: 1,
    most: LOAD_MAX_CONNECTIONS,
    default: '8',
    help: 'connections, dealt out to the addresses in turn; each sends on without waiting for replies',
  },
  duration: { type: 'duration', default: '10s', help: 'ends after this' },
  writes: { type: 'text', placeholder: 'SHARE', default: '0.5', help: 'share of the operations that write' },
  increments: {
    type: 'text',
    placeholder: 'SHARE',
    default: '0.5',
    help: 'share of the writes that increment counters, by which the service is checked',
  },
  keys: { type: 'integer', least: 1, most: LOAD_MAX_KEYS, default: '10000', help: 'keys, filled before it begins' },
  distribution: {
    type: 'choice',
    choices: DISTRIBUTIONS,
    default: 'uniform',
    help: 'which of them; zipf: few keys get most operations',
  },
  'value-size': { type: 'bytes', default: '100B', help: 'size of the values' },
  arrivals: { type: 'choice', choices: ARRIVALS, default: 'poisson', help: 'at random times, or evenly spaced' },
  seed: { type: 'integer', most: 2 ** 32 - 1, default: '1', help: 'what is sent follows from it' },
  prefix: { type: 'text', placeholder: 'TEXT', help: 'what its keys begin with; default: one of its own' },
  keep: { type: 'flag', help: 'leave the keys behind' },
  marks: { type: 'flag', help: 'each line on standard input begins a window of that name' },
  spin: { type: 'flag', help: 'be late by microseconds instead of a millisecond; takes a CPU' },
}

/** What clients of a demo's guest do: 32 MiB of values, so that a move takes a moment. */
export const DEMO_LOAD: OptionTable = {
  rate: {
    ...LOAD.rate,
    default: '2000/s',
    help: 'kv: operations a second of clients while it moves',
  } as OptionTable[string],
  writes: { ...LOAD.writes, help: 'kv: share of them that write' } as OptionTable[string],
  keys: { ...LOAD.keys, default: '32768', help: 'kv: keys, filled before it begins' } as OptionTable[string],
  'value-size': { ...LOAD['value-size'], default: '1000B', help: 'kv: size of the values' } as OptionTable[string],
}

/** What clients do. */
export interface Operations {
  /** A second. */
  readonly rate: number
  /** Share that write. */
  readonly writes: number
  readonly keys: number
  readonly valueBytes: number
}

/** What clients do, from --rate, --writes, --keys and --value-size. Throws `usage`. */
export function operationsOf(args: Arguments): Operations {
  const valueBytes = args.number('value-size') ?? 0
  if (valueBytes < 1 || valueBytes > LOAD_MAX_VALUE_BYTES) {
    throw outOfRange('value-size', `a size from 1B to ${formatBytes(LOAD_MAX_VALUE_BYTES)}`)
  }
  return {
    rate: parsePerSecond(args.text('rate') ?? ''),
    writes: parseShare('writes', args.text('writes') ?? ''),
    keys: args.number('keys') as number,
    valueBytes,
  }
}

/** '2000/s' or '2000'. Throws `usage`. */
function parsePerSecond(text: string): number {
  const rate = Number(/^(\d+(?:\.\d+)?)(?:\/s)?$/.exec(text)?.[1])
  if (rate > 0 && rate <= LOAD_MAX_RATE) return rate
  throw outOfRange('rate', `operations a second, such as 2000/s, up to ${LOAD_MAX_RATE}`)
}

/** '0.5' or '50%'. Throws `usage`. */
export function parseShare(name: string, text: string): number {
  const [, amount, percent] = /^(\d+(?:\.\d+)?)(%?)$/.exec(text) ?? []
  const share = Number(amount) / (percent === '%' ? 100 : 1)
  if (share >= 0 && share <= 1) return share
  throw outOfRange(name, 'a share from 0 to 1, or from 0% to 100%')
}

export const outOfRange = (name: string, wanted: string): GodwitError =>
  new GodwitError('usage', `--${name} is not understood or out of range`, { hint: `give ${wanted}` })
