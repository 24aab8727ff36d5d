// A process of a played guest of one vCPU, as src/service is: who has a line here, the ring of requests to the vCPU and its answers.
// Made by played-lines.ts, which brings what gateways send; played-guest.ts is the vCPU.

import type { ServiceAnswer, ServiceRequest } from '../../src/guest/program.ts'
import { RequestCursor } from '../../src/wire/service-frames.ts'
import type { PlayedLine } from './played-lines.ts'

/** What is in its ring stays there when the vCPU leaves, and is met again when it comes back: copies of what was sent elsewhere. */
export class PlayedHost {
  state: 'here' | 'leaving' | 'elsewhere' = 'elsewhere'
  readonly ring: ServiceRequest[] = []
  readonly answers: ServiceAnswer[] = []
  /** Greeted lines by what their gateways are called now. */
  readonly #lines = new Map<number, PlayedLine>()

  /** Answers of the vCPU go out to those that have a line here. */
  handOn(most = Number.POSITIVE_INFINITY): void {
    for (let count = 0; count < most && this.answers.length > 0; count++) {
      const answer = this.answers.shift() as ServiceAnswer
      this.#lines.get(answer.gateway)?.answer(answer)
    }
  }

  arrive(): void {
    this.state = 'here'
    for (const line of this.#lines.values()) line.sayHere()
  }

  /** The vCPU is about to leave: no request is taken in, and those that are there may be executed still. */
  leave(): void {
    if (this.state === 'here') this.state = 'leaving'
  }

  /** Behind its last answers. */
  left(): void {
    this.state = 'elsewhere'
    this.handOn()
    for (const line of this.#lines.values()) line.sayAway()
  }

  onHello(line: PlayedLine, gateway: number): void {
    this.#number(line, gateway)
    line.welcome(this.state === 'here')
  }

  onNumber(line: PlayedLine, gateway: number): void {
    this.#number(line, gateway)
    line.sayNumbered(gateway)
  }

  onRequests(line: PlayedLine, entries: Uint8Array): void {
    const cursor = new RequestCursor()
    cursor.begin(entries)
    while (cursor.next()) {
      if (this.state === 'here') this.ring.push(requestAt(cursor, line.gateway))
      else if (!line.bounced) {
        line.bounced = true
        line.sayAway()
      }
    }
  }

  onClosed(line: PlayedLine): void {
    if (this.#lines.get(line.gateway) === line) this.#lines.delete(line.gateway)
  }

  #number(line: PlayedLine, gateway: number): void {
    const older = this.#lines.get(gateway)
    if (older !== undefined && older !== line) older.replace()
    this.onClosed(line)
    line.gateway = gateway
    this.#lines.set(gateway, line)
  }
}

function requestAt({ sequence, acknowledged, nowMs, payload, at, length }: RequestCursor, gateway: number) {
  return { gateway, sequence, acknowledged, nowMs, bytes: payload.slice(at, at + length) }
}
