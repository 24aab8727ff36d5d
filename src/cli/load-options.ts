// The options of `godwit load`, for the command table; commands/load.ts turns their values into those of a load.

import { LOAD_MAX_CONNECTIONS, LOAD_MAX_KEYS } from '../limits.ts'
import { ARRIVALS } from '../load/arrivals.ts'
import { DISTRIBUTIONS } from '../load/operations.ts'
import type { OptionTable } from './arguments.ts'

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
