// One side of the exchange (R11, R25, R26, R28): answers asks, pushes, lets vCPUs cross, takes what comes, and puts right
// what a cut left undecided. No socket, thread or clock: exchange-thread.ts runs it for real, the explorer in a model.
//
//   asks, crossings, pushes ──► taken away ──revoke──► (handshake) ──quiet──► given: in flight ──applied──► theirs
//                                                                   no link: ours again    cut, not applied: ours again

import { GodwitError } from '../../errors.ts'
import type { VcpuState } from '../../guest/vcpus-port.ts'
import { ANSWER_PAGES, MAX_GENERATIONS_AHEAD, MAX_NEEDS, MAX_OWED } from '../../limits.ts'
import type { Crossing, GiveTable, RunsTable } from '../../wire/exchange-frames.ts'
import { type Batch, type CoreState, type Departure, inBatch, PLACE } from './core-state.ts'
import { Giver } from './giver.ts'
import { eachPage, eachRun, Ledger, type Unconfirmed } from './ledger.ts'
import { fillSpans } from './page-runs.ts'
import { beginPush, choosePush, isPushing, type PushWhat } from './push-choice.ts'
import { countReceived, countRuns } from './received.ts'
import type { Contents, ExchangeHost, ExchangeLink, ExchangePages, Window } from './sides.ts'

const ascending = (a: number, b: number): number => a - b
const asks = new Uint32Array(MAX_NEEDS)
/** Half a window with one handshake, which costs more than a batch does. */
const BATCHES_AT_ONCE = 2

export class ExchangeCore {
  readonly #state: CoreState
  readonly #ledger: Ledger
  readonly #pages: ExchangePages
  readonly #link: ExchangeLink
  readonly #host: ExchangeHost
  readonly #giver: Giver
  #window: Window
  /** The other side found that it has not what it was thought to have. */
  #distrusted = false

  constructor(state: CoreState, pages: ExchangePages, link: ExchangeLink, host: ExchangeHost) {
    this.#state = state
    this.#ledger = new Ledger(state.ledger)
    this.#pages = pages
    this.#link = link
    this.#host = host
    this.#giver = new Giver({ pages, link, host, ledger: this.#ledger })
    this.#window = host.window()
  }

  /** Something may come of looking again soon. */
  get restless(): boolean {
    const { linked, owed, departures, push, revoking } = this.#state
    if (revoking !== null) return false
    return (linked && (owed.length > 0 || departures.length > 0 || isPushing(push))) || this.#pages.unpublished
  }

  /** A link begins: what to say first on it. R23: nothing of an older link is read any more. */
  begin(): number {
    this.cut()
    return this.#ledger.tell()
  }

  /** The link is gone. Pages and vCPUs stay where they are; who was to cross and has not runs on meanwhile. */
  cut(): void {
    const { owed, owedMarks, early, departures, revoking } = this.#state
    this.#state.linked = false
    for (const { vcpu } of departures.splice(0)) this.#stay(vcpu)
    if (revoking !== null) this.#state.revoking = { ...revoking, departure: null }
    early.length = 0
    for (const page of owed) owedMarks[page] = 0
    owed.length = 0
  }

  /** The link ended because of what was given: what is taken back of it goes with its data next time. */
  distrust(): void {
    this.#distrusted = true
  }

