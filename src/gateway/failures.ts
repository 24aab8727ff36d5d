// What a client reads when the gateway cannot bring it its reply: RESP errors whose first word is a code.

import { HOLD_MS, KV_MAX_GATEWAYS } from '../limits.ts'
import type { BackendError } from './backend.ts'

const TEXTS: Readonly<Record<BackendError, string>> = {
  unreachable: `UNREACHABLE nobody ran this part of the guest for ${HOLD_MS} ms, or too much waits for it; the command was not executed`,
  unknown: `UNKNOWN no reply from the guest in ${HOLD_MS} ms, or the session with it was lost; the command may have been executed or may still be`,
  refused: `REFUSED ${KV_MAX_GATEWAYS} gateways have a place at this part of the guest, and this one is one more; the command was not executed`,
}

const encoded = (error: BackendError): Uint8Array => Buffer.from(`-${TEXTS[error]}\r\n`, 'latin1')
const FAILURES: Readonly<Record<BackendError, Uint8Array>> = {
  unreachable: encoded('unreachable'),
  unknown: encoded('unknown'),
  refused: encoded('refused'),
}

/** The error reply for a command that failed. */
export const failureReply = (error: BackendError): Uint8Array => FAILURES[error]

export const NOT_CARRIED =
  "is not carried by Godwit's gateway: it has no pub/sub, blocking commands, transactions or scripts"
export const NO_CLUSTER = 'ERR This instance has cluster support disabled'
export const TOO_LONG = 'ERR the request is longer than a guest takes'
export const CROSS_SLOT = "CROSSSLOT Keys in request don't hash to the same slot"
export const MAX_CLIENTS_REACHED = 'ERR max number of clients reached'
export const NO_MEMORY = 'ERR the gateway has no memory left for requests that come in part'
