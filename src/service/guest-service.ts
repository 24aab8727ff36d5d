// The service of a guest as its process offers it: numbered requests in, answers out (R30). Runs on the main thread and never
// blocks it; the other ends of the rings are the vCPUs' (guest/service-ports.ts). Made by guest-process/assemble.ts.
//
// Each vCPU is here or not by itself:
//
//   here ──leave (a pause for the switch begins)──► leaving ──left (it stands, answers are out)──► elsewhere
//     ▲                                                │                                             │
//     └─────────────── arrive (it runs here) ──────────┴─────────────────────────────────────────────┘

import { setImmediate as breathe } from 'node:timers/promises'
import { assert } from '../errors.ts'
import type { GuestMemory } from '../guest/memory.ts'
import { type Message, MessageReader, MessageWriter } from '../guest/message-ring.ts'
import type { ServiceAnswer, ServiceRequest } from '../guest/program.ts'
import { type VcpuWords, vcpuWords, wake } from '../guest/safepoint.ts'
import { ANSWERS, type ServiceRings } from '../guest/service-ports.ts'
import {
  SERVICE_DRAIN_MESSAGES,
  SERVICE_REQUEST_BYTES,
  SERVICE_SWEEP_MS,
  SERVICE_SWEEPS,
  SERVICE_UNSAID_REQUESTS,
  SERVICE_UNTOLD_ANSWERS,
} from '../limits.ts'

/**
 * `accepted`: it will be answered, or `onGone` is called. `full`: try again when answers have come. `not-here`: the vCPU
 * does not run here. `too-long`: no ring carries it. What was not accepted was not executed, and its sequence is free.
 */
export type Submitted = 'accepted' | 'full' | 'not-here' | 'too-long'

export interface ServiceListener {
  /** The answer and its bytes are good until it returns. The same answer may come twice when a request was sent twice. */
  onAnswer(vcpu: number, answer: ServiceAnswer): void
  /**
   * The vCPU is not here any more, and there will be no more answers: whatever is unanswered is to be sent again, in
   * order, to where it runs, or here when `submit` says so.
   */
  onGone(vcpu: number): void
  /** Requests of the vCPU are taken in from now on, for the first time or once more. */
  onHere?(vcpu: number): void
}

const NOTHING: Uint8Array = new Uint8Array(0)

/** The ends of one vCPU's rings. */
interface Line {
  readonly requests: MessageWriter
  readonly replies: MessageReader
  readonly words: VcpuWords
  /** Requests that the vCPU does not know of yet. */
  unsaid: number
}

export class GuestService {
  /** Answers handed on so far. */
  answered = 0
  readonly #memory: GuestMemory
  readonly #lines: readonly Line[]
  #listeners: readonly ServiceListener[] = []
  readonly #states: ('here' | 'leaving' | 'elsewhere')[]
  #closed = false
  /** Looks for answers that nobody told of; so many times more. */
  #sweeping: NodeJS.Timeout | null = null
  #sweeps = 0
  /** A listener is being told something. */
  #telling = false
  readonly #answer = new AnswerView()

