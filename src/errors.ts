// Every error Godwit raises on purpose. A code is stable: it is printed, stored in reports and sent over the wire,
// so what is thrown here is what the peer reports too. docs/errors.md lists them; a test keeps the two equal.

/** Stable error codes with their meaning. */
export const ERROR_CODES = {
  usage: 'the command line or the request is not understood',
  'bad-size': 'a memory size or rate is not understood or out of range',
  'no-such-guest': 'the agent has no guest of that name',
  'no-such-migration': 'the agent knows no migration of that id',
  'guest-exists': 'a guest of that name or id is already here',
  'guest-busy': 'the guest is already migrating',
  'guest-not-running': 'the guest is not in a state that allows this',
  'guest-crashed': 'a vCPU of the guest ended or threw',
  'vcpu-stuck': 'a vCPU did not reach a safepoint in time',
  'program-missing': 'no program of that name is known here',
  'program-differs': 'the program has another content at the destination',
  'program-invalid': 'the program module does not keep the contract',
  'memory-limit': 'the host has not enough memory left for the guest',
  'too-many-migrations': 'the agent already runs as many migrations as it may',
  unreachable: 'the other side does not answer',
  'port-busy': 'the port is taken',
  'no-port': 'no port of the range is free',
  insecure: 'listening beyond loopback needs --insecure',
  'data-dir-locked': 'another agent uses this data directory',
  'data-dir-bad': 'the data directory cannot be used',
  'wrong-version': 'the peer speaks another protocol version',
  'missing-capability': 'the peer lacks a capability this migration needs',
  'bad-token': 'a connection did not present the token of its migration',
  'bad-magic': 'the bytes are not a Godwit frame',
  'bad-frame': 'a frame breaks a rule of the protocol',
  'frame-too-long': 'a length in a frame is above its cap',
  'unknown-frame': 'a frame of an unknown type',
  'unexpected-message': 'a message that this state does not allow',
  'bad-message': 'a control message does not match its schema',
  'bad-run': 'a run names pages outside the guest or overlaps',
  'bad-encoding': 'a run has an encoding this side does not know',
  'bad-payload': 'the payload of a run has the wrong length or content',
  'bad-round': 'a round number out of order',
  'link-lost': 'the connection to the peer was lost',
  'line-replaced': 'a newer line of the same gateway took the place of this one',
  'too-many-lines': 'the guest process already has as many lines to gateways as it may',
  'line-slow': 'the answers on a line were not taken away',
  'peer-silent': 'the peer sent nothing for too long',
  'bad-page': 'a page does not have the content that its hash promises',
  'duplicate-page': 'a page arrived that is here already',
  'exchange-broken': 'what exchanges pages and vCPUs between two hosts has failed at one of them',
  'not-owner': 'the peer gave or took what is not its own',
  'digest-mismatch': 'the memory digests differ',
  'audit-failed': 'a page changed without being tracked',
  'oracle-failed': 'the replayed guest differs from the migrated one',
  'no-replay': 'the guest serves requests, so that it cannot be replayed',
  cancelled: 'the migration was cancelled',
  timeout: 'the migration took longer than allowed',
  'switchover-timeout': 'the switchover took longer than allowed',
  'too-late': 'the migration can no longer be cancelled',
  lost: 'the memory of the guest was spread over two hosts and one part is gone',
  unreconciled: 'both sides must speak before the guest may run',
  'owner-elsewhere': 'the other host may run this guest',
  'peer-dead': 'the peer process died',
  'bad-reply': 'a server sent what is no reply of the Redis protocol',
  'load-refused': 'a server refuses what a load cannot do without',
  internal: 'a rule of the engine was broken; please report it',
} as const

export type ErrorCode = keyof typeof ERROR_CODES
export type Side = 'source' | 'destination'

export interface ErrorDetails {
  /** What the reader can do about it, one sentence. */
  hint?: string | undefined
  /** Which side of a migration found the error. */
  side?: Side | undefined
  cause?: unknown
}

/** The one error class: a stable `code`, a message for people, and a `hint` that says what to do. */
export class GodwitError extends Error {
  override readonly name = 'GodwitError'
  readonly code: ErrorCode
  readonly hint: string | undefined
  readonly side: Side | undefined

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause })
    this.code = code
    this.hint = details.hint
    this.side = details.side
  }

  /** The plain form that travels in control messages, HTTP answers and reports. */
  toJSON(): { code: ErrorCode; message: string; hint?: string; side?: Side } {
    return {
      code: this.code,
      message: this.message,
      ...(this.hint === undefined ? {} : { hint: this.hint }),
      ...(this.side === undefined ? {} : { side: this.side }),
    }
  }

  /** Turns anything thrown or received into a GodwitError; an unknown code becomes `internal`. */
  static from(thrown: unknown, fallback: ErrorCode = 'internal'): GodwitError {
    if (thrown instanceof GodwitError) return thrown
    const plain = thrown as { code?: unknown; message?: unknown; hint?: unknown; side?: unknown }
    const known = typeof plain?.code === 'string' && Object.hasOwn(ERROR_CODES, plain.code)
    return new GodwitError(known ? (plain.code as ErrorCode) : fallback, String(plain?.message ?? thrown), {
      hint: typeof plain?.hint === 'string' ? plain.hint : undefined,
      side: plain?.side === 'source' || plain?.side === 'destination' ? plain.side : undefined,
      cause: thrown instanceof Error ? thrown : undefined,
    })
  }
}

/** Throws `internal` when a rule of the engine itself is broken; kept in production. */
export function assert(condition: unknown, message: string): asserts condition {
  if (!condition) throw new GodwitError('internal', message)
}
