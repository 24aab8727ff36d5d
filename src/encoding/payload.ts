// What the encodings share: rules about the length of a payload, and the error for one that breaks a rule.

import { GodwitError } from '../errors.ts'
import { PAGE_BYTES } from '../limits.ts'

const HINT = 'the peer is faulty or the stream was altered on its way'

/** The error for a run whose payload breaks the rules of its encoding. */
export const badPayload = (encoding: string, what: string): GodwitError =>
  new GodwitError('bad-payload', `${encoding} run: ${what}`, { hint: HINT })

/** Throws `bad-payload` unless the payload has exactly the length that follows from the page count. */
export function requirePayload(encoding: string, count: number, payloadBytes: number, expectedBytes: number): void {
  if (Number.isInteger(count) && count >= 1 && payloadBytes === expectedBytes) return
  throw badPayload(encoding, `${count} pages with ${payloadBytes} payload bytes, not ${expectedBytes}`)
}

/**
 * Throws `bad-payload` unless each of `count` pages may have at least `leastBytes`, and all together less than raw: what
 * does not shrink is sent raw, so that no frame needs more staging than a raw one.
 */
export function requireShrunk(encoding: string, count: number, payloadBytes: number, leastBytes: number): void {
  const least = count * leastBytes
  const whole = Number.isInteger(count) && count >= 1 && Number.isInteger(payloadBytes)
  if (whole && payloadBytes >= least && payloadBytes < count * PAGE_BYTES) return
  throw badPayload(
    encoding,
    `${count} pages with ${payloadBytes} payload bytes, not ${least} to below ${count * PAGE_BYTES}`,
  )
}
