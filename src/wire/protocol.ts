// What both sides of a connection must know before they exchange anything else. Apart from the messages themselves, because every
// thread that writes a frame needs it.

import { ENCODINGS } from '../encoding/registry.ts'

/** Protocol version of this build. */
export const PROTOCOL_VERSION = 1
/** What this build can do; a migration names what it needs and the reservation refuses what is missing. */
export const CAPABILITIES = [
  'pre-copy',
  'stop-and-copy',
  'post-copy',
  'hybrid',
  'soft',
  'digest',
  'copy',
  ...ENCODINGS.map(({ name }) => name),
] as const
