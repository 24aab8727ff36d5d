// How a program that serves meets its clients: the vCPU's ends of its rings, as the `requests` of its context. The other
// ends are the main thread's (src/service). Made by vcpu-thread.ts.

import { assert } from '../errors.ts'
import { SERVICE_RING_BYTES } from '../limits.ts'
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

/** The port of one vCPU; it never blocks. */
export class VcpuRequests implements RequestPort {
  readonly #requests: MessageReader
  readonly #replies: MessageWriter

  constructor({ requests, replies }: ServiceRings) {
    this.#requests = new MessageReader(requests)
    this.#replies = new MessageWriter(replies)
  }

  peek(): ServiceRequest | null {
    return this.#requests.peek()
  }

  done(): void {
    this.#requests.take()
  }

  fits(bytes: number): boolean {
    return this.#replies.fits(bytes)
  }

  answer({ what, gateway, sequence, bytes }: ServiceAnswer): void {
    const kind = ANSWERS.indexOf(what)
    const sent = this.#replies.push({ gateway, kind, sequence, acknowledged: 0, nowMs: 0, bytes })
    assert(sent, 'no room for an answer')
    this.#replies.notify()
  }

  awaitRoom(): void {
    this.#requests.rest()
  }
}
