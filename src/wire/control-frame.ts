// A control message as a CONTROL frame. What reads them is control-codec.ts, and channel-codec.ts in threads.

import { checkOf, encodeHeader, FRAME_HEADER_BYTES, FRAME_TYPE } from './frame.ts'
import type { ControlMessage } from './messages.ts'
import { packPlain } from './plain-values.ts'

/** One CONTROL frame, header included. Throws `internal` when the message is above the cap. */
export function encodeControl(message: ControlMessage): Buffer<ArrayBuffer> {
  const body = packPlain(message)
  const frame = Buffer.allocUnsafeSlow(FRAME_HEADER_BYTES + body.length)
  const check = checkOf(FRAME_TYPE.control, body)
  encodeHeader(frame, 0, { type: FRAME_TYPE.control, length: body.length, round: 0, check })
  frame.set(body, FRAME_HEADER_BYTES)
  return frame
}
