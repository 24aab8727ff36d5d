// The commands to the vCPUs of one guest, each executed once wherever its vCPU runs (R30, R31). A lane for each vCPU keeps what
// is unanswered; lines lead to the processes that the guest may be in. A lane is bound to the line that said last that its
// vCPU is there, and sends everything unanswered to it, in order. Used by the gateway's RESP front.
//
//   unbound ──a line says here──► bound, open ──not-here, gone──► bound, shut: late answers are taken ──here anywhere──► open
//                                      │  ▲                            │
//                                busy, │  │ a moment later,            └── its line is lost ──► unbound
//                         out-of-order ▼  │ from the oldest on
//                                     resting

import { randomBytes } from 'node:crypto'
import { isIP } from 'node:net'
import { GodwitError } from '../errors.ts'
import { Patience } from '../guest/patience.ts'
import type { ServiceAnswer } from '../guest/program.ts'
import { ANSWERS } from '../guest/service-ports.ts'
import { ACKNOWLEDGE_MS, GATEWAY_REFUSED_REST_MS, GATEWAY_REST_MS, GATEWAY_TICK_MS, LOCATE_MS } from '../limits.ts'
import type { Request } from '../programs/kv/request.ts'
import type { GuestFacts } from '../wire/line-messages.ts'
import type { Backend, ReplyTaker } from './backend.ts'
import { GuestLine, type LineListener } from './guest-line.ts'
import { Lane } from './lane.ts'
import { type Address, Places } from './places.ts'

export interface BackendOptions {
  /** Name or id. */
  readonly guest: string
  readonly vcpus: number
  /** Asked at the beginning, and whenever a vCPU is nowhere for a while: where lines lead to the guest. */
  readonly locate: () => Promise<readonly Address[]>
}

/** A lane and where it leads now. */
interface Route {
  readonly lane: Lane
  /** Whose answers are taken. */
  line: GuestLine | null
  /** Whether requests may be sent there. */
  open: boolean
  /** Nothing is sent before this, performance.now(); 0: at any time. */
  restsUntil: number
  sentAt: number
  /** Since when the vCPU is nowhere. */
  lostAt: number
  /** The guest has no place for the lane, and is asked again when this is over. */
  asking: NodeJS.Timeout | null
}

const REPLY = ANSWERS.indexOf('reply')
const LOOPBACK = /^(localhost|127\.|::1$)/

const newNumber = (): number => randomBytes(4).readUInt32LE() || 1

export class GuestBackend implements Backend, LineListener {
  readonly vcpus: number
  readonly #options: BackendOptions
  /** What it says in its hellos; lanes whose session was forgotten have others. */
  readonly #number = newNumber()
  readonly #routes: readonly Route[]
  readonly #places: Places
  readonly #placesListeners: (() => void)[] = []
  readonly #drainListeners: (() => void)[] = []
  readonly #tick: NodeJS.Timeout
  readonly #patience = new Patience(GATEWAY_TICK_MS)
  /** Of the turn: by which commands are held (R31), without what the gateway itself stood still, ms; and ms since 1970. */
  #heldMs = 0
  #wallMs = 0
  #flushing = false
  #resting: NodeJS.Timeout | null = null
  #locating = false
  #locatedAt = 0
  /** Lanes of which somebody was told that they are full. */
  readonly #full = new Set<Lane>()
  #closed = false

