// Lines between gateways and the processes of a guest of one vCPU, played: nothing arrives before the test lets it, and any line may
// be cut with things on their way. PlayedLine stands for src/gateway/guest-line.ts; played-host.ts is at the other
// end. Used by test/gateway/exactly-once.test.ts.
//
//   gateway ──up: hello, number, requests──► host: ring ──► vCPU
//           ◄──down: welcome, here, away, numbered, answers── answers ◄──┘

import { assert, GodwitError } from '../../src/errors.ts'
import type { GuestLine, LineListener, LineTarget } from '../../src/gateway/guest-line.ts'
import type { ServiceAnswer } from '../../src/guest/program.ts'
import { ANSWERS } from '../../src/guest/service-ports.ts'
import { FRAME_HEADER_BYTES, FRAME_TYPE } from '../../src/wire/frame.ts'
import { FrameBatch } from '../../src/wire/frame-batch.ts'
import type { LineMessage } from '../../src/wire/line-messages.ts'
import type { Random } from '../simulation/random.ts'
import { PlayedHost } from './played-host.ts'

const FACTS = { id: 'a'.repeat(32), name: 'kv', vcpus: 1, program: 'kv', memoryBytes: 65_536 }
const VCPU = 0

/** Where lines are dialled now. */
let network: PlayedLines | null = null

/** All lines of a run, and the hosts that they lead to: ports 1, 2 and so on. */
export class PlayedLines {
  readonly hosts: readonly PlayedHost[]
  /** Those that their gateways have not seen end, in the order in which they were dialled. */
  open: readonly PlayedLine[] = []
  /** Cut for the gateway; the host has not read what is in its socket. */
  #unread: readonly PlayedLine[] = []

  /** From now on, and until another is made, lines are dialled here. */
  constructor(hosts: number) {
    this.hosts = Array.from({ length: hosts }, () => new PlayedHost())
    network = this
  }

  dial(line: PlayedLine): PlayedHost {
    const host = this.hosts[line.target.port - 1]
    assert(host !== undefined, `nobody listens at port ${line.target.port}`)
    this.open = [...this.open, line]
    return host
  }

  hangUp(line: PlayedLine): void {
    this.open = this.open.filter((each) => each !== line)
  }

  /** Everything that is on its way has that chance to arrive, in the order of its line and direction. */
  flow(random: Random, chance: number): void {
    for (const line of this.open) {
      while (line.isOnItsWayUp && random.chance(chance)) line.arriveAtHost()
      while (line.isOnItsWayDown && random.chance(chance)) line.arriveAtGateway()
    }
    for (const line of this.#unread) {
      while (line.isOnItsWayUp && random.chance(chance)) line.arriveAtHost()
      if (!line.isOnItsWayUp) line.closeAtHost()
    }
    this.#unread = this.#unread.filter((line) => line.isOnItsWayUp)
  }

  /** The gateway learns of it at once; the host, too, or when it has read what was sent before. */
  cut(line: PlayedLine, hostReadsOn: boolean): void {
    if (hostReadsOn) this.#unread = [...this.#unread, line]
    else line.closeAtHost()
    line.closeAtGateway('link-lost')
  }
}

/** Both ends of a line: what the gateway sees of GuestLine, and what the host does with it. */
export class PlayedLine {
  readonly target: LineTarget
  readonly requests: FrameBatch
  readonly here = new Set<number>()
  readonly numbers = new Map<number, number>()
  readonly congested = false
  ready = false
  closed = false
  /** The host's end: what the gateway is called there, 0 before its hello; whether it heard that the vCPU is not there. */
  gateway = 0
  bounced = false
  readonly #listener: LineListener
  readonly #network: PlayedLines
  readonly #host: PlayedHost
  /** What happens when the things arrive that are on their way. */
  readonly #up: (() => void)[] = []
  #down: (() => void)[] = []
  #closedAtHost = false

  constructor(target: LineTarget, listener: LineListener) {
    assert(network !== null, 'lines are played')
    this.target = target
    this.#listener = listener
    this.#network = network
    this.#host = network.dial(this)
    this.requests = new FrameBatch(FRAME_TYPE.requests, (frame, sent) => {
      const entries = frame.slice(FRAME_HEADER_BYTES)
      this.#up.push(() => this.#host.onRequests(this, entries))
      sent()
    })
    this.#up.push(() => this.#host.onHello(this, target.gateway))
  }

  get isOnItsWayUp(): boolean {
    return this.#up.length > 0
  }

  get isOnItsWayDown(): boolean {
    return this.#down.length > 0
  }

  say(message: LineMessage): void {
    if (this.closed) return
    this.requests.flush()
    assert(message.type === 'number', `a gateway says '${message.type}'`)
    this.#up.push(() => this.#host.onNumber(this, message.gateway))
  }

  /** No line is silent for too long. */
  watch(): void {}

  close(): void {
    this.closed = true
    this.#network.hangUp(this)
    this.closeAtHost()
  }

  arriveAtHost(): void {
    const arrival = this.#up.shift()
    if (!this.#closedAtHost) arrival?.()
  }

  arriveAtGateway(): void {
    const arrival = this.#down.shift()
    if (!this.closed) arrival?.()
  }

  closeAtHost(): void {
    this.#closedAtHost = true
    this.#host.onClosed(this)
  }

  closeAtGateway(code: 'link-lost' | 'line-replaced'): void {
    this.#network.hangUp(this)
    this.#down = []
    if (this.closed) return
    this.closed = true
    this.#listener.onClosed(this.#self, new GodwitError(code, code))
  }

  // What the host says; the gateway hears it later.

  welcome(isHere: boolean): void {
    this.#down.push(() => {
      this.#listener.onWelcome(this.#self, FACTS)
      this.ready = true
      if (isHere) this.#hearHere()
    })
  }

  sayHere(): void {
    this.bounced = false
    this.#down.push(() => this.#hearHere())
  }

  /** Requests came back, or the vCPU has left. */
  sayAway(): void {
    this.#down.push(() => {
      this.here.delete(VCPU)
      this.#listener.onAway(this.#self, VCPU)
    })
  }

  sayNumbered(gateway: number): void {
    this.#down.push(() => this.#listener.onNumbered(this.#self, VCPU, gateway))
  }

  answer({ what, sequence, bytes }: ServiceAnswer): void {
    const kind = ANSWERS.indexOf(what)
    this.#down.push(() => this.#listener.onAnswer(this.#self, VCPU, kind, sequence, bytes, 0, bytes.length))
  }

  /** Another line of this gateway leads to the host: the last word on this one. */
  replace(): void {
    this.closeAtHost()
    this.#down.push(() => this.closeAtGateway('line-replaced'))
  }

  #hearHere(): void {
    this.here.add(VCPU)
    this.#listener.onHere(this.#self, VCPU)
  }

  /** The gateway knows of none but the real ones. */
  get #self(): GuestLine {
    return this as unknown as GuestLine
  }
}
