// What a gateway and a guest process tell each other on a line, beside requests and answers: MessagePack maps in LINE frames,
// one schema each. docs/protocol.md has the table; a test walks both. Everything here comes from a socket.

import { z } from 'zod'
import { GodwitError } from '../errors.ts'
import { ERROR_TEXT_LENGTH, HELLO_FRAME_BYTES, MAX_VCPUS } from '../limits.ts'
import { FRAME_TYPE } from './frame.ts'
import { encodeMessage } from './message-frame.ts'
import { misfit, unpackPlain } from './plain-values.ts'

const vcpu = z
  .number()
  .int()
  .min(0)
  .max(MAX_VCPUS - 1)
/** 32 bits, chosen at random; 0 is nobody. */
const gateway = z
  .number()
  .int()
  .min(1)
  .max(2 ** 32 - 1)
const text = z.string().min(1).max(255)

export const lineSchemas = {
  /** Gateway → guest, first on every line. `guest`: name or id of the guest that is meant. */
  hello: z.strictObject({
    type: z.literal('hello'),
    version: z.number().int().min(0).max(255),
    gateway,
    guest: text,
  }),
  /** Guest → gateway: the line is accepted; `here`: the vCPUs whose requests are taken in. */
  welcome: z.strictObject({
    type: z.literal('welcome'),
    guest: z.strictObject({
      id: text,
      name: text,
      vcpus: z.number().int().min(1).max(MAX_VCPUS),
      program: text,
      memoryBytes: z.number().int().min(0).max(Number.MAX_SAFE_INTEGER),
    }),
    here: z.array(vcpu).max(MAX_VCPUS),
  }),
  /** Gateway → guest: for this vCPU it is that gateway from now on, because its session was forgotten. */
  number: z.strictObject({ type: z.literal('number'), vcpu, gateway }),
  /** Guest → gateway: answers of this vCPU behind this are to that number. */
  numbered: z.strictObject({ type: z.literal('numbered'), vcpu, gateway }),
  /** Guest → gateway: a request of this vCPU came back unexecuted, and so does what is under way behind it. */
  'not-here': z.strictObject({ type: z.literal('not-here'), vcpu }),
  /** Guest → gateway: requests of this vCPU are taken in from now on. */
  here: z.strictObject({ type: z.literal('here'), vcpu }),
  /** Guest → gateway: the vCPU has left, and no more answers of it come on this line. */
  gone: z.strictObject({ type: z.literal('gone'), vcpu }),
  /** Guest → gateway: the guest runs, or may soon run, behind this address too. */
  elsewhere: z.strictObject({ type: z.literal('elsewhere'), host: text, port: z.number().int().min(1).max(65_535) }),
  /** Guest → gateway, whenever nothing else was said for a while: the process is there. */
  alive: z.strictObject({ type: z.literal('alive') }),
  /** Either: the line ends, and why. */
  end: z.strictObject({
    type: z.literal('end'),
    error: z.strictObject({ code: z.string().max(64), message: z.string().max(ERROR_TEXT_LENGTH) }),
  }),
} as const

const lineMessageSchema = z.discriminatedUnion('type', Object.values(lineSchemas) as never)

export type LineMessage = {
  [Name in keyof typeof lineSchemas]: z.output<(typeof lineSchemas)[Name]>
}[keyof typeof lineSchemas]
export type LineMessageOf<Name extends LineMessage['type']> = Extract<LineMessage, { type: Name }>
export type GuestFacts = LineMessageOf<'welcome'>['guest']

/** A LINE frame. */
export const encodeLine = (message: LineMessage): Buffer => encodeMessage(FRAME_TYPE.line, message)

/** The message in a LINE frame's payload. Throws `frame-too-long` or `bad-message`. */
export function decodeLine(payload: Uint8Array): LineMessage {
  if (payload.length > HELLO_FRAME_BYTES) {
    throw new GodwitError('frame-too-long', `a line message of ${payload.length} bytes`)
  }
  const parsed = lineMessageSchema.safeParse(unpackPlain(payload))
  if (parsed.success) return parsed.data as LineMessage
  throw misfit(parsed.error.issues)
}

/** The last message of a line that ends because of `error`. */
export const lineEnd = ({ code, message }: GodwitError): Buffer =>
  encodeLine({ type: 'end', error: { code, message: message.slice(0, ERROR_TEXT_LENGTH) } })