  constructor(memory: GuestMemory, rings: readonly ServiceRings[], here: boolean) {
    assert(rings.length === memory.layout.vcpus, 'as many rings as vCPUs')
    this.#lines = rings.map(({ requests, replies }, vcpu) => ({
      requests: new MessageWriter(requests),
      // There is room again for the answer that it waits with.
      replies: new MessageReader(replies, () => wake(memory, vcpuWords(memory, vcpu))),
      words: vcpuWords(memory, vcpu),
      unsaid: 0,
    }))
    this.#memory = memory
    this.#states = rings.map(() => (here ? 'here' : 'elsewhere'))
    for (const vcpu of this.#lines.keys()) void this.#deliver(vcpu)
  }

  get vcpus(): number {
    return this.#lines.length
  }

  /** Whether requests of this vCPU are taken in here. */
  isHere(vcpu: number): boolean {
    return this.#states[vcpu] === 'here' && !this.#closed
  }

  /** Hands a request to the vCPU. A gateway's sequences go up by one; sent again, a request keeps its own. */
  submit(vcpu: number, { gateway, sequence, acknowledged, nowMs, bytes }: ServiceRequest): Submitted {
    const submitted = this.submitBytes(vcpu, gateway, sequence, acknowledged, nowMs, bytes, 0, bytes.length)
    if (submitted === 'accepted') this.submitted(vcpu)
    return submitted
  }

  /**
   * The same without an object: the request's bytes lie at `from` of `bytes`. One of several: `submitted` is to be called
   * behind the last one.
   */
  submitBytes(
    vcpu: number,
    gateway: number,
    sequence: number,
    acknowledged: number,
    nowMs: number,
    bytes: Uint8Array,
    from: number,
    length: number,
  ): Submitted {
    if (!this.isHere(vcpu)) return 'not-here'
    if (length > SERVICE_REQUEST_BYTES) return 'too-long'
    assert(
      gateway > 0 && gateway < 2 ** 32 && Number.isSafeInteger(gateway + sequence),
      'a gateway or a request has no number',
    )
    const line = this.#line(vcpu)
    const accepted = line.requests.write(gateway, 0, sequence, acknowledged, nowMs, bytes, from, length)
    if (!accepted || ++line.unsaid >= SERVICE_UNSAID_REQUESTS) this.submitted(vcpu)
    return accepted ? 'accepted' : 'full'
  }

  /** The vCPU is to look at what was submitted. */
  submitted(vcpu: number): void {
    const line = this.#line(vcpu)
    if (line.unsaid === 0 || this.#closed) return
    line.unsaid = 0
    line.requests.say()
    if (line.requests.takeWaiting()) wake(this.#memory, line.words)
    this.#sweeps = SERVICE_SWEEPS
    this.#sweeping ??= setInterval(() => this.#sweep(), SERVICE_SWEEP_MS)
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
    this.#listeners = [...this.#listeners, listener]
    return () => {
      this.#listeners = this.#listeners.filter((each) => each !== listener)
    }
  }

  /** The vCPU, or each of them, runs here from now on. What was accepted before is executed if nobody did elsewhere. */
  arrive(vcpu?: number): void {
    for (const each of this.#those(vcpu)) {
      if (this.#states[each] === 'here') continue
      this.#states[each] = 'here'
      if (!this.#closed) for (const listener of this.#listeners) listener.onHere?.(each)
    }
  }

  /** It is being stopped: nothing is accepted any more. */
  leave(vcpu?: number): void {
    for (const each of this.#those(vcpu)) if (this.#states[each] === 'here') this.#states[each] = 'leaving'
  }

  /** It stands still: the last answers go out, then everybody hears that it is gone. */
  left(vcpu?: number): void {
    for (const each of this.#those(vcpu)) {
      if (this.#states[each] !== 'leaving') continue
      this.#states[each] = 'elsewhere'
      while (this.#handOn(each)) {}
      for (const listener of this.#listeners) listener.onGone(each)
    }
  }

  /** Ends what waits for answers; idempotent. Whoever listens hears that the vCPUs are gone. */
  close(): void {
    if (this.#closed) return
    this.leave()
    this.left()
    this.#closed = true
    this.#endSweeping()
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

  #sweep(): void {
    for (const vcpu of this.#lines.keys()) {
      // There are no more that nobody was told of.
      for (let count = 0; count < SERVICE_UNTOLD_ANSWERS && this.#handOn(vcpu); count++) {}
    }
    if (this.#sweeps-- <= 0) this.#endSweeping()
  }

  #endSweeping(): void {
    if (this.#sweeping !== null) clearInterval(this.#sweeping)
    this.#sweeping = null
  }

  /** Hands the oldest answer on; false: there is none. */
  #handOn(vcpu: number): boolean {
    const { replies } = this.#line(vcpu)
    // A listener that ends the service hears nothing more: what is unanswered then is sent again elsewhere.
    const message = this.#telling || this.#closed ? null : replies.peek()
    if (message === null) return false
    this.#telling = true
    try {
      this.#answer.set(message)
      this.answered++
      const listeners = this.#listeners
      for (let index = 0; index < listeners.length; index++) listeners[index]?.onAnswer(vcpu, this.#answer)
    } finally {
      this.#telling = false
      replies.take()
    }
    return true
  }

  #those(vcpu: number | undefined): Iterable<number> {
    return vcpu === undefined ? this.#lines.keys() : [vcpu]
  }

  #line(vcpu: number): Line {
    const line = this.#lines[vcpu]
    assert(line !== undefined, 'there is no such vCPU')
    return line
  }
}

/** What listeners are shown; the same object again and again. */
class AnswerView implements ServiceAnswer {
  what: ServiceAnswer['what'] = 'reply'
  gateway = 0
  sequence = 0
  bytes = NOTHING
  from = 0
  length = 0

  set({ kind, gateway, sequence, bytes, from, length }: Message): void {
    const what = ANSWERS[kind]
    assert(what !== undefined, 'an answer of no known kind')
    this.what = what
    this.from = from
    this.length = length
    this.gateway = gateway
    this.sequence = sequence
    this.bytes = bytes
  }
}
