// The length rule of encodings whose payload has one possible length. Used by zero.ts and raw.ts.

import { GodwitError } from '../errors.ts'

/** Throws `bad-payload` unless the payload has exactly the length that follows from the page count. */
export function requirePayload(encoding: string, count: number, payloadBytes: number, expectedBytes: number): void {
  if (Number.isInteger(count) && count >= 1 && payloadBytes === expectedBytes) return
  throw new GodwitError(
    'bad-payload',
    `${encoding} run of ${count} pages with ${payloadBytes} payload bytes, not ${expectedBytes}`,
    { hint: 'the peer is faulty or the stream was altered on its way' },
  )
}
