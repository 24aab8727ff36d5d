// The first frame of a connection at the source (R14): a hello with the migration's token, in time and in a few bytes.
// Anyone else is told the name of the mistake and closed. Used by transfer threads and the control listener.

import { timingSafeEqual } from 'node:crypto'
import type { Socket } from 'node:net'
import { GodwitError } from '../errors.ts'
import { HELLO_FRAME_BYTES, HELLO_TIMEOUT_MS } from '../limits.ts'
import { type ChannelMessage, decodeChannel } from './channel-codec.ts'
import { ControlFrameReader } from './frame-reader.ts'
import { encodeControl } from './message-frame.ts'
import type { MessageOf } from './messages.ts'
import { CAPABILITIES, PROTOCOL_VERSION } from './protocol.ts'

export interface Expected {
  readonly migration: string
  readonly token: string
  readonly channel: 'control' | number
  /** The link generation; left out where any is right (a control connection that was dialled again). */
  readonly generation?: number
}

/** Resolves with the welcome frame to answer with; otherwise closes the socket and rejects with the named error. */
export async function greet(socket: Socket, expected: Expected): Promise<Buffer> {
  const { promise, resolve, reject } = Promise.withResolvers<ChannelMessage>()
  const reader = new ControlFrameReader(decodeChannel, HELLO_FRAME_BYTES)
  const onData = (bytes: Buffer): void => {
    try {
      reader.push(bytes, resolve)
    } catch (thrown) {
      reject(GodwitError.from(thrown))
    }
  }
  const onEnd = (): void => reject(new GodwitError('link-lost', 'a connection ended before its hello'))
  const tooLate = setTimeout(() => reject(new GodwitError('bad-token', 'no hello in time')), HELLO_TIMEOUT_MS)
  socket.on('data', onData)
  socket.on('error', onEnd)
  socket.on('close', onEnd)
  try {
    check(await promise, expected)
    return encodeControl({ type: 'welcome', capabilities: [...CAPABILITIES] })
  } catch (thrown) {
    const { code, message } = GodwitError.from(thrown)
    if (!socket.destroyed) {
      socket.write(encodeControl({ type: 'abort', error: { code, message, side: 'source' } }))
      socket.destroySoon()
    }
    throw thrown
  } finally {
    clearTimeout(tooLate)
    socket.off('data', onData)
    socket.off('close', onEnd)
  }
}

function check(message: ChannelMessage, expected: Expected): asserts message is MessageOf<'hello'> {
  if (message.type !== 'hello') throw new GodwitError('unexpected-message', `'${message.type}' before hello`)
  if (message.version !== PROTOCOL_VERSION) {
    throw new GodwitError('wrong-version', `the peer speaks protocol ${message.version}, not ${PROTOCOL_VERSION}`)
  }
  const same = (a: string, b: string): boolean => timingSafeEqual(Buffer.from(a), Buffer.from(b))
  const { migration, token, channel, generation = message.generation } = expected
  const known = same(message.migration, migration) && same(message.token, token)
  if (!known || message.channel !== channel || message.generation !== generation) {
    throw new GodwitError('bad-token', 'a connection without the token of this migration')
  }
}
