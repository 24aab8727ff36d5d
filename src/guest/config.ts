// What a guest is: size, vCPUs, program and its options. Validated wherever it comes from outside.

import { z } from 'zod'
import { MAX_MEMORY_BYTES, MAX_VCPUS, MIN_MEMORY_BYTES, WASM_PAGE_BYTES } from '../limits.ts'

/**
 * How fast a guest steps. `free`: `perSecond` steps a second over all vCPUs (null: flat out).
 * `locked`: `lambda` steps per page record sent (null: the workload's own), none outside a migration.
 */
export const paceSchema = z.discriminatedUnion('kind', [
  z.strictObject({ kind: z.literal('free'), perSecond: z.number().positive().nullable() }),
  z.strictObject({ kind: z.literal('locked'), lambda: z.number().nonnegative().nullable() }),
])
export type Pace = z.output<typeof paceSchema>

export const guestConfigSchema = z.strictObject({
  /** 32 hex digits; stays with the guest for life. */
  id: z.string().regex(/^[0-9a-f]{32}$/),
  name: z.string().regex(/^[a-zA-Z0-9][a-zA-Z0-9._-]{0,62}$/),
  memoryBytes: z.int().min(MIN_MEMORY_BYTES).max(MAX_MEMORY_BYTES).multipleOf(WASM_PAGE_BYTES),
  vcpus: z.int().min(1).max(MAX_VCPUS),
  /** A built-in program's name, or the file name of one in the agent's --programs directory. */
  program: z.string().min(1).max(255),
  /** SHA-256 (hex) of the program's file; null for built-in programs. */
  programHash: z
    .string()
    .regex(/^[0-9a-f]{64}$/)
    .nullable(),
  /** Options of the program, e.g. workload and content of the mutator. */
  options: z
    .record(z.string().max(64), z.union([z.string().max(1024), z.number(), z.boolean()]))
    .refine((options) => Object.keys(options).length <= 32, 'at most 32 options'),
  seed: z
    .int()
    .min(0)
    .max(2 ** 32 - 1),
  pace: paceSchema,
})

/** A guest as created, identical on both hosts. */
export type GuestConfig = z.output<typeof guestConfigSchema>
