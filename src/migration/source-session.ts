// The source's side of one migration: prepare → reserve → iterate → stop → commit → activate. Owns the guest while it
// runs, and always ends with a report that says who may run the guest. Ownership decisions are those of
// commit-machine.ts; this file carries out their actions.

import { GodwitError } from '../errors.ts'
import { publish } from '../events.ts'
import { addBitmap, countBits } from '../guest/page-set.ts'
import { resetDigest } from '../kernels/kernels.ts'
import { abortOf, type MessageOf } from '../wire/messages.ts'
import { type SourceState, sourceMayRun } from './commit-machine.ts'
import { CommitWait, reportLoss } from './commit-wait.ts'
import { freeze } from './freeze.ts'
import type { Inbox } from './inbox.ts'
import { learnCopy } from './kept-copy.ts'
import { NeighbourLearner } from './neighbours.ts'
import { PageServer } from './page-server.ts'
import type { ControlLink, PageSource } from './ports.ts'
import { precopy, selectEverything } from './precopy.ts'
import { auditPages, requireProven, warmProof } from './proof.ts'
import { isPulledWhole, recordFaults } from './pulled.ts'
import type { MigrationReport, StopReason } from './report.ts'
import { ReportBuilder } from './report-builder.ts'
import { watchRound } from './round-watch.ts'
import { type MigrationSettings, pulls, refersToOthers, shares, wholeAtSwitch } from './settings.ts'
import { SoftSource } from './soft/soft-source.ts'
import type { SourceContext, SourceWorld } from './source-context.ts'
import { SourceLinks } from './source-links.ts'
import { SourceOwnership } from './source-ownership.ts'
import { recordDowntime, type SwitchTimes } from './switch-times.ts'
import { resetPushOrder } from './transfer/push-order.ts'

const USAGE_WAIT_MS = 1000
/**
 * Without rounds the pause would follow at once on what the move has just started: threads, event streams, an agent that
 * tells its listeners. They come to rest first, for they would take the processor in the pause.
 */
const CALM_MS = 50
/** A reason that was sent before the channels were closed arrives within this. */
const REASON_WAIT_MS = 500

export class SourceSession {
  readonly #world: SourceWorld
  readonly #report: ReportBuilder
  readonly #interrupt = new AbortController()
  readonly #interrupted: Promise<never>
  readonly #ownership: SourceOwnership
  #stopRequested = false
  readonly #links = new SourceLinks()
  #inDowntimeFrom = 0
  #inDowntimeTo = 0
  #server: PageServer | null = null
  #soft: SoftSource | null = null
  readonly #wait: CommitWait
  #sameHost = false
  readonly #handshakesBefore: { count: number; totalMs: number }