  /** The vCPU stands still and is to cross. Throws `internal` unless it is here. */
  cross(vcpu: number, state: VcpuState): void {
    if (this.#state.places[vcpu] !== PLACE.here) throw new GodwitError('internal', `vCPU ${vcpu} is not here to cross`)
    if (!this.#state.linked) return this.#stay(vcpu)
    this.#state.places[vcpu] = PLACE.leaving
    this.#state.departures.push({ vcpu, state })
  }

  #stay(vcpu: number): void {
    this.#state.places[vcpu] = PLACE.here
    this.#host.cancelled(vcpu)
  }

  push(what: PushWhat): void {
    beginPush(this.#state.push, what)
  }

  /**
   * Tells the other side what vCPUs here ask for. A page that is about to be given is asked for behind the frame that gives it:
   * the other side takes no note of an ask for what it does not have.
   */
  ask(): void {
    const { linked, revoking, leaving, early } = this.#state
    if (!linked) return
    for (;;) {
      const taken = this.#pages.takeAsks(asks)
      if (taken === 0) return
      let count = 0
      for (let index = 0; index < taken; index++) {
        const page = asks[index] as number
        const given = revoking === null || leaving[page] === 0 || !inBatch(revoking, page)
        if (given) asks[count++] = page
        else early.push(page)
      }
      this.#host.count('asks', taken)
      if (count > 0) this.#link.ask(asks, count)
    }
  }

  #askEarly(): void {
    const { early } = this.#state
    while (early.length > 0) {
      const some = early.splice(0, MAX_NEEDS)
      asks.set(some)
      this.#link.ask(asks, some.length)
    }
  }

  /** Begins the next handshake if there is a reason for one. To be called after anything has happened. */
  pump(): void {
    const state = this.#state
    if (state.revoking !== null) return
    if (!state.linked || !this.#link.open) return this.#publish()
    this.#pages.lookAtWaiters()
    const asked = this.#takeOwed()
    const departure = this.#nextDeparture(asked.length > 0)
    const home = departure === null ? null : this.#takeHome(departure.vcpu + 1)
    const pushed = departure === null ? this.#takePush(asked.length > 0) : []
    if (asked.length + pushed.length === 0 && departure === null) return this.#publish()
    this.#revoke({ asked: asked.sort(ascending), pushed, home, departure })
  }

  /** The handshake has ended: nobody writes the pages any more. */
  quiet(): void {
    const batch = this.#state.revoking
    this.#state.revoking = null
    this.#pages.handshakeEnds()
    if (batch === null) return
    if (!this.#state.linked) return this.#keep(batch)
    // What it came from is told first: a page that has just come may be among those that go.
    this.acknowledge()
    this.#giver.give(batch.asked, 'asked')
    if (batch.departure !== null) this.#depart(batch.departure, batch.home)
    else {
      // A cut came between: who was to take them along stays, and they may lie behind a pass that is under way.
      if (batch.home !== null) this.#state.push.disturbed = true
      this.#keepHome(batch.home)
      const bytes = this.#giver.push(batch.pushed)
      if (bytes > 0) this.#window.sent(bytes, this.#host.now())
    }
    this.#askEarly()
    this.pump()
  }

  /** The handshake failed: the pages stay. */
  unquiet(): void {
    const batch = this.#state.revoking
    this.#state.revoking = null
    if (batch !== null) this.#keep(batch)
  }

  /** The first such frame of a link settles what was in flight, each later one confirms. Throws `bad-frame`. */
  onApplied(count: number): void {
    if (this.#state.linked) {
      this.#ledger.confirm(count, (frame) => this.#confirmed(frame, true))
      return
    }
    this.#window = this.#host.window()
    this.#ledger.settle(
      count,
      (frame) => this.#confirmed(frame, false),
      (frame) => this.#undone(frame),
    )
    this.#distrusted = false
    this.#pages.forgetAsks()
    this.#state.linked = true
  }

  /** Throws `unexpected-message` for a flood. */
  onAsk(wanted: Uint32Array): void {
    this.#requireLink()
    const { owed, owedMarks } = this.#state
    for (const page of wanted) {
      // What is not ours is on its way to whoever asks: the order of the stream makes it an answer.
      if (owedMarks[page] === 1 || !this.#pages.isMine(page)) continue
      owedMarks[page] = 1
      owed.push(page)
    }
    if (owed.length > MAX_OWED) throw new GodwitError('unexpected-message', `over ${MAX_OWED} pages asked for at once`)
    this.#window.fault()
  }

  /** Takes pages over: all of the frame or none. Throws `not-owner`, `bad-frame`, `bad-page`. */
  onGive(given: GiveTable, contents: Contents): void {
    this.#requireLink()
    this.#ledger.requireNext(given.number)
    for (let index = 0; index < given.count; index++) {
      this.#requireTheirs(given.pages[index] as number, given.generations[index] as number)
    }
    const wrong = this.#pages.place(given, contents)
    if (wrong >= 0) throw new GodwitError('bad-page', `page ${wrong} was given with a wrong seal`)
    for (let index = 0; index < given.count; index++) {
      this.#arrive(given.pages[index] as number, given.generations[index] as number, given.homes[index] as number)
    }
    this.#ledger.apply()
  }

  /** The same for pages without data. */
  onRuns({ number, sum, runs }: RunsTable): void {
    this.#requireLink()
    this.#ledger.requireNext(number)
    const { leaving, revoking } = this.#state
    const mayLeave = this.#ledger.inFlight || revoking !== null
    const refused = this.#pages.firstRefused(runs, mayLeave ? leaving : null)
    if (refused >= 0) this.#refuse(refused, runs)
    if (this.#pages.sumOf(runs) !== sum) throw new GodwitError('bad-page', 'pages were given that differ here')
    this.#pages.arriveRuns(runs)
    this.#state.push.disturbed = true
    countRuns(this.#host, runs)
    this.#ledger.apply()
  }

  onCross({ number, vcpu, generation, state }: Crossing): void {
    this.#requireLink()
    this.#ledger.requireNext(number)
    const { places, vcpuGenerations } = this.#state
    const known = vcpuGenerations[vcpu] as number
    if (places[vcpu] !== PLACE.there || generation <= known || generation > known + MAX_GENERATIONS_AHEAD) {
      throw new GodwitError('not-owner', `vCPU ${vcpu} came, generation ${generation}, but it is not the peer's`)
    }
    places[vcpu] = PLACE.here
    vcpuGenerations[vcpu] = generation
    this.#ledger.apply()
    this.#host.arrived(vcpu, state)
  }

  /** Tells the other side what has taken effect here. */
  acknowledge(): void {
    if (this.#state.linked && this.#ledger.untold) this.#link.applied(this.#ledger.tell())
  }

  #requireLink(): void {
    if (!this.#state.linked) throw new GodwitError('unexpected-message', 'a frame before the count that begins a link')
  }

  #refuse(page: number, runs: Uint32Array): void {
    eachRun(runs, (first, count, generation) => {
      if (page >= first && page < first + count) this.#requireTheirs(page, generation)
    })
    throw new GodwitError('internal', `page ${page} was refused for nothing`)
  }

  #requireTheirs(page: number, generation: number): void {
    if (this.#pages.isMine(page) || this.#state.leaving[page] === 1) {
      throw new GodwitError('not-owner', `page ${page} was given, which is not the peer's`)
    }
    const known = this.#pages.generationOf(page)
    if (generation > known && generation <= known + MAX_GENERATIONS_AHEAD) return
    throw new GodwitError('not-owner', `page ${page} was given in generation ${generation}, known is ${known}`)
  }

  #arrive(page: number, generation: number, home: number): void {
    this.#pages.arrive(page, generation, home)
    this.#state.push.disturbed = true
    countReceived(this.#host, 1, generation)
  }

  /** Takes away what the peer asked for, but for what vCPUs here wait for (R6): that is tried again. */
  #takeOwed(): number[] {
    const { owed, owedMarks, leaving } = this.#state
    const asked: number[] = []
    let kept = 0
    for (const page of owed) {
      const wait = asked.length >= ANSWER_PAGES || (this.#pages.isMine(page) && this.#pages.isAwaited(page))
      if (wait) {
        owed[kept++] = page
        continue
      }
      owedMarks[page] = 0
      if (!this.#pages.takeAway(page)) continue
      leaving[page] = 1
      asked.push(page)
    }
    owed.length = kept
    return asked
  }

  /** A crossing takes a while: asks go first, but not for ever. */
  #nextDeparture(asked: boolean): Departure | null {
    const [first = null] = this.#state.departures
    this.#state.yielded = first !== null && asked && !this.#state.yielded
    return this.#state.yielded ? null : first
  }

  /** Clean pages that the vCPU used last: they cross with it. */
  #takeHome(home: number): Uint32Array {
    const spans = this.#pages.takeHome(home)
    fillSpans(this.#state.leaving, 1, spans)
    return spans
  }

  /** `giving`: pages that were asked for are about to go. */
  #takePush(giving: boolean): number[] {
    const { push, leaving } = this.#state
    if (!isPushing(push) || !this.#window.room() || !this.#host.mayPush()) return []
    const { list, nothingLeft } = choosePush(
      push,
      this.#pages,
      BATCHES_AT_ONCE * this.#window.batchPages(),
      this.#host.now(),
    )
    for (const page of list) leaving[page] = 1
    if (nothingLeft && !giving && !push.drained && !this.#ledger.inFlight) {
      // What comes from now on is pushed back.
      push.drained = true
      this.#host.drained()
    }
    return list
  }

  #publish(): void {
    if (this.#pages.unpublished) this.#revoke({ asked: [], pushed: [], home: null, departure: null })
  }

  #revoke(batch: Batch): void {
    this.#state.revoking = batch
    this.#pages.handshakeBegins()
    this.#host.revoke()
  }

  /** Nothing was sent: the pages have never been away. */
  #keep({ asked, pushed, home }: Batch): void {
    this.#state.push.disturbed = true
    this.#state.early.length = 0
    for (const page of asked) this.#keepPage(page)
    for (const page of pushed) this.#keepPage(page)
    this.#keepHome(home)
  }

  #keepPage(page: number): void {
    this.#state.leaving[page] = 0
    this.#pages.bringBack(page, false)
  }

  #keepHome(home: Batch['home']): void {
    for (let at = 0; home !== null && at < home.length; at += 2) {
      for (let left = home[at + 1] as number, page = home[at] as number; left > 0; left--) this.#keepPage(page++)
    }
  }