  constructor(options: BackendOptions) {
    this.#options = options
    this.vcpus = options.vcpus
    const now = performance.now()
    this.#routes = Array.from({ length: options.vcpus }, (_, vcpu) => ({
      lane: new Lane(vcpu, this.#number),
      ...{ line: null, open: false, restsUntil: 0, sentAt: 0, lostAt: now, asking: null },
    }))
    const { guest } = options
    this.#places = new Places((address) => new GuestLine({ ...address, guest, gateway: this.#number }, this))
    this.#tick = setInterval(() => this.#onTick(), GATEWAY_TICK_MS)
    void this.#locate(now)
  }

  get waiting(): number {
    return this.#routes.reduce((sum, { lane }) => sum + lane.waiting, 0)
  }

  send(vcpu: number, request: Request, taker: ReplyTaker, tag: number): void {
    const route = this.#routes[vcpu]
    if (route === undefined) throw new GodwitError('internal', `there is no vCPU ${vcpu}`)
    if (this.#closed) return taker.onFailure(tag, 'unreachable')
    this.#flushSoon()
    route.lane.add(request, taker, tag, this.#heldMs, this.#wallMs)
  }

  isFull(vcpu: number): boolean {
    const lane = this.#routes[vcpu]?.lane
    if (!lane?.full) return false
    this.#full.add(lane)
    return true
  }

  onDrain(listener: () => void): void {
    this.#drainListeners.push(listener)
  }

  place(vcpu: number): Address | null {
    const route = this.#routes[vcpu]
    if (!route?.open || route.line === null) return null
    const { host, port } = route.line.target
    return { host, port }
  }

  onPlaces(listener: () => void): void {
    this.#placesListeners.push(listener)
  }

  /** Tells the backend of an address where the guest may be; lines that are open say the same. */
  name(address: Address): void {
    if (!this.#closed) this.#places.name(address, performance.now())
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    clearInterval(this.#tick)
    if (this.#resting !== null) clearTimeout(this.#resting)
    this.#places.close()
    for (const { lane, asking } of this.#routes) {
      if (asking !== null) clearTimeout(asking)
      lane.fail()
    }
  }

  onWelcome(line: GuestLine, { vcpus, name }: GuestFacts): void {
    if (vcpus !== this.vcpus) throw new GodwitError('no-such-guest', `guest ${name} has ${vcpus} vCPUs`)
    this.#places.onReady(line)
    for (const { lane } of this.#routes) this.#sayNumber(line, lane)
  }

  onHere(line: GuestLine, vcpu: number): void {
    const route = this.#routes[vcpu]
    // With another number than the hello's it waits for the guest to know it.
    if (route !== undefined && numberOf(line, vcpu) === route.lane.number) this.#bind(route, line)
  }

  onAway(line: GuestLine, vcpu: number): void {
    const route = this.#routes[vcpu]
    if (route === undefined || route.line !== line || !route.open) return
    route.open = false
    this.#goElsewhere(route)
  }

  onNumbered(line: GuestLine, vcpu: number, gateway: number): void {
    const route = this.#routes[vcpu]
    if (route === undefined || route.lane.number !== gateway) return
    line.numbers.set(vcpu, gateway)
    if (line.here.has(vcpu)) this.#bind(route, line)
  }

  /** A loopback address is one of the host that names it. */
  onElsewhere(line: GuestLine, host: string, port: number): void {
    this.name({ host: LOOPBACK.test(host) && isIP(line.target.host) !== 0 ? line.target.host : host, port })
  }

  onAnswer(
    line: GuestLine,
    vcpu: number,
    kind: number,
    sequence: number,
    payload: Uint8Array,
    at: number,
    length: number,
  ): void {
    const route = this.#routes[vcpu]
    if (route === undefined || route.line !== line) return
    const { lane } = route
    if (kind === REPLY) {
      if (lane.onAnswer(sequence, payload, at, length) && lane.hasUnsent) this.#flushSoon()
    } else if (lane.isUnderWay(sequence)) this.#onRefusal(route, ANSWERS[kind] as ServiceAnswer['what'], sequence)
  }

  onRoom(): void {
    this.#flushSoon()
  }

  onClosed(line: GuestLine, { code }: GodwitError): void {
    if (this.#closed) return
    const why = code === 'no-such-guest' ? 'not-guest' : code === 'line-replaced' ? 'replaced' : 'lost'
    this.#places.onClosed(line, performance.now(), why)
    for (const route of this.#routes) {
      if (route.line !== line) continue
      route.line = null
      route.open = false
      this.#goElsewhere(route)
    }
  }

  /** Everything unanswered goes there, in order. */
  #bind(route: Route, line: GuestLine): void {
    if (route.line === line && route.open) return
    route.line = line
    route.open = true
    route.restsUntil = 0
    route.lane.rewind()
    this.#flushSoon()
    this.#tellPlaces()
  }

  /** Another line may have said before that it has the vCPU. */
  #goElsewhere(route: Route): void {
    const { vcpu, number } = route.lane
    route.lostAt = performance.now()
    const other = this.#places.lines().find((line) => line.here.has(vcpu) && numberOf(line, vcpu) === number)
    if (other === undefined) this.#tellPlaces()
    else this.#bind(route, other)
  }

  #onRefusal(route: Route, what: ServiceAnswer['what'], sequence: number): void {
    const { lane } = route
    const now = performance.now()
    if (what === 'busy' || what === 'out-of-order') {
      if (what === 'busy' && route.restsUntil === 0) lane.narrow()
      // Behind the last of a round of them everything is sent again.
      route.restsUntil = now + GATEWAY_REST_MS
      this.#restSoon()
      return
    }
    route.open = false
    route.lostAt = now
    const renumber = (): void => {
      for (const line of this.#places.lines()) this.#sayNumber(line, lane)
    }
    if (what === 'refused') {
      lane.refuse(newNumber(), this.#patience.countedNowMs)
      // A line that was dialled meanwhile has asked, too: from there on both go on together.
      route.asking ??= setTimeout(() => {
        route.asking = null
        renumber()
      }, GATEWAY_REFUSED_REST_MS)
    } else {
      lane.restart(newNumber(), sequence)
      renumber()
    }
    this.#tellPlaces()
  }

  #sayNumber(line: GuestLine, { vcpu, number }: Lane): void {
    if (numberOf(line, vcpu) !== number) line.say({ type: 'number', vcpu, gateway: number })
  }

  #restSoon(): void {
    this.#resting ??= setTimeout(() => {
      this.#resting = null
      const now = performance.now()
      for (const route of this.#routes) {
        if (route.restsUntil === 0) continue
        if (route.restsUntil > now) {
          this.#restSoon()
          continue
        }
        route.restsUntil = 0
        route.lane.rewind()
        this.#flushSoon()
      }
    }, GATEWAY_REST_MS)
  }

  #flushSoon(): void {
    if (this.#flushing || this.#closed) return
    this.#flushing = true
    this.#heldMs = this.#patience.countedNowMs
    this.#wallMs = Date.now()
    setImmediate(() => this.#flush())
  }

  /** Once in a turn of the event loop: what all lanes have to send, in one frame for each line or a few. */
  #flush(): void {
    this.#flushing = false
    if (this.#closed) return
    for (const route of this.#routes) {
      const { lane, line } = route
      if (!route.open || line === null || route.restsUntil > 0 || !lane.hasUnsent || line.congested) continue
      if (lane.fill(line.requests)) route.sentAt = this.#heldMs
    }
    for (const { line } of this.#routes) line?.requests.flush()
    this.#tellDrain()
  }

  #onTick(): void {
    const passedMs = this.#patience.look()
    const now = performance.now()
    const heldMs = this.#patience.countedMs
    for (const route of this.#routes) {
      const { lane, line } = route
      if (lane.isBusy) lane.expire(heldMs)
      const quiet = heldMs - route.sentAt >= ACKNOWLEDGE_MS
      if (lane.owesAcknowledgement && quiet && route.open && line !== null) {
        lane.acknowledge(line.requests)
        line.requests.flush()
      }
    }
    this.#places.tick(now, passedMs)
    this.#tellDrain()
    if (this.#routes.some(({ open, lostAt }) => !open && now - lostAt >= LOCATE_MS)) void this.#locate(now)
  }

  async #locate(now: number): Promise<void> {
    if (this.#locating || (this.#locatedAt > 0 && now - this.#locatedAt < 2 * LOCATE_MS)) return
    this.#locating = true
    try {
      for (const address of await this.#options.locate()) this.name(address)
    } catch {
      // Nobody could be asked: the next tick does it again.
    } finally {
      this.#locating = false
      this.#locatedAt = performance.now()
    }
  }

  #tellPlaces(): void {
    for (const listener of this.#placesListeners) listener()
  }

  /** Whoever waits for one lane does not wait for the others. */
  #tellDrain(): void {
    if (this.#full.size === 0) return
    const before = this.#full.size
    for (const lane of this.#full) if (!lane.full) this.#full.delete(lane)
    if (this.#full.size === before) return
    for (const listener of this.#drainListeners) listener()
  }
}

/** The number that the other end knows the gateway by, for that vCPU. */
const numberOf = (line: GuestLine, vcpu: number): number => line.numbers.get(vcpu) ?? line.target.gateway
