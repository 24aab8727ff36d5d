// How a program that serves meets its clients: the vCPU's ends of its rings, as the `requests` of its context. The other
// ends are the main thread's (src/service). Made by vcpu-thread.ts.

import { assert } from '../errors.ts'
import { SERVICE_RING_BYTES, SERVICE_UNTOLD_ANSWERS } from '../limits.ts'
import { MessageReader, MessageWriter, newRing } from './message-ring.ts'
import type { RequestPort, ServiceAnswer, ServiceRequest } from './program.ts'

/** The shared memories of one vCPU's service. */
export interface ServiceRings {
  readonly requests: SharedArrayBuffer
  readonly replies: SharedArrayBuffer
}

export const newServiceRings = (): ServiceRings => ({
  requests: newRing(SERVICE_RING_BYTES),
  replies: newRing(SERVICE_RING_BYTES),
})

/** What an answer is; the values stand in messages. */
export const ANSWERS = ['reply', 'busy', 'out-of-order', 'forgotten', 'refused'] as const
const REPLY = ANSWERS.indexOf('reply')

/**
 * The port of one vCPU; it never blocks. The main thread is told of answers when there is nothing more to do, or when there
 * are a few: each time it is woken costs more than an answer. It looks by itself now and then, for a vCPU that stops in between.
 */
export class VcpuRequests implements RequestPort {
  readonly #requests: MessageReader
  readonly #replies: MessageWriter
  /** Answers that the main thread was not told of. */
  #untold = 0

  constructor({ requests, replies }: ServiceRings) {
    this.#requests = new MessageReader(requests)
    this.#replies = new MessageWriter(replies)
  }

  peek(): ServiceRequest | null {
    const request = this.#requests.peek()
    if (request === null && this.#untold > 0) this.#tell()
    return request
  }

  done(): void {
    this.#requests.take()
  }

  fits(bytes: number): boolean {
    const room = this.#replies.fits(bytes)
    if (!room && this.#untold > 0) this.#tell()
    return room
  }

  answer({ what, gateway, sequence, bytes, from = 0, length = bytes.length }: ServiceAnswer): void {
    const kind = what === 'reply' ? REPLY : ANSWERS.indexOf(what)
    const sent = this.#replies.write(gateway, kind, sequence, 0, 0, bytes, from, length)
    assert(sent, 'no room for an answer')
    // At once: the vCPU may stop at any step boundary, and then somebody takes out what is there.
    this.#replies.say()
    if (++this.#untold >= SERVICE_UNTOLD_ANSWERS) this.#tell()
  }

  awaitRoom(): void {
    this.#replies.wantRoom()
  }

  #tell(): void {
    this.#untold = 0
    this.#replies.notify()
  }
}