  #depart({ vcpu, state }: Departure, home: Uint32Array | null): void {
    if (home !== null) {
      const { inside, outside } = this.#pages.splitStale(home)
      this.#giver.giveSpans(inside, vcpu + 1)
      this.#giver.give(outside, 'pushed')
    }
    const { departures, vcpuGenerations } = this.#state
    departures.shift()
    const generation = (vcpuGenerations[vcpu] as number) + 1
    vcpuGenerations[vcpu] = generation
    this.#link.cross({ number: this.#ledger.nextNumber, vcpu, generation, state })
    this.#ledger.sent({ kind: 'vcpu', vcpu })
  }

  #confirmed(frame: Unconfirmed, sameLink: boolean): void {
    const { leaving, places } = this.#state
    if (frame.kind === 'vcpu') {
      places[frame.vcpu] = PLACE.there
      this.#host.crossed(frame.vcpu)
      return
    }
    if (frame.kind === 'runs') fillSpans(leaving, 0, frame.runs, 4)
    else for (const page of frame.pages) leaving[page] = 0
    if (frame.closesPush && sameLink) this.#window.acked(this.#host.now())
  }

  /** R25, R26: it never happened. */
  #undone(frame: Unconfirmed): void {
    const { leaving, vcpuGenerations } = this.#state
    if (frame.kind === 'vcpu') {
      vcpuGenerations[frame.vcpu] = (vcpuGenerations[frame.vcpu] as number) - 1
      return this.#stay(frame.vcpu)
    }
    // A pass that is under way may be past them.
    this.#state.push.disturbed = true
    eachPage(frame, (page, withData) => {
      leaving[page] = 0
      this.#pages.setGeneration(page, this.#pages.generationOf(page) - 1)
      this.#pages.bringBack(page, withData || this.#distrusted)
    })
  }
}
