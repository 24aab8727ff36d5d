// The two questions a guest process asks the other host's agent over its HTTP API: "will you take this guest?" and,
// after a cut behind the commit point, "what of this migration?" (R20).

import { request } from 'node:http'
import { GodwitError } from '../errors.ts'
import { VERDICTS, type Verdict } from '../migration/ownership-record.ts'
import type { Reservation } from './host-port.ts'

/** Spawning a guest process and reserving its memory takes about 0.1 s; a host in trouble gets this long. */
const RESERVE_TIMEOUT_MS = 15_000
const ASK_TIMEOUT_MS = 2000
const MAX_ANSWER_BYTES = 64 * 1024

export interface AgentAddress {
  readonly host: string
  readonly port: number
}

/** What a destination agent answers to a reservation. */
export interface Reserved {
  readonly agent: string
  /** Equal on both sides when they share one host and so one clock. */
  readonly bootId: string
  /** Where gateways will reach the guest there; null: nowhere. */
  readonly linePort: number | null
}

/** Reserves room for the guest; throws the agent's own refusal, or `unreachable`. */
export async function reserve(agent: AgentAddress, reservation: Reservation, signal: AbortSignal): Promise<Reserved> {
  const timeout = AbortSignal.any([signal, AbortSignal.timeout(RESERVE_TIMEOUT_MS)])
  const { status, body } = await call(agent, 'POST', '/v1/reservations', reservation, timeout)
  const answer = body as Partial<Reserved> & { error?: unknown }
  if (status >= 300) {
    const refusal = GodwitError.from(answer.error ?? { message: `HTTP status ${status}` }, 'unreachable')
    throw new GodwitError(refusal.code, refusal.message, { hint: refusal.hint, side: 'destination' })
  }
  const linePort = isPort(answer.linePort) ? answer.linePort : null
  return { agent: String(answer.agent ?? `${agent.host}:${agent.port}`), bootId: String(answer.bootId ?? ''), linePort }
}

/** Asks what became of a migration; `unknown` when the agent cannot be asked or does not know. */
export async function askVerdict(
  agent: AgentAddress,
  migration: string,
  epoch: number,
): Promise<Verdict | 'unreachable'> {
  // A guest of the library has no agent.
  if (agent.port === 0) return 'unreachable'
  try {
    const path = `/v1/migrations/${migration}/verdict?epoch=${epoch}`
    const { status, body } = await call(agent, 'GET', path, undefined, AbortSignal.timeout(ASK_TIMEOUT_MS))
    if (status >= 300) return 'unknown'
    const verdict = (body as { verdict?: unknown }).verdict
    return isVerdict(verdict) ? verdict : 'unknown'
  } catch {
    return 'unreachable'
  }
}

const isPort = (value: unknown): value is number =>
  Number.isInteger(value) && Number(value) > 0 && Number(value) < 65_536

const isVerdict = (value: unknown): value is Verdict => (VERDICTS as readonly unknown[]).includes(value)

function call(
  agent: AgentAddress,
  method: string,
  path: string,
  body: unknown,
  signal: AbortSignal,
): Promise<{ status: number; body: unknown }> {
  const { promise, resolve, reject } = Promise.withResolvers<{ status: number; body: unknown }>()
  const fail = (cause: unknown): void => {
    if (signal.aborted && signal.reason instanceof GodwitError) return reject(signal.reason)
    reject(
      new GodwitError('unreachable', `the agent at ${agent.host}:${agent.port} does not answer`, {
        side: 'destination',
        hint: 'is `godwit agent` running there, and its port open?',
        cause,
      }),
    )
  }
  const headers = body === undefined ? {} : { 'content-type': 'application/json' }
  const outgoing = request({ ...agent, method, path, headers, signal, agent: false }, (incoming) => {
    let text = ''
    incoming.setEncoding('utf8')
    incoming.on('data', (piece: string) => {
      text += piece
      if (text.length > MAX_ANSWER_BYTES) incoming.destroy(new Error('answer too long'))
    })
    incoming.on('error', fail)
    incoming.on('end', () => {
      try {
        resolve({ status: incoming.statusCode ?? 500, body: JSON.parse(text) })
      } catch (cause) {
        fail(cause)
      }
    })
  })
  outgoing.on('error', fail)
  outgoing.end(body === undefined ? undefined : JSON.stringify(body))
  return promise
}
