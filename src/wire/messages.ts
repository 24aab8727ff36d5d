// Control messages: msgpackr maps in CONTROL frames, one schema each. docs/protocol.md has the table of who sends
// what when; a test walks both. Everything here comes from a socket and is validated before anyone looks at it.

import { z } from 'zod'
import type { GodwitError, Side } from '../errors.ts'
import {
  COPY_HASHES,
  ERROR_TEXT_LENGTH,
  MAX_LANES,
  MAX_MEMORY_BYTES,
  MAX_NEIGHBOURS,
  MAX_VCPUS,
  PAGE_BYTES,
} from '../limits.ts'

const hex128 = z.string().regex(/^[0-9a-f]{32}$/)
const hex64 = z.string().regex(/^[0-9a-f]{16}$/)
const count = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER)
const round = z.number().int().min(0).max(100_000)
const epoch = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER)
/** One bit a page of a guest of up to 4 GiB. */
const bitmap = z.custom<Uint8Array>((bytes) => bytes instanceof Uint8Array && bytes.length <= 131_072, 'no page bitmap')
/** Hashes of neighbouring pages, u64 each, little endian. */
const pageHashes = z.custom<Uint8Array>(
  (bytes) =>
    bytes instanceof Uint8Array && bytes.length > 0 && bytes.length % 8 === 0 && bytes.length <= 8 * COPY_HASHES,
  'no page hashes',
)
const errorShape = z.strictObject({
  code: z.string().max(64),
  message: z.string().max(ERROR_TEXT_LENGTH),
  hint: z.string().max(ERROR_TEXT_LENGTH).optional(),
  side: z.enum(['source', 'destination']).optional(),
})

/** A vCPU between two steps: registers (1 KiB) and how many steps it has done. */
const vcpuState = z.strictObject({
  steps: z.number().min(0).max(Number.MAX_SAFE_INTEGER),
  registers: z.custom<Uint8Array>((bytes) => bytes instanceof Uint8Array && bytes.length === 1024, 'not 1,024 bytes'),
})

