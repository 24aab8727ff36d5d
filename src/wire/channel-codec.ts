// The three messages that connections other than a control link carry: the hello that every connection begins with, its answer,
// and why one side gives up. Transfer and exchange threads read no others, and the schemas of messages.ts with their library
// take a thread longer to load than everything else in it; so these three are looked at by hand. A test holds both to the same
// verdicts.

import { GodwitError } from '../errors.ts'
import { ERROR_TEXT_LENGTH, MAX_CONTROL_FRAME_BYTES, MAX_LANES } from '../limits.ts'
import type { MessageOf } from './messages.ts'
import { badMessage, unpackPlain } from './plain-values.ts'

export type ChannelMessage = MessageOf<'hello' | 'welcome' | 'abort'>

type Check = (value: unknown) => boolean
/** Whether the value has these fields and no others. */
type Shape = Readonly<Record<string, Check>>

/** Characters are counted, not units, as schemas do. */
const text =
  (most: number): Check =>
  (value) =>
    typeof value === 'string' && (value.length <= most || (value.length <= 2 * most && [...value].length <= most))
const whole =
  (most: number): Check =>
  (value) =>
    Number.isInteger(value) && (value as number) >= 0 && (value as number) <= most
const hex128: Check = (value) => typeof value === 'string' && /^[0-9a-f]{32}$/.test(value)
const capabilities: Check = (value) => Array.isArray(value) && value.length <= 64 && value.every(text(64))
const optional =
  (check: Check): Check =>
  (value) =>
    value === undefined || check(value)

const lane = whole(MAX_LANES - 1)
const ERROR: Shape = {
  code: text(64),
  message: text(ERROR_TEXT_LENGTH),
  hint: optional(text(ERROR_TEXT_LENGTH)),
  side: optional((value) => value === 'source' || value === 'destination'),
}
const SHAPES: Readonly<Record<ChannelMessage['type'], Shape>> = {
  hello: {
    version: whole(255),
    migration: hex128,
    token: hex128,
    generation: whole(1_000_000),
    channel: (value) => value === 'control' || lane(value),
    capabilities,
  },
  welcome: { capabilities },
  abort: { error: (value) => isObject(value) && misfit(value, ERROR) === null },
}

const isObject = (value: unknown): value is Record<string, unknown> =>
  typeof value === 'object' && value !== null && !Array.isArray(value)

/** The name of a field that is not as it should be, or should not be; null: there is none. */
function misfit(value: Record<string, unknown>, shape: Shape): string | null {
  for (const name of Object.keys(value)) if (!Object.hasOwn(shape, name)) return name
  for (const [name, check] of Object.entries(shape)) if (!check(value[name])) return name
  return null
}

/** The message in a CONTROL frame's payload. Throws `frame-too-long`, `bad-message`, or `unexpected-message` for any other. */
export function decodeChannel(payload: Uint8Array): ChannelMessage {
  if (payload.length > MAX_CONTROL_FRAME_BYTES) {
    throw new GodwitError('frame-too-long', `control message of ${payload.length} bytes`)
  }
  const message = unpackPlain(payload)
  if (!isObject(message) || typeof message.type !== 'string') throw badMessage('has no type')
  const { type, ...fields } = message
  if (!Object.hasOwn(SHAPES, type)) {
    throw new GodwitError('unexpected-message', `'${type.slice(0, 64)}' on a connection that is no control link`)
  }
  const wrong = misfit(fields, SHAPES[type as ChannelMessage['type']])
  if (wrong !== null) throw badMessage(`does not match its schema: ${wrong.slice(0, 64)}`)
  return message as ChannelMessage
}
