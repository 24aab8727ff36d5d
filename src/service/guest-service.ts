// The service of a guest as its process offers it: numbered requests in, answers out (R30). Runs on the main thread and never
// blocks it; the other ends of the rings are the vCPUs' (guest/service-ports.ts). Made by guest-process/assemble.ts.
//
//   here ──leave (a pause for the switch begins)──► leaving ──left (vCPUs stand, answers are out)──► elsewhere
//     ▲                                                │                                               │
//     └─────────────── arrive (the vCPUs run here) ────┴───────────────────────────────────────────────┘

import { setImmediate as breathe } from 'node:timers/promises'
import { assert } from '../errors.ts'
import type { GuestMemory } from '../guest/memory.ts'
import { type Message, MessageReader, MessageWriter } from '../guest/message-ring.ts'
import type { ServiceAnswer, ServiceRequest } from '../guest/program.ts'
import { vcpuWords, wake } from '../guest/safepoint.ts'
import { ANSWERS, type ServiceRings } from '../guest/service-ports.ts'
import { SERVICE_DRAIN_MESSAGES, SERVICE_REQUEST_BYTES } from '../limits.ts'

/**
 * `accepted`: it will be answered, or `onGone` is called. `full`: try again when answers have come. `not-here`: the vCPU
 * does not run here. `too-long`: no ring carries it. What was not accepted was not executed, and its sequence is free.
 */
export type Submitted = 'accepted' | 'full' | 'not-here' | 'too-long'

export interface ServiceListener {
  /** The bytes are good until it returns. The same answer may come twice when a request was sent twice. */
  onAnswer(vcpu: number, answer: ServiceAnswer): void
  /**
   * The vCPU is not here any more, and there will be no more answers: whatever is unanswered is to be sent again, in
   * order, to where it runs, or here when `submit` says so.
   */
  onGone(vcpu: number): void
}

const NOTHING = new Uint8Array(0)

/** The ends of one vCPU's rings. */
interface Line {
  readonly requests: MessageWriter
  readonly replies: MessageReader
  wake(): void
}

export class GuestService {
  readonly #lines: readonly Line[]
  readonly #listeners = new Set<ServiceListener>()
  #state: 'here' | 'leaving' | 'elsewhere'
  #closed = false
  /** A listener is being told something. */
  #telling = false

  constructor(memory: GuestMemory, rings: readonly ServiceRings[], here: boolean) {
    assert(rings.length === memory.layout.vcpus, 'as many rings as vCPUs')
    this.#lines = rings.map(({ requests, replies }, vcpu) => ({
      requests: new MessageWriter(requests),
      replies: new MessageReader(replies),
      wake: () => wake(memory, vcpuWords(memory, vcpu)),
    }))
    this.#state = here ? 'here' : 'elsewhere'
    for (const vcpu of this.#lines.keys()) void this.#deliver(vcpu)
  }

  get vcpus(): number {
    return this.#lines.length
  }

  /** Whether requests of this vCPU are taken in here. */
  isHere(vcpu: number): boolean {
    return vcpu < this.#lines.length && this.#state === 'here' && !this.#closed
  }

  /** Hands a request to the vCPU. A gateway's sequences go up by one; sent again, a request keeps its own. */
  submit(vcpu: number, request: ServiceRequest): Submitted {
    if (!this.isHere(vcpu)) return 'not-here'
    if (request.bytes.length > SERVICE_REQUEST_BYTES) return 'too-long'
    const { gateway, sequence } = request
    assert(
      gateway > 0 && gateway < 2 ** 32 && Number.isSafeInteger(gateway + sequence),
      'a gateway or a request has no number',
    )
    const line = this.#line(vcpu)
    const accepted = line.requests.push({ ...request, kind: 0 })
    if (line.requests.takeWaiting()) line.wake()
    return accepted ? 'accepted' : 'full'
  }

  /**
   * The gateway has every reply up to this sequence. For one that has nothing to ask for a second; requests say it
   * themselves. No answer comes.
   */
  acknowledge(vcpu: number, gateway: number, acknowledged: number): Submitted {
    return this.submit(vcpu, { gateway, sequence: 0, acknowledged, nowMs: 0, bytes: NOTHING })
  }

  /** Returns what ends the listening. */
  listen(listener: ServiceListener): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** The vCPUs run here from now on. Requests that were accepted before are executed if nobody did elsewhere. */
  arrive(): void {
    this.#state = 'here'
  }

  /** They are being stopped: nothing is accepted any more. */
  leave(): void {
    if (this.#state === 'here') this.#state = 'leaving'
  }

  /** They stand still: the last answers go out, then everybody hears that they are gone. */
  left(): void {
    if (this.#state !== 'leaving') return
    this.#state = 'elsewhere'
    for (const vcpu of this.#lines.keys()) {
      while (this.#handOn(vcpu)) {}
      for (const listener of this.#listeners) listener.onGone(vcpu)
    }
  }

  /** Ends what waits for answers; idempotent. Whoever listens hears that the vCPUs are gone. */
  close(): void {
    if (this.#closed) return
    this.leave()
    this.left()
    this.#closed = true
    for (const { replies } of this.#lines) replies.wakeUp()
  }

  async #deliver(vcpu: number): Promise<void> {
    const { replies } = this.#line(vcpu)
    let count = 0
    while (!this.#closed) {
      if (count >= SERVICE_DRAIN_MESSAGES) {
        await breathe()
        count = 0
      } else if (this.#handOn(vcpu)) count++
      else if (await replies.arrival()) count = 0
      else count++
    }
  }

  /** Hands the oldest answer on; false: there is none. */
  #handOn(vcpu: number): boolean {
    const { replies, requests, wake: wakeVcpu } = this.#line(vcpu)
    // A listener that ends the service hears nothing more: what is unanswered then is sent again elsewhere.
    const message = this.#telling || this.#closed ? null : replies.peek()
    if (message === null) return false
    this.#telling = true
    try {
      const answer = answerOf(message)
      for (const listener of this.#listeners) listener.onAnswer(vcpu, answer)
    } finally {
      this.#telling = false
      replies.take()
    }
    // There is room for an answer more.
    if (requests.takeWaiting()) wakeVcpu()
    return true
  }

  #line(vcpu: number): Line {
    const line = this.#lines[vcpu]
    assert(line !== undefined, `there is no vCPU ${vcpu}`)
    return line
  }
}

function answerOf({ kind, gateway, sequence, bytes }: Message): ServiceAnswer {
  const what = ANSWERS[kind]
  assert(what !== undefined, `an answer of kind ${kind}`)
  return { what, gateway, sequence, bytes }
}