export const messageSchemas = {
  /** First frame of every connection, destination → source (R14). */
  hello: z.strictObject({
    type: z.literal('hello'),
    version: z.number().int().min(0).max(255),
    migration: hex128,
    token: hex128,
    generation: z.number().int().min(0).max(1_000_000),
    channel: z.union([
      z.literal('control'),
      z
        .number()
        .int()
        .min(0)
        .max(MAX_LANES - 1),
    ]),
    capabilities: z.array(z.string().max(64)).max(64),
  }),
  /** Source → destination: the connection is accepted. */
  welcome: z.strictObject({ type: z.literal('welcome'), capabilities: z.array(z.string().max(64)).max(64) }),
  /**
   * Destination → source, before `ready`, from page 0 to the last: it begins with a stale copy of the guest. 0 for a page of
   * zeros, else its XXH64 under the session's seed (R13).
   */
  copy: z.strictObject({ type: z.literal('copy'), first: count, hashes: pageHashes }),
  /**
   * Destination → source, before `ready`, behind `copy`: what other guests here hold, one after the other, each from page 0 to
   * the last. Hashes as in `copy`; a foreign page is numbered through all of them.
   */
  neighbour: z.strictObject({
    type: z.literal('neighbour'),
    index: count.max(MAX_NEIGHBOURS - 1),
    pages: count.min(1).max(MAX_MEMORY_BYTES / PAGE_BYTES),
    first: count,
    hashes: pageHashes,
  }),
  /** Destination → source: every channel is there and read from; whoever pauses the guest now is heard at once. */
  ready: z.strictObject({ type: z.literal('ready') }),
  /** Destination → source: every channel has ended round k and its pages are placed (R12). */
  placed: z.strictObject({
    type: z.literal('placed'),
    round,
    bytes: count,
    /** Pages that could not be made from a reference and are to be sent (R12, R13); null: none. */
    missing: bitmap.nullable(),
  }),
  /** Source → destination, guest paused: the state that crosses; obeyed when `round` is placed. */
  state: z.strictObject({
    type: z.literal('state'),
    /** −1: there was none. */
    round: z.number().int().min(-1).max(100_000),
    epoch,
    vcpus: z.array(vcpuState).min(1).max(MAX_VCPUS),
    /** Digest over pages, 64 bits as hex; null with --no-verify. */
    digest: hex64.nullable(),
    verify: z.enum(['digest', 'full', 'none']),
    /** Pages that are free (R17); null: none. */
    free: bitmap.nullable(),
    /** Post-copy and hybrid: the guest is to run before all pages are there (R22). */
    pull: z.boolean(),
    /** With `pull`: the pages that are not there or stale; null: every page that is not free. */
    absent: bitmap.nullable(),
    /** Soft: the guest is to be shared; `absent` are the pages that are not there or stale (R27). */
    shared: z.boolean(),
  }),
  /** Destination → source: everything placed, digest proven, record `incoming, epoch` written. */
  prepared: z.strictObject({
    type: z.literal('prepared'),
    epoch,
    digest: hex64.nullable(),
    digestMs: z.number(),
    hashes: count,
  }),
  /** Source → destination: the commit point is behind us. */
  commit: z.strictObject({ type: z.literal('commit'), epoch }),
  /** Destination → source: owner, running. `leftAt`: clock of the destination, ns since its boot, one a vCPU. */
  active: z.strictObject({
    type: z.literal('active'),
    epoch,
    leftAt: z.array(z.bigint()).max(MAX_VCPUS),
    activateMs: z.number(),
  }),
  /** Destination → source, soft: *shared* is on record; pages and vCPUs may come (R29). */
  sharing: z.strictObject({ type: z.literal('sharing'), epoch }),
  /** Either way, soft: this side owns no page and no vCPU any more. */
  retired: z.strictObject({ type: z.literal('retired'), epoch }),
  /** Source → destination, soft: the migration was cancelled; everything is to come back (R24). */
  home: z.strictObject({ type: z.literal('home'), epoch }),
  /** Source → destination, pull phase and soft: the lanes of this generation listen, at the same ports as before (R23). */
  lanes: z.strictObject({ type: z.literal('lanes'), generation: z.number().int().min(1).max(1_000_000) }),
  /** Destination → source, pull phase, after every lane of the generation is there: the pages still missing (R23). */
  missing: z.strictObject({
    type: z.literal('missing'),
    generation: z.number().int().min(1).max(1_000_000),
    pages: bitmap,
  }),
  /** Destination → source, pull phase: every page is here; what it cost. The source may let go of the memory. */
  complete: z.strictObject({
    type: z.literal('complete'),
    epoch,
    /** Of the pages that were pulled; null without digest. */
    digest: hex64.nullable(),
    /** Pages written here as a whole before they came; null: none. */
    written: bitmap.nullable(),
    dropped: count,
    faults: z
      .array(
        z.strictObject({
          network: count,
          localWait: count,
          stallMs: z.number().min(0),
          longestMs: z.number().min(0),
          histogram: z.array(count).length(256),
        }),
      )
      .max(MAX_VCPUS),
    /** Soft: when each vCPU began to run here (clock of the destination, ns), and requests served here while both did. */
    shared: z.strictObject({ leftAt: z.array(z.bigint()).max(MAX_VCPUS), served: count }).nullable(),
  }),
  /** Source → destination: memory audited and discarded; the migration is over. */
  done: z.strictObject({ type: z.literal('done'), epoch }),
  /** Destination → source after a cut behind PREPARED: what of this migration? (R18) */
  ask: z.strictObject({ type: z.literal('ask'), epoch }),
  /** Source → destination: aborted for this migration; the destination may forget it. */
  'not-released': z.strictObject({ type: z.literal('not-released'), epoch }),
  /** Either way before `released`: the attempt is over, with its reason. In soft also later: the exchange or the guest has failed. */
  abort: z.strictObject({ type: z.literal('abort'), error: errorShape }),
  ping: z.strictObject({ type: z.literal('ping'), sentAt: z.bigint() }),
  /** Echo of a ping with the clock of the one who answers, ns. */
  pong: z.strictObject({ type: z.literal('pong'), sentAt: z.bigint(), clock: z.bigint() }),
  /** Locked pace with the vCPUs at the destination is a later movement's; reserved: figures for the report. */
  usage: z.strictObject({
    type: z.literal('usage'),
    cpuMs: z.number(),
    rssPeak: count,
    stepsPerSecond: z.number().nullable(),
  }),
} as const

export const controlMessageSchema = z.discriminatedUnion('type', [
  messageSchemas.hello,
  messageSchemas.welcome,
  messageSchemas.copy,
  messageSchemas.neighbour,
  messageSchemas.ready,
  messageSchemas.placed,
  messageSchemas.state,
  messageSchemas.prepared,
  messageSchemas.commit,
  messageSchemas.active,
  messageSchemas.sharing,
  messageSchemas.retired,
  messageSchemas.home,
  messageSchemas.lanes,
  messageSchemas.missing,
  messageSchemas.complete,
  messageSchemas.done,
  messageSchemas.ask,
  messageSchemas['not-released'],
  messageSchemas.abort,
  messageSchemas.ping,
  messageSchemas.pong,
  messageSchemas.usage,
])
export type ControlMessage = z.output<typeof controlMessageSchema>
export type MessageOf<T extends ControlMessage['type']> = Extract<ControlMessage, { type: T }>
/** Why one side gives up, as it travels: cut to what the peer takes. `side` found it, unless the error says who did. */
export function abortOf(error: GodwitError, side: Side): MessageOf<'abort'> {
  const { code, message, hint, side: found } = error.toJSON()
  const cut = (text: string): string => text.slice(0, ERROR_TEXT_LENGTH)
  const hinted = hint === undefined ? {} : { hint: cut(hint) }
  return { type: 'abort', error: { code, message: cut(message), ...hinted, side: found ?? side } }
}

export type VcpuState = z.output<typeof vcpuState>
