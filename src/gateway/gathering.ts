// Puts the replies of several vCPUs to one command together: a sum, OK, a list in the order of the keys, or INFO. Stands
// between the backend and the client (client.ts) for one command.

import { infoSections, type Sections } from '../programs/kv/info.ts'
import { parseInteger } from '../programs/kv/integers.ts'
import type { BackendError, ReplyTaker } from './backend.ts'
import { failureReply } from './failures.ts'

const [MINUS, DOLLAR, CR] = [0x2d, 0x24, 0x0d]

/** How replies come together; `list`: which keys each part has, and how many there are. */
export type Gather =
  | { readonly how: 'sum' }
  | { readonly how: 'ok' }
  | { readonly how: 'info'; readonly write: (sections: readonly Sections[]) => Uint8Array }
  | { readonly how: 'list'; readonly keys: readonly (readonly number[])[]; readonly count: number }

export class Gathering implements ReplyTaker {
  readonly #gather: Gather
  readonly #taker: ReplyTaker
  readonly #tag: number
  /** Copies of the parts' replies. */
  readonly #replies: Uint8Array[]
  #missing: number

  /** The parts are sent with their number, from 0, as the tag; `taker` hears once. */
  constructor(parts: number, gather: Gather, taker: ReplyTaker, tag: number) {
    this.#gather = gather
    this.#taker = taker
    this.#tag = tag
    this.#missing = parts
    this.#replies = Array.from({ length: parts })
  }

  onReply(part: number, bytes: Uint8Array, start: number, end: number): void {
    // Not `slice`, which of a Buffer is no copy.
    this.#replies[part] = Buffer.copyBytesFrom(bytes, start, end - start)
    if (--this.#missing > 0) return
    const whole = this.#replies.find((reply) => reply[0] === MINUS) ?? together(this.#gather, this.#replies)
    this.#taker.onReply(this.#tag, whole, 0, whole.length)
  }

  onFailure(part: number, error: BackendError): void {
    const reply = failureReply(error)
    this.onReply(part, reply, 0, reply.length)
  }
}

/** One reply of several, none of which is an error. */
export function together(gather: Gather, replies: readonly Uint8Array[]): Uint8Array {
  if (gather.how === 'ok') return replies[0] as Uint8Array
  if (gather.how === 'sum') {
    const sum = replies.reduce((total, reply) => total + Number(parseInteger(reply, 1, reply.length - 3) ?? 0), 0)
    return Buffer.from(`:${sum}\r\n`)
  }
  if (gather.how === 'info') return gather.write(replies.map((reply) => infoSections(textOf(reply))))
  const elements: Uint8Array[] = Array.from({ length: gather.count })
  for (const [part, reply] of replies.entries()) {
    const keys = gather.keys[part] as readonly number[]
    for (const [index, element] of elementsOf(reply).entries()) elements[keys[index] as number] = element
  }
  return Buffer.concat([Buffer.from(`*${gather.count}\r\n`), ...elements])
}

/** Where the line ends that is at `at`. */
function lineEnd(bytes: Uint8Array, at: number): number {
  const end = bytes.indexOf(CR, at)
  return end < 0 ? bytes.length : end
}

/** The elements of an array of bulk strings, heads and line ends included. */
function elementsOf(reply: Uint8Array): Uint8Array[] {
  const elements: Uint8Array[] = []
  for (let at = lineEnd(reply, 0) + 2; at < reply.length; ) {
    const head = lineEnd(reply, at)
    const length = reply[at] === DOLLAR ? Number(parseInteger(reply, at + 1, head - at - 1) ?? -1) : -1
    const end = length < 0 ? head + 2 : head + 2 + length + 2
    elements.push(reply.subarray(at, end))
    at = end
  }
  return elements
}

/** The text of one bulk string. */
function textOf(reply: Uint8Array): string {
  return Buffer.from(reply.subarray(lineEnd(reply, 0) + 2, Math.max(0, reply.length - 2))).toString('latin1')
}
