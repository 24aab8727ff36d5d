// What a load is asked to do: the options with their defaults, checked once. The command line, the demo and tests give
// some of them; everything behind works with all.

import { z } from 'zod'
import { GodwitError } from '../errors.ts'
import {
  LOAD_COUNTERS,
  LOAD_MAX_CONNECTIONS,
  LOAD_MAX_KEYS,
  LOAD_MAX_MS,
  LOAD_MAX_RATE,
  LOAD_MAX_VALUE_BYTES,
  LOAD_PATIENCE_MS,
} from '../limits.ts'
import { ARRIVALS } from './arrivals.ts'
import { DISTRIBUTIONS } from './operations.ts'

const targetSchema = z.strictObject({ host: z.string().min(1), port: z.int().min(1).max(65_535) })
export type Target = z.output<typeof targetSchema>

const share = z.number().min(0).max(1)

export const loadSettingsSchema = z.strictObject({
  /** Where the service is; connections are dealt out to them in turn. */
  targets: z.array(targetSchema).min(1).max(64),
  /** Operations a second of all connections together. */
  rate: z.number().positive().max(LOAD_MAX_RATE).default(1000),
  connections: z.int().min(1).max(LOAD_MAX_CONNECTIONS).default(8),
  /** It ends by itself after this. */
  durationMs: z.number().positive().max(LOAD_MAX_MS).default(LOAD_MAX_MS),
  /** Runs so long before that, and takes no time from it. */
  warmUpMs: z.number().min(0).max(60_000).default(500),
  /** A reply may take so long; then its connection is given up, and at the end the load is over. */
  patienceMs: z.number().min(10).max(600_000).default(LOAD_PATIENCE_MS),
  arrivals: z.enum(ARRIVALS).default('poisson'),
  /** Share of all operations that write, and of these the share that increments. */
  writes: share.default(0.5),
  increments: share.default(0.5),
  keys: z.int().min(1).max(LOAD_MAX_KEYS).default(10_000),
  distribution: z.enum(DISTRIBUTIONS).default('uniform'),
  valueBytes: z.int().min(1).max(LOAD_MAX_VALUE_BYTES).default(100),
  /** At least one a connection, or increments would have nowhere to go. */
  counters: z.int().min(1).max(LOAD_MAX_KEYS).default(LOAD_COUNTERS),
  /** What is sent follows from it. */
  seed: z
    .int()
    .min(0)
    .max(2 ** 32 - 1)
    .default(1),
  /** What its keys begin with; chosen at random, so that it meets no keys but its own. */
  prefix: z
    .string()
    .regex(/^[\x21-\x7e]{1,64}$/)
    .default(() => `load:${randomName()}`),
  /** Leaves its keys behind. */
  keep: z.boolean().default(false),
  /** Looks for due operations without a rest: takes a CPU, and is late by microseconds. */
  spin: z.boolean().default(false),
})

export type LoadOptions = z.input<typeof loadSettingsSchema>
export type LoadSettings = z.output<typeof loadSettingsSchema>

const randomName = (): string => crypto.getRandomValues(new Uint32Array(1))[0]?.toString(16).padStart(8, '0') as string

/** All options, defaults included. Throws `usage` naming the first that is wrong. */
export function loadSettings(options: LoadOptions): LoadSettings {
  const parsed = loadSettingsSchema.safeParse(options)
  if (!parsed.success) {
    const [issue] = parsed.error.issues
    throw new GodwitError('usage', `${issue?.path.join('.')}: ${issue?.message}`)
  }
  const { counters, connections } = parsed.data
  return { ...parsed.data, counters: Math.max(counters, connections) }
}
