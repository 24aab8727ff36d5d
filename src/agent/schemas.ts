// What comes in over the HTTP API and what goes out: one schema each validates the request, types the handler and
// appears in /v1/openapi.json. The command line uses the types only.

import { z } from 'zod'
import { guestConfigSchema, paceSchema } from '../guest/config.ts'
import { GUEST_STATES } from '../guest-process/host-port.ts'
import { MAX_LANES, MAX_MEMORY_BYTES } from '../limits.ts'
import { reportSchema } from '../migration/report.ts'
import { settingsSchema } from '../migration/settings.ts'

const hex128 = z.string().regex(/^[0-9a-f]{32}$/, 'is not 32 hex digits')
const port = z.int().min(1).max(65_535)

export const errorSchema = z.object({
  error: z.object({
    code: z.string(),
    message: z.string(),
    hint: z.string().optional(),
    side: z.enum(['source', 'destination']).optional(),
  }),
})

export const agentSchema = z.object({
  name: z.string(),
  version: z.string(),
  protocol: z.int(),
  capabilities: z.array(z.string()),
  pid: z.int(),
  address: z.string(),
  memory: z.object({ limit: z.number(), used: z.number() }).describe('bytes of guest memory'),
  copies: z
    .object({ limit: z.number(), used: z.number(), count: z.int() })
    .describe('memory that guests left behind here: bytes, and of how many'),
  residentBytes: z.number(),
  bandwidth: z.number().nullable().describe('budget of all outgoing migrations, bytes per second'),
  guests: z.int(),
  migrations: z.object({ running: z.int(), limit: z.int() }),
})
export type AgentInfo = z.output<typeof agentSchema>

/** What `godwit start` asks for; the agent adds id and program hash. */
export const startSchema = z.strictObject({
  name: guestConfigSchema.shape.name,
  memoryBytes: z
    .int()
    .min(1)
    .max(MAX_MEMORY_BYTES * 1024)
    .default(512 * 1024 * 1024),
  vcpus: guestConfigSchema.shape.vcpus.default(1),
  program: guestConfigSchema.shape.program.default('mutator'),
  options: guestConfigSchema.shape.options.default({}),
  seed: guestConfigSchema.shape.seed.default(1),
  pace: paceSchema
    .optional()
    .describe('default: 20,000 steps a second; of a program that serves, as many as are asked for'),
})
export type StartRequest = z.input<typeof startSchema>

export const guestSchema = z.object({
  name: z.string(),
  id: z.string(),
  state: z.enum(GUEST_STATES),
  owner: z.enum(['here', 'elsewhere', 'both', 'undecided']),
  epoch: z.number(),
  config: guestConfigSchema,
  steps: z.array(z.number()),
  stepsPerSecond: z.number(),
  residentBytes: z.number(),
  pid: z.number(),
  keptSince: z.number().optional(),
  service: z
    .object({ port: z.int() })
    .nullable()
    .optional()
    .describe('where gateways reach the guest process; null: nowhere'),
  servicePort: z.int().nullable().optional().describe('where clients of the guest are served; null: nowhere'),
  migration: z
    .object({
      id: z.string(),
      role: z.enum(['source', 'destination']),
      peer: z.string(),
      progress: z.record(z.string(), z.unknown()).nullable(),
      paused: z.string().nullable().optional().describe('why the pull is paused; null while the link is up'),
    })
    .nullable(),
  crash: z.object({ code: z.string(), message: z.string(), hint: z.string().optional() }).optional(),
})
export type GuestView = z.output<typeof guestSchema>

/** Memory that a guest left behind here; it cannot run. */
export const copySchema = z.object({
  name: z.string(),
  id: z.string(),
  memoryBytes: z.number(),
  epoch: z.number().describe('of the guest when it left'),
  keptSince: z.number().describe('ms since 1970'),
  pid: z.number(),
})
export type CopyView = z.output<typeof copySchema>

export const migrateSchema = z.strictObject({
  to: z.strictObject({ host: z.string().min(1).max(255), port }),
  settings: settingsSchema.prefault({}),
})
export type MigrateBody = z.input<typeof migrateSchema>

export const migrationSchema = z.object({
  id: z.string(),
  guest: z.string(),
  role: z.enum(['source', 'destination']),
  peer: z.string(),
  state: z.enum(['running', 'ended']),
  progress: z.record(z.string(), z.unknown()).nullable(),
  report: reportSchema.nullable(),
})
export type MigrationView = z.output<typeof migrationSchema>

export const checkSchema = z.object({ ok: z.literal(true), agent: z.string() })
export const oracleSchema = z.object({ equal: z.boolean(), differing: z.array(z.int()) })
export const resolveSchema = z.strictObject({
  what: z.enum(['status', 'take', 'abandon', 'take-stale']),
  peerIsDead: z.boolean().default(false),
})
export const recoverSchema = z.strictObject({
  via: z
    .string()
    .max(255)
    .regex(
      /^([a-zA-Z0-9._-]+|[0-9a-fA-F]*:[0-9a-fA-F]*:[0-9a-fA-F:.]*)$/,
      'is not HOST: ports are those of the migration',
    )
    .nullable()
    .default(null)
    .describe('where to dial the source instead of the address it gave; null: that address'),
})
export type RecoverBody = z.output<typeof recoverSchema>
export const logsSchema = z.object({ text: z.string() })
export const verdictSchema = z.object({
  verdict: z.enum(['released', 'not-released', 'owner', 'dropped', 'lost', 'unknown']),
})

export const reservationSchema = z.strictObject({
  migration: hex128,
  token: hex128,
  generation: z.int().min(0).max(1_000_000),
  epoch: z.int().min(0),
  guest: guestConfigSchema,
  paused: z.boolean().default(false),
  source: z.strictObject({
    agent: z.string().max(255),
    agentPort: z.int().min(0).max(65_535),
    host: z.string().max(255).nullable(),
    controlPort: port,
    dataPorts: z.array(port).min(1).max(MAX_LANES),
    linePort: port.optional(),
  }),
  settings: settingsSchema,
  protocol: z.int(),
  capabilities: z.array(z.string().max(64)).max(64),
})
export const reservedSchema = z.object({
  agent: z.string(),
  guestPid: z.int().nullable(),
  bootId: z.string(),
  linePort: z.int().nullable().optional().describe('where gateways will reach the guest; null: nowhere'),
})
