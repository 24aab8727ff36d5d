// What the bytes of a CONTROL frame say on a control link. They come from a socket: plain-values.ts unpacks them. message-frame.ts
// writes them, channel-codec.ts reads what other connections carry.

import { GodwitError } from '../errors.ts'
import { MAX_CONTROL_FRAME_BYTES } from '../limits.ts'
import { FRAME_HEADER_BYTES } from './frame.ts'
import { encodeControl } from './message-frame.ts'
import { type ControlMessage, controlMessageSchema } from './messages.ts'
import { misfit, unpackPlain } from './plain-values.ts'

/** The message in a CONTROL frame's payload. Throws `frame-too-long` or `bad-message`. */
export function decodeControl(payload: Uint8Array): ControlMessage {
  if (payload.length > MAX_CONTROL_FRAME_BYTES) {
    throw new GodwitError('frame-too-long', `control message of ${payload.length} bytes`)
  }
  const parsed = controlMessageSchema.safeParse(unpackPlain(payload))
  if (parsed.success) return parsed.data
  throw misfit(parsed.error.issues)
}

/**
 * Takes one message of each kind of the switchover through the codec, so that the first real ones, sent while the guest
 * stands still, find everything compiled. Called by both sides while the guest still runs.
 */
export function warmControlCodec(vcpus: number): void {
  const registers = new Uint8Array(1024)
  const states = Array.from({ length: vcpus }, () => ({ steps: 0, registers }))
  const digest = '0'.repeat(16)
  const samples: ControlMessage[] = [
    { type: 'placed', round: 0, bytes: 0, missing: null },
    {
      type: 'state',
      round: 0,
      epoch: 0,
      vcpus: states,
      digest,
      verify: 'digest',
      free: null,
      pull: false,
      absent: null,
      shared: false,
    },
    { type: 'prepared', epoch: 0, digest, digestMs: 0, hashes: 0 },
    { type: 'commit', epoch: 0 },
    { type: 'active', epoch: 0, leftAt: [0n], activateMs: 0 },
  ]
  for (const sample of samples) decodeControl(encodeControl(sample).subarray(FRAME_HEADER_BYTES))
}