  /** `stepsPerSecondBefore`: the guest's own rate, for the slowdown. */
  constructor(world: SourceWorld, stepsPerSecondBefore = 0) {
    this.#world = world
    this.#ownership = new SourceOwnership(world)
    this.#handshakesBefore = { ...world.vcpus.handshakes }
    const head = { id: world.id, guest: world.guest, names: world.names, settings: world.settings }
    this.#report = new ReportBuilder(head, () => world.clock.now())
    this.#report.facts.slowdown.before = stepsPerSecondBefore
    this.#wait = new CommitWait(world, this.#links, this.#ownership, this.#report)
    this.#interrupted = new Promise((_, reject) => {
      this.#interrupt.signal.addEventListener('abort', () => reject(this.#interrupt.signal.reason), { once: true })
    })
    this.#interrupted.catch(() => {})
    world.crashed.catch((error) => this.#stop(GodwitError.from(error, 'guest-crashed')))
  }

  get state(): SourceState {
    return this.#ownership.state
  }

  /** R24: works until *released* is written; later it throws `too-late`. The guest runs on at full speed. */
  cancel(): void {
    const why = new GodwitError('cancelled', 'the migration was cancelled')
    if (this.#soft?.cancel(why) === true) return
    if (!this.#ownership.mayGiveUp) {
      // It was given up already: the guest stays, and only the links are still to be closed.
      if (sourceMayRun(this.#ownership.state)) return
      const hint = 'migrate it back instead'
      throw new GodwitError('too-late', 'the guest has been given to the destination', { hint })
    }
    this.#stop(why)
  }

  /** Why the pull is paused; null while there is none or its link is up. */
  get paused(): string | null {
    return this.#server?.paused ?? this.#soft?.paused ?? null
  }

  /** R22: the operator's decision about a guest that was being pulled, already found to be allowed. */
  decide(what: 'abandon' | 'take-stale'): void {
    this.#ownership.apply(what)
    this.#server?.end()
    this.#soft?.end(new GodwitError('lost', 'the operator gave up a guest that both hosts ran'))
  }

  /** Ends a pull phase: the process is about to go, and the pages that were still to come with it. */
  close(): void {
    this.#server?.end()
    this.#soft?.end(new GodwitError('lost', 'the source was ended while both hosts ran the guest'))
  }

  /** Asks pre-copy to stop after the round under way, whatever the stop rule says. */
  switchNow(): void {
    this.#stopRequested = true
  }

  /** Runs the migration. Never rejects: whatever happens is in the report. */
  async run(): Promise<MigrationReport> {
    const { settings, clock } = this.#world
    if (settings.timeout !== null) {
      const late = new GodwitError('timeout', `the migration took longer than ${settings.timeout} ms`)
      const over = clock.sleep(settings.timeout, this.#interrupt.signal)
      over.then(this.#stop.bind(this, late)).catch(() => {})
    }
    try {
      const context = await this.#connect()
      const { stopReason, predictedDowntimeMs, nextRound } = await this.#iterate(context)
      this.#report.facts.stopReason = stopReason
      this.#report.facts.downtimePredictedMs = predictedDowntimeMs
      if (this.#soft === null) await this.#switchOver(context, nextRound)
      else if (await this.#soft.run(nextRound)) await this.#discard(context)
    } catch (thrown) {
      await this.#abandon(GodwitError.from(thrown))
    } finally {
      this.#interrupt.abort(new GodwitError('cancelled', 'the session is over'))
      this.#recordTraffic()
      await this.#soft?.close()
      await this.#links.close()
    }
    const report = this.#report.build()
    publish({ type: 'ended', migration: report.id, outcome: report.outcome })
    return report
  }

  async #connect(): Promise<SourceContext> {
    const world = this.#world
    resetDigest(world.memory)
    warmProof(world.memory, world.kernels)
    await this.#orInterrupt(world.prepare())
    this.#report.enter('reserve')
    const reserving = world.reserve(this.#interrupt.signal)
    const { control, pages, sameHost } = await this.#orInterrupt(reserving).catch((error) => {
      // Links that arrive after the interruption must not outlive it.
      reserving.then((late) => Promise.all([late.control.close(), late.pages.close()])).catch(() => {})
      throw error
    })
    const inbox = this.#links.use(control)
    this.#links.usePages(pages)
    this.#ownership.control = control
    inbox.ended.then((error) => {
      if (this.#ownership.mayGiveUp) this.#stop(error)
    })
    // A destination that gives up closes its page channels, too: its reason, on the control link, comes first.
    pages.failed.catch(async (error) => {
      await world.clock.sleep(REASON_WAIT_MS, this.#interrupt.signal).catch(() => {})
      if (this.#ownership.mayGiveUp) this.#stop(GodwitError.from(error, 'link-lost'))
    })
    this.#sameHost = sameHost
    const learner = refersToOthers(world.settings) ? new NeighbourLearner() : null
    const copy = await this.#orInterrupt(
      learnCopy(inbox, world.memory, wholeAtSwitch(world.settings.movement), learner),
    )
    const foreign = await this.#orInterrupt(learner?.index(() => world.breathe()) ?? Promise.resolve(null))
    if (foreign !== null) pages.share(foreign)
    const context = this.#makeContext(control, pages, inbox, copy)
    resetPushOrder(world.memory)
    if (pulls(world.settings.movement)) this.#server = new PageServer(context, this.#links, this.#ownership)
    if (shares(world.settings.movement)) this.#soft = new SoftSource(context, this.#links, this.#ownership)
    return context
  }

  #makeContext(control: ControlLink, pages: PageSource, inbox: Inbox, copy: boolean): SourceContext {
    const world = this.#world
    const context: SourceContext = {
      ...world,
      report: this.#report,
      pages,
      control,
      hashing: world.settings.verify === 'digest',
      copy,
      slowestHandshakeMs: 0,
      placed: (round) => this.#placed(inbox, round),
      orInterrupt: (promise) => this.#orInterrupt(promise),
      sameHost: () => this.#sameHost,
      fixedMs: () => context.slowestHandshakeMs + 3 * control.roundTripMs + 1,
      stopRequested: () => this.#stopRequested,
      watchProgress: (begin) => watchRound(context, begin),
    }
    return context
  }

  /** R12: what could not be made from a reference is dirty again. */
  #placed(inbox: Inbox, round: number): Promise<MessageOf<'placed'>> {
    const { memory } = this.#world
    const placed = inbox
      .next('placed', (message) => message.round === round)
      .then((message) => {
        if (message.missing !== null) addBitmap(memory, memory.layout.dirty, message.missing, 'destination')
        return message
      })
    // Whoever asked may have given up by then.
    placed.catch(() => {})
    return placed
  }

  async #iterate(
    context: SourceContext,
  ): Promise<{ stopReason: StopReason; predictedDowntimeMs: number; nextRound: number }> {
    this.#report.enter('iterate')
    const { vcpus, clock, settings } = context
    const stepsBefore = vcpus.steps()
    const startedAt = clock.now()
    try {
      const { movement, maxRounds } = settings
      await this.#soft?.begin()
      const rounds = movement === 'pre-copy' || ((movement === 'hybrid' || movement === 'soft') && maxRounds > 0)
      if (rounds) return await precopy(context)
      await selectEverything(context)
      await context.orInterrupt(clock.sleep(CALM_MS))
      return { stopReason: 'requested', predictedDowntimeMs: 0, nextRound: 0 }
    } finally {
      const seconds = (clock.now() - startedAt) / 1000
      if (seconds > 0) this.#report.facts.slowdown.during = (vcpus.steps() - stepsBefore) / seconds
    }
  }

  async #switchOver(context: SourceContext, round: number): Promise<void> {
    const { pages, control, settings } = context
    this.#report.enter('stop')
    this.#inDowntimeFrom = pages.bytes.sent + control.bytes.sent
    this.#ownership.apply('stop')
    this.#limitSwitchover(settings)
    const frozen = await freeze(context, round)
    this.#report.enter('commit')
    const { inbox } = this.#links
    const prepared = await context.orInterrupt(inbox.next('prepared'))
    const preparedAt = context.clock.now()
    const proven = prepared.digest === frozen.digest
    // What is still to be pulled is in neither: only the end of the pull is a proof over all memory.
    if (frozen.digest !== null && !(proven && this.#server !== null)) this.#report.facts.checks.digest = proven
    requireProven(prepared.digest, frozen.digest)
    this.#ownership.apply('prepared')
    this.#report.facts.owner = 'nobody'
    // R22: from here on the source is a page server, whether it has heard that the guest runs or not.
    this.#server?.begin()
    const active = await this.#wait.active()
    if (active === null) return
    this.#report.enter('activate')
    const times: SwitchTimes = { ...frozen, preparedAt, digestMs: prepared.digestMs, activateMs: active.activateMs }
    recordDowntime(this.#report, context, times, active.leftAt, this.#sameHost)
    this.#inDowntimeTo = this.#links.bytes().sent
    if (this.#server !== null && !(await this.#servePages(context, this.#server))) return
    await this.#discard(context)
  }

  /** The pull phase. False: the guest is lost, or its operator took it. */
  async #servePages(context: SourceContext, server: PageServer): Promise<boolean> {
    this.#report.enter('pull')
    const { facts } = this.#report
    const startedAt = context.clock.now()
    const { layout } = context.memory
    facts.pull.pages = countBits(context.memory, layout.dirty)
    // Without rounds every page that is not pulled is one that is free.
    if (this.#report.rounds.length === 0) this.#report.leftOut(layout.pageCount - facts.pull.pages)
    const complete = await server.serve(this.#links.controls === 1)
    const { zeroPages, ...counts } = server.counts
    const residualDependencyMs = context.clock.now() - startedAt
    facts.pull = { ...facts.pull, ...counts, recoveries: server.recoveries, residualDependencyMs }
    facts.pulledZeroPages = zeroPages
    if (this.state === 'serving') {
      const error = new GodwitError('lost', 'the source was ended while the destination still needed its pages', {
        hint: "give it up at the destination's agent: godwit resolve GUEST --abandon",
      })
      this.#report.fail(error, 'lost')
      return false
    }
    if (this.state !== 'done') {
      reportLoss(this.#report, this.state)
      return false
    }
    facts.owner = 'destination'
    facts.outcome = 'completed'
    if (complete === null) return true
    recordFaults(facts, complete)
    if (context.settings.verify !== 'none') facts.checks.digest = isPulledWhole(context, complete)
    return true
  }

  /** R19: whoever asked for stop-and-copy asked for a long pause; else no pause may be much longer than was aimed at. */
  #limitSwitchover({ switchoverTimeout, movement, downtimeTarget }: MigrationSettings): void {
    if (switchoverTimeout === null && movement === 'stop-and-copy') return
    const limit = switchoverTimeout ?? Math.max(1000, 10 * downtimeTarget)
    const hint = 'raise --switchover-timeout or --downtime-target, or lower the load of the guest'
    const late = new GodwitError('switchover-timeout', `the switchover took longer than ${limit} ms`, { hint })
    const over = this.#world.clock.sleep(limit, this.#interrupt.signal)
    over.then(this.#giveUp.bind(this, late)).catch(() => {})
  }

  /**
   * R18: goes on asking after a report of `unreconciled`, until the destination or its agent has spoken or the signal
   * aborts; then `state` says what came of it. The world must still take redials.
   */
  async settle(signal: AbortSignal): Promise<void> {
    const end = (): void => {
      this.#server?.end()
      this.#links.control?.close()
    }
    signal.addEventListener('abort', end, { once: true })
    await this.#wait.settle(signal)
    // A destination that was out of reach may run and need its pages.
    if (this.state === 'serving') await this.#server?.serve(false)
    this.#links.control?.close()
  }

  /** R16: audits the frozen memory, then lets the destination go on alone. */
  async #discard(context: SourceContext): Promise<void> {
    const { memory, kernels, settings } = context
    const facts = this.#report.facts
    if (settings.verify === 'digest') {
      const differing = await auditPages(
        memory,
        kernels,
        () => context.breathe(),
        this.#server === null ? null : memory.layout.dirty,
      )
      facts.checks.audit = differing.length === 0
      if (differing.length > 0) {
        const pages = differing.join(', ')
        const error = new GodwitError('audit-failed', `pages changed without being tracked: ${pages}`, {
          hint: 'the source memory is kept for inspection; the program wrote past its accessors',
        })
        this.#report.fail(error, 'completed')
      }
    }
    const usage = await Promise.race([
      this.#links.inbox.next('usage').catch(() => null),
      context.clock.sleep(USAGE_WAIT_MS).then(() => null),
    ])
    if (usage !== null) {
      facts.resources.destinationCpuMs = usage.cpuMs
      facts.resources.destinationRssPeak = usage.rssPeak
      facts.slowdown.after = usage.stepsPerSecond ?? 0
    }
    this.#report.stopClock()
  }

  /** Everything that ends an attempt before the commit point: the guest runs on at the source, nothing is lost. */
  async #abandon(error: GodwitError): Promise<void> {
    const paused = this.#ownership.state === 'paused'
    if (this.#ownership.mayGiveUp) this.#ownership.apply('give-up')
    await this.#soft?.letRun().catch(() => {})
    this.#report.fail(error, error.code === 'cancelled' ? 'cancelled' : 'failed')
    try {
      // R19: a destination that is prepared forgets on this word only; to any other it says nothing.
      if (paused) this.#links.control?.send({ type: 'not-released', epoch: this.#world.epoch })
      this.#links.control?.send(abortOf(error, 'source'))
    } catch {
      // The link is gone; the destination sees the cut.
    }
  }

  #stop(error: GodwitError): void {
    // R24: behind its switch soft comes home.
    if (error.code !== 'guest-crashed' && this.#soft?.cancel(error) === true) return
    if (!this.#interrupt.signal.aborted) this.#interrupt.abort(error)
  }

  #giveUp(error: GodwitError): void {
    if (this.#ownership.state === 'paused') this.#stop(error)
  }

  #orInterrupt<T>(promise: Promise<T>): Promise<T> {
    return Promise.race([promise, this.#interrupted])
  }

  #recordTraffic(): void {
    const { bytes } = this.#report.facts
    Object.assign(bytes, this.#links.bytes())
    bytes.sent += this.#soft?.bytes.sent ?? 0
    bytes.received += this.#soft?.bytes.received ?? 0
    if (this.#ownership.state === 'done') bytes.inDowntime = Math.max(0, this.#inDowntimeTo - this.#inDowntimeFrom)
    const { count, totalMs, maxMs } = this.#world.vcpus.handshakes
    const before = this.#handshakesBefore
    const spentMs = totalMs - before.totalMs
    this.#report.facts.handshakes = { count: count - before.count, totalMs: spentMs, maxMs: Math.min(maxMs, spentMs) }
    const { cpuMs, rssPeak } = this.#world.usage()
    this.#report.facts.resources.sourceCpuMs = cpuMs
    this.#report.facts.resources.sourceRssPeak = rssPeak
  }
}
