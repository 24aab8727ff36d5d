// The source's side of one migration: prepare → reserve → iterate → stop → commit → activate. Owns the guest while it
// runs, and always ends with a report that says who may run the guest. Ownership decisions are those of
// commit-machine.ts; this file carries out their actions.

import { GodwitError } from '../errors.ts'
import { publish } from '../events.ts'
import { saveFree } from '../guest/free-map.ts'
import { resetDigest } from '../kernels/kernels.ts'
import { abortOf } from '../wire/messages.ts'
import type { SourceState } from './commit-machine.ts'
import type { Inbox } from './inbox.ts'
import type { ControlLink, PageSource } from './ports.ts'
import { harvestPaused, precopy, selectEverything } from './precopy.ts'
import { auditPages, switchDigest, warmProof } from './proof.ts'
import type { MigrationReport, StopReason } from './report.ts'
import { ReportBuilder } from './report-builder.ts'
import { watchRound } from './round-watch.ts'
import type { MigrationSettings } from './settings.ts'
import type { SourceContext, SourceWorld } from './source-context.ts'
import { SourceLinks } from './source-links.ts'
import { SourceOwnership } from './source-ownership.ts'
import { type FrozenTimes, recordDowntime, type SwitchTimes } from './switch-times.ts'

/** How long a released guest may be in doubt before the report says `unreconciled`; reconciling goes on after it. */
const DOUBT_MS = 10_000
/** A lost link: how long a redial is awaited before the destination's agent is asked again. */
const REDIAL_WAIT_MS = 1000
const USAGE_WAIT_MS = 1000
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
    if (!this.#ownership.mayGiveUp) {
      throw new GodwitError('too-late', 'the guest already belongs to the destination', {
        hint: 'migrate it back instead',
      })
    }
    this.#stop(new GodwitError('cancelled', 'the migration was cancelled'))
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
      clock.sleep(settings.timeout, this.#interrupt.signal).then(
        () => this.#stop(late),
        () => {},
      )
    }
    try {
      const context = await this.#connect()
      const { stopReason, predictedDowntimeMs, nextRound } = await this.#iterate(context)
      this.#report.facts.stopReason = stopReason
      this.#report.facts.downtimePredictedMs = predictedDowntimeMs
      await this.#switchOver(context, nextRound)
    } catch (thrown) {
      await this.#abandon(GodwitError.from(thrown))
    } finally {
      this.#interrupt.abort(new GodwitError('cancelled', 'the session is over'))
      this.#recordTraffic()
      await this.#links.close()
    }
    const report = this.#report.build()
    publish({ type: 'ended', migration: report.id, outcome: report.outcome })
    return report
  }

  async #connect(): Promise<SourceContext> {
    const world = this.#world
    resetDigest(world.memory)
    warmProof(world.memory)
    await this.#orInterrupt(world.prepare())
    this.#report.enter('reserve')
    const reserving = world.reserve(this.#interrupt.signal)
    const { control, pages, sameHost } = await this.#orInterrupt(reserving).catch((error) => {
      // Links that arrive after the interruption must not outlive it.
      reserving.then((late) => Promise.all([late.control.close(), late.pages.close()])).catch(() => {})
      throw error
    })
    const inbox = this.#links.use(control)
    this.#links.pages = pages
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
    return this.#context(control, pages, inbox)
  }

  #context(control: ControlLink, pages: PageSource, inbox: Inbox): SourceContext {
    const world = this.#world
    const context: SourceContext = {
      ...world,
      report: this.#report,
      pages,
      control,
      hashing: world.settings.verify === 'digest',
      slowestHandshakeMs: 0,
      placed: (round) => inbox.next('placed', (message) => message.round === round),
      orInterrupt: (promise) => this.#orInterrupt(promise),
      fixedMs: () => context.slowestHandshakeMs + 3 * control.roundTripMs + 1,
      stopRequested: () => this.#stopRequested,
      watchProgress: (begin) => watchRound(context, begin),
    }
    return context
  }

  async #iterate(
    context: SourceContext,
  ): Promise<{ stopReason: StopReason; predictedDowntimeMs: number; nextRound: number }> {
    this.#report.enter('iterate')
    const { vcpus, clock, settings } = context
    const stepsBefore = vcpus.steps()
    const startedAt = clock.now()
    try {
      if (settings.movement === 'pre-copy') return await precopy(context)
      await selectEverything(context)
      return { stopReason: 'requested', predictedDowntimeMs: 0, nextRound: 0 }
    } finally {
      const seconds = (clock.now() - startedAt) / 1000
      if (seconds > 0) this.#report.facts.slowdown.during = (vcpus.steps() - stepsBefore) / seconds
    }
  }

  async #switchOver(context: SourceContext, round: number): Promise<void> {
    const frozen = await this.#freeze(context, round)
    this.#report.enter('commit')
    const { inbox } = this.#links
    const prepared = await context.orInterrupt(inbox.next('prepared'))
    const preparedAt = context.clock.now()
    if (frozen.digest !== null) this.#report.facts.checks.digest = prepared.digest === frozen.digest
    if (frozen.digest !== null && prepared.digest !== frozen.digest) {
      throw new GodwitError('digest-mismatch', `digest ${prepared.digest} at the destination, ${frozen.digest} here`, {
        side: 'source',
        hint: 'the guest stays at the source',
      })
    }
    this.#ownership.apply('prepared')
    this.#report.facts.owner = 'nobody'
    const active = await this.#awaitActive()
    if (active === null) return
    this.#report.enter('activate')
    const times: SwitchTimes = { ...frozen, preparedAt, digestMs: prepared.digestMs, activateMs: active.activateMs }
    recordDowntime(this.#report, context, times, active.leftAt, this.#sameHost)
    await this.#discard(context)
  }

  /** Pauses the guest, sends the last round and the state that crosses. */
  async #freeze(context: SourceContext, round: number): Promise<FrozenTimes & { digest: string | null }> {
    const { vcpus, clock, memory, kernels, pages, settings, control } = context
    this.#report.enter('stop')
    this.#inDowntimeFrom = pages.bytes.sent + control.bytes.sent
    this.#ownership.apply('stop')
    this.#limitSwitchover(settings)
    const pausedFrom = clock.now()
    await context.orInterrupt(vcpus.pause())
    const pausedAt = clock.now()
    harvestPaused(context)
    pages.setBandwidth(settings.bandwidth)
    const placed = context.placed(round)
    const sending = pages.sendRound({ round, skip: false, hash: context.hashing, final: true })
    const states = vcpus.save()
    const sent = await context.orInterrupt(sending)
    const sentAt = clock.now()
    const digest = switchDigest(settings.verify, memory, kernels, states)
    control.send({
      type: 'state',
      round,
      epoch: this.#world.epoch,
      vcpus: states,
      digest,
      verify: settings.verify,
      free: saveFree(memory),
      pull: false,
      absent: null,
    })
    const stateAt = clock.now()
    await context.orInterrupt(placed)
    const placedAt = clock.now()
    const ms = Math.max(placedAt - pausedAt, 0.001)
    this.#report.round(
      {
        index: round,
        dirty: sent.sent,
        sent: sent.sent,
        skipped: sent.skipped,
        bytes: sent.bytes,
        ms,
        dirtyPagesPerSecond: 0,
        bytesPerSecond: (sent.bytes / ms) * 1000,
        decision: 'final',
      },
      sent,
    )
    return { pausedFrom, pausedAt, sentAt, stateAt, placedAt, digest }
  }

  /** R19: whoever asked for stop-and-copy asked for a long pause; else no pause may be much longer than was aimed at. */
  #limitSwitchover({ switchoverTimeout, movement, downtimeTarget }: MigrationSettings): void {
    if (switchoverTimeout === null && movement === 'stop-and-copy') return
    const limit = switchoverTimeout ?? Math.max(1000, 10 * downtimeTarget)
    const hint = 'raise --switchover-timeout or --downtime-target, or lower the load of the guest'
    this.#world.clock.sleep(limit, this.#interrupt.signal).then(
      () =>
        this.#giveUp(new GodwitError('switchover-timeout', `the switchover took longer than ${limit} ms`, { hint })),
      () => {},
    )
  }

  /**
   * R18: goes on asking after a report of `unreconciled`, until the destination or its agent has spoken or the signal
   * aborts; then `state` says what came of it. The world must still take redials.
   */
  async settle(signal: AbortSignal): Promise<void> {
    signal.addEventListener('abort', () => this.#links.control?.close(), { once: true })
    while (this.state === 'released' && !signal.aborted) await this.#hear(signal)
    this.#links.control?.close()
  }

  /** R18: behind the commit point only the destination's word, or its agent's, ends the wait. */
  async #awaitActive(): Promise<{ leftAt: bigint[]; activateMs: number } | null> {
    const { clock } = this.#world
    const doubtFrom = clock.now()
    const never = new AbortController().signal
    for (;;) {
      const active = await this.#hear(never)
      if (active !== null) return active
      if (this.state === 'reclaimed') return null
      if (clock.now() - doubtFrom > DOUBT_MS) return this.#leaveUnreconciled()
    }
  }

  /** One turn of waiting for the destination: a message, or, when the link is lost, its agent's word or a redial. */
  async #hear(signal: AbortSignal): Promise<{ leftAt: bigint[]; activateMs: number } | null> {
    try {
      const message = await this.#links.inbox.any(({ type }) => type === 'active' || type === 'ask')
      if (signal.aborted) return null
      if (message.type === 'active') return this.#accepted(message)
      this.#ownership.apply('ask')
      return null
    } catch {
      if (signal.aborted) return null
      this.#ownership.apply('cut')
    }
    const verdict = await this.#world.askPeerAgent()
    if (signal.aborted) return null
    if (verdict === 'dropped') return this.#reclaim()
    if (verdict === 'owner') return this.#accepted({ leftAt: [], activateMs: 0 })
    await this.#awaitRedial(REDIAL_WAIT_MS)
    return null
  }

  #accepted<T>(active: T): T {
    this.#ownership.apply('active')
    this.#report.facts.owner = 'destination'
    this.#report.facts.outcome = 'completed'
    return active
  }

  async #awaitRedial(ms: number): Promise<void> {
    const { clock } = this.#world
    const enough = new AbortController()
    const timer = clock.sleep(ms, enough.signal).then(
      () => enough.abort(new Error('no redial yet')),
      () => {},
    )
    try {
      const control = await this.#world.redialled(enough.signal)
      this.#links.use(control)
      this.#ownership.control = control
    } catch {
      // Nobody dialled in time; the caller asks the agent again.
    } finally {
      enough.abort(new Error('over'))
      await timer
    }
  }

  /** R20: the destination's process died before it owned the guest, and its agent has written *dropped*. */
  #reclaim(): null {
    this.#ownership.apply('peer-dropped')
    const error = new GodwitError('peer-dead', 'the destination process died during the commit', {
      side: 'destination',
      hint: 'the guest runs at the source again; migrate once more',
    })
    this.#report.fail(error, 'failed')
    this.#report.facts.owner = 'source'
    return null
  }

  #leaveUnreconciled(): null {
    const error = new GodwitError('unreconciled', 'the destination cannot be reached behind the commit point', {
      side: 'source',
      hint: 'the guest is paused here; when its host is dead for good: godwit resolve GUEST --take --peer-is-dead',
    })
    this.#report.fail(error, 'unreconciled')
    return null
  }

  /** R16: audits the frozen memory, then lets the destination go on alone. */
  async #discard(context: SourceContext): Promise<void> {
    const { memory, kernels, settings } = context
    const facts = this.#report.facts
    if (settings.verify === 'digest') {
      const differing = await auditPages(memory, kernels, () => context.breathe())
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
    if (this.#ownership.state === 'done') bytes.inDowntime = Math.max(0, bytes.sent - this.#inDowntimeFrom)
    const { count, totalMs, maxMs } = this.#world.vcpus.handshakes
    const before = this.#handshakesBefore
    const spentMs = totalMs - before.totalMs
    this.#report.facts.handshakes = { count: count - before.count, totalMs: spentMs, maxMs: Math.min(maxMs, spentMs) }
    const { cpuMs, rssPeak } = this.#world.usage()
    this.#report.facts.resources.sourceCpuMs = cpuMs
    this.#report.facts.resources.sourceRssPeak = rssPeak
  }
}
