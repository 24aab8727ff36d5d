// What an operator can choose about a migration, with defaults. The schema validates the HTTP API, the command line
// and the library alike; every value in force goes into the report.

import { z } from 'zod'
import { LZ4_CHOICES } from '../encoding/lz4-backend.ts'
import { ENCODE_MODES } from '../encoding/modes.ts'
import {
  DEFAULT_DELTA_CACHE_BYTES,
  DEFAULT_DOWNTIME_TARGET_MS,
  DEFAULT_MAX_ROUNDS,
  MAX_CHANNELS,
  MAX_MEMORY_BYTES,
  MAX_TIME_LIMIT_MS,
  MIN_BANDWIDTH_BYTES_PER_SECOND,
} from '../limits.ts'

export const MOVEMENTS = ['stop-and-copy', 'pre-copy', 'post-copy', 'hybrid', 'soft'] as const
export const SELECTIONS = ['linear', 'skip'] as const
export const STOP_RULES = ['xen', 'target'] as const
export const PUSH_ORDERS = ['around-the-fault', 'linear', 'least-written', 'several-pivots'] as const
export const VERIFY_MODES = ['digest', 'full', 'none'] as const

export type Movement = (typeof MOVEMENTS)[number]
export type Selection = (typeof SELECTIONS)[number]
export type PushOrderName = (typeof PUSH_ORDERS)[number]
export type StopRuleName = (typeof STOP_RULES)[number]
export type VerifyMode = (typeof VERIFY_MODES)[number]

const fields = z.strictObject({
  movement: z.enum(MOVEMENTS).default('pre-copy').describe('when the vCPUs switch'),
  channels: z.int().min(1).max(MAX_CHANNELS).default(1).describe('data connections, one thread each'),
  bandwidth: z
    .number()
    .min(MIN_BANDWIDTH_BYTES_PER_SECOND, `is below ${MIN_BANDWIDTH_BYTES_PER_SECOND} B/s`)
    .nullable()
    .default(null)
    .describe('limit of all channels together, bytes per second'),
  adaptiveBandwidth: z.boolean().default(false).describe("Clark's dynamic rate: start low, follow the dirty rate"),
  downtimeTarget: z
    .number()
    .positive()
    .max(MAX_TIME_LIMIT_MS / 10)
    .default(DEFAULT_DOWNTIME_TARGET_MS)
    .describe('milliseconds'),
  maxRounds: z.int().min(0).max(10_000).default(DEFAULT_MAX_ROUNDS).describe('rounds before the guest is stopped'),
  selection: z.enum(SELECTIONS).default('skip').describe('skip: leave out pages that are dirty again'),
  encode: z
    .enum(ENCODE_MODES)
    .default('adaptive')
    .describe('how pages travel; adaptive: what is fastest on this link, measured; raw: zero pages in full, too'),
  lz4: z
    .enum(LZ4_CHOICES)
    .default('auto')
    .describe('what compresses where lz4 is chosen; auto: the kernel, which is as fast and needs no native library'),
  deltaCache: z
    .int()
    .min(0)
    .max(MAX_MEMORY_BYTES)
    .default(DEFAULT_DELTA_CACHE_BYTES)
    .describe('bytes of last versions sent that are kept at the source to compare with; 0: no deltas'),
  stop: z.enum(STOP_RULES).default('target').describe("when to stop: Xen's rules, or the downtime target"),
  pushOrder: z
    .enum(PUSH_ORDERS)
    .default('around-the-fault')
    .describe('post-copy and hybrid: which page is pushed next; several-pivots is for benchmarks'),
  verify: z.enum(VERIFY_MODES).default('digest').describe('digest: digest and audit; full: hash all inside the pause'),
  keepCopy: z
    .boolean()
    .default(false)
    .describe('the source keeps the memory as a stale copy, so that migrating back sends only what changed'),
  gang: z
    .string()
    .regex(/^[0-9a-f]{32}$/, 'is not 32 hex digits')
    .nullable()
    .default(null)
    .describe('guests of one gang may refer to each other at the destination; whoever moves them draws it by lot'),
  timeout: z
    .number()
    .positive()
    .max(MAX_TIME_LIMIT_MS)
    .nullable()
    .default(null)
    .describe('the whole migration, milliseconds'),
  switchoverTimeout: z
    .number()
    .positive()
    .max(MAX_TIME_LIMIT_MS)
    .nullable()
    .default(null)
    .describe('milliseconds; null: 10 × target, at least 1 s; no limit for stop-and-copy'),
  advertise: z.string().nullable().default(null).describe('address the destination dials, when not the one it sees'),
})

export const settingsSchema = fields.refine(
  ({ movement, verify }) => verify !== 'full' || wholeAtSwitch(movement),
  'verify full hashes all memory during the pause; in post-copy and hybrid it is not there yet, in soft there is none: use digest',
)

/** Every option of one migration, defaults filled in. Sizes bytes, times milliseconds, rates bytes per second. */
export type MigrationSettings = z.output<typeof settingsSchema>
export type MigrationOptions = z.input<typeof settingsSchema>

/**
 * Whether pages may refer to other guests of the destination's agent: there must be a round, an encoding that refers, and the
 * digest, or a hostile source could have a page of theirs without knowing it.
 */
export function refersToOthers({ movement, maxRounds, encode, verify }: MigrationSettings): boolean {
  const rounds = movement === 'hybrid' ? maxRounds > 0 : movement !== 'post-copy'
  return rounds && verify === 'digest' && (encode === 'adaptive' || encode === 'dedup')
}

/**
 * Whether the destination remembers pages as they came: the source keeps its memory as a copy, so when the guest goes back they
 * are what deltas can be made against.
 */
export function keepsArrivals({ movement, encode, keepCopy }: MigrationSettings): boolean {
  return keepCopy && wholeAtSwitch(movement) && (encode === 'adaptive' || encode === 'delta')
}

/** Whether both hosts run vCPUs of the guest for a time (R25). */
export const shares = (movement: Movement): boolean => movement === 'soft'

/** Whether all memory is at the destination before one vCPU is. */
export const wholeAtSwitch = (movement: Movement): boolean => !pulls(movement) && !shares(movement)

/** Whether the guest runs at the destination before all its memory is there, and no more at the source. */
export const pulls = (movement: Movement): boolean => movement === 'post-copy' || movement === 'hybrid'
