// A message as a frame of MessagePack, header included. What reads them is control-codec.ts, channel-codec.ts in threads, and
// line-messages.ts.

import type { GodwitError, Side } from '../errors.ts'
import { ERROR_TEXT_LENGTH } from '../limits.ts'
import { checkOf, encodeHeader, FRAME_HEADER_BYTES, FRAME_TYPE } from './frame.ts'
import type { ControlMessage } from './messages.ts'
import { packPlain } from './plain-values.ts'

/** Throws `internal` when the message is above the cap of its frames. */
export function encodeMessage(
  type: typeof FRAME_TYPE.control | typeof FRAME_TYPE.line,
  message: object,
): Buffer<ArrayBuffer> {
  const body = packPlain(message)
  const frame = Buffer.allocUnsafeSlow(FRAME_HEADER_BYTES + body.length)
  encodeHeader(frame, 0, { type, length: body.length, round: 0, check: checkOf(type, body) })
  frame.set(body, FRAME_HEADER_BYTES)
  return frame
}

/** A CONTROL frame. */
export const encodeControl = (message: ControlMessage): Buffer<ArrayBuffer> =>
  encodeMessage(FRAME_TYPE.control, message)

/** The last CONTROL frame of a thread to a peer that broke a rule: which one, cut to what the peer takes. */
export const encodeAbort = ({ code, message }: GodwitError, side: Side): Buffer<ArrayBuffer> =>
  encodeControl({ type: 'abort', error: { code, message: message.slice(0, ERROR_TEXT_LENGTH), side } })
