// A gateway in small: numbers commands, keeps several under way, and sends again whatever is unanswered to wherever the
// guest is. For tests of the service; it holds what it sent to account.

import type { ServiceAnswer } from '../../src/guest/program.ts'
import { requestOf } from '../../src/programs/kv/request.ts'
import { encodeRequest } from '../../src/programs/kv/request-codec.ts'
import type { GuestService } from '../../src/service/guest-service.ts'

/** How long it rests after 'busy', 'out-of-order', 'full' and 'not-here', ms. */
const REST_MS = 2

interface Command {
  readonly sequence: number
  readonly bytes: Uint8Array
  readonly resolve: (reply: string) => void
  /** How often it was accepted somewhere. */
  sent: number
}

/** What goes to one vCPU. */
interface Lane {
  readonly vcpu: number
  next: number
  /** Unanswered, in order; those from `unsent` on are still to be sent. */
  readonly open: Command[]
  unsent: number
  readonly answers: Map<number, { reply: string; times: number; sent: Command }>
  timer: NodeJS.Timeout | null
}

export class TestGateway {
  /** Answers that came again, and sendings beyond the first. */
  repeats = 0
  resent = 0
  /** What should not have happened. */
  readonly wrongs: string[] = []
  readonly #number: number
  readonly #lanes: Lane[]
  #service: GuestService | null = null
  #unlisten: () => void = () => {}

  constructor(number: number, vcpus: number) {
    this.#number = number
    this.#lanes = Array.from({ length: vcpus }, (_, vcpu) => ({
      ...{ vcpu, next: 1, open: [], unsent: 0, answers: new Map(), timer: null },
    }))
  }

  /** From now on the guest is served there. Everything unanswered goes there, in order. */
  connect(service: GuestService): void {
    this.disconnect()
    this.#service = service
    this.#unlisten = service.listen({
      onAnswer: (vcpu, answer) => this.#onAnswer(this.#lane(vcpu), answer),
      onGone: () => {},
    })
    for (const lane of this.#lanes) {
      lane.unsent = 0
      this.#send(lane)
    }
  }

  /** Sends nothing more, and hears nothing more. */
  disconnect(): void {
    this.#unlisten()
    this.#service = null
    for (const { timer } of this.#lanes) if (timer !== null) clearTimeout(timer)
    for (const lane of this.#lanes) lane.timer = null
  }

  command(vcpu: number, ...parts: string[]): Promise<string> {
    const lane = this.#lane(vcpu)
    const { promise, resolve } = Promise.withResolvers<string>()
    lane.open.push({ sequence: lane.next++, bytes: encodeRequest(requestOf(...parts)), resolve, sent: 0 })
    this.#send(lane)
    return promise
  }

  /** Sends everything unanswered once more, as if the answers had been lost. */
  resend(): void {
    for (const lane of this.#lanes) {
      lane.unsent = 0
      this.#send(lane)
    }
  }

  #lane(vcpu: number): Lane {
    return this.#lanes[vcpu] as Lane
  }

  #send(lane: Lane): void {
    if (this.#service === null || lane.timer !== null) return
    for (; lane.unsent < lane.open.length; lane.unsent++) {
      const command = lane.open[lane.unsent] as Command
      const { sequence, bytes } = command
      const acknowledged = (lane.open[0] as Command).sequence - 1
      const numbers = { gateway: this.#number, sequence, acknowledged, nowMs: Date.now() }
      const submitted = this.#service.submit(lane.vcpu, { ...numbers, bytes })
      if (submitted !== 'accepted') {
        // 'not-here': what is unanswered is sent again from the first on.
        if (submitted === 'not-here') lane.unsent = 0
        this.#rest(lane)
        return
      }
      if (command.sent++ > 0) this.resent++
    }
  }

  #rest(lane: Lane): void {
    lane.timer ??= setTimeout(() => {
      lane.timer = null
      this.#send(lane)
    }, REST_MS)
  }

  #onAnswer(lane: Lane, { what, gateway, sequence, bytes, from = 0, length = bytes.length }: ServiceAnswer): void {
    if (gateway !== this.#number) return
    if (what === 'busy' || what === 'out-of-order') {
      lane.unsent = 0
      this.#rest(lane)
      return
    }
    const reply = Buffer.copyBytesFrom(bytes, from, length).toString('latin1')
    const known = lane.answers.get(sequence)
    if (known !== undefined) {
      this.repeats++
      known.times++
      if (known.reply !== reply) this.wrongs.push(`${lane.vcpu}/${sequence}: '${known.reply}', then '${reply}'`)
      if (known.times > known.sent.sent) this.wrongs.push(`${lane.vcpu}/${sequence} was answered without being asked`)
      return
    }
    const index = lane.open.findIndex((command) => command.sequence === sequence)
    const command = lane.open[index]
    if (what !== 'reply' || command === undefined) {
      this.wrongs.push(`${lane.vcpu}/${sequence}: ${what}`)
      return
    }
    lane.open.splice(index, 1)
    if (index < lane.unsent) lane.unsent--
    lane.answers.set(sequence, { reply, times: 1, sent: command })
    command.resolve(reply)
  }
}
