// The one loop of pre-copy: send what is dirty while the guest runs, harvest, decide, again. Movement, selection, stop
// rule and rate are policies on this loop (architecture §6). Returns when the stop rule says so; `toSend` of the control
// memory then holds what is still to be sent, but for the marks of the table in use.

import { publish } from '../events.ts'
import { clearAll, countBits, fillAll, mergeInto } from '../guest/page-set.ts'
import { loadWord } from '../guest/safepoint.ts'
import { tableOf } from '../guest/safepoint-machine.ts'
import { PAGE_BYTES, VIRTUAL_LINK_BYTES_PER_SECOND } from '../limits.ts'
import { AdaptiveRate } from './adaptive-rate.ts'
import { HybridSwitchRule } from './hybrid-switch.ts'
import { LinkRate, type PlacedRound } from './link-rate.ts'
import type { RoundSent } from './ports.ts'
import { etaOf, reasonOf, trendOf } from './progress.ts'
import type { StopReason } from './report.ts'
import { pulls, wholeAtSwitch } from './settings.ts'
import type { SourceContext } from './source-context.ts'
import { RAW_RECORD_BYTES, type RoundObservation, type StopDecision, type StopRule, stopRules } from './stop-rules.ts'
import { clearWriteCounts, countWrites } from './transfer/least-written.ts'

export interface PrecopyResult {
  readonly stopReason: StopReason
  readonly predictedDowntimeMs: number
  /** Index the final round gets. */
  readonly nextRound: number
}

/** Marks every page as to be sent and empties the card tables. Any movement begins with this. */
export async function selectEverything(context: SourceContext): Promise<void> {
  const { memory, vcpus, kernels, settings } = context
  const { layout } = memory
  const { retired } = await context.orInterrupt(vcpus.swapCards())
  kernels.harvest(layout.cards[retired], layout.pageCount, layout.dirty)
  clearAll(memory, layout.dirty)
  fillAll(memory, layout.toSend)
  // An earlier migration that failed may have counted.
  if (pulls(settings.movement) && settings.pushOrder === 'least-written') clearWriteCounts(memory)
}

/** Swaps the card tables and adds what the retired one held to `dirty` (R1). Returns the pages now in `dirty`. */
export async function harvest(context: SourceContext): Promise<number> {
  const { memory, vcpus, kernels } = context
  const { layout } = memory
  const { retired, ms } = await context.orInterrupt(vcpus.swapCards())
  context.slowestHandshakeMs = Math.max(context.slowestHandshakeMs, ms)
  kernels.harvest(layout.cards[retired], layout.pageCount, layout.dirty)
  return countBits(memory, layout.dirty)
}

/**
 * Adds what was marked since the last swap to the pages to send. Only while every vCPU is paused: nobody marks, so no
 * handshake is needed, and the table in use stays in use, empty.
 */
export function harvestPaused({ memory, kernels }: SourceContext): void {
  const { layout } = memory
  kernels.harvest(layout.cards[tableOf(loadWord(memory))], layout.pageCount, layout.toSend)
}

/** Share of a round's time that the link may stand idle for a fresher harvest. */
const IDLE_SHARE = 0.1

/**
 * Waiting for a round's placement leaves the link idle for one round trip. Where that is little it is worth it: the next
 * harvest then finds what was written while the kernel's buffers drained, which would have been sent twice.
 */
function isCheapToAwait({ control }: SourceContext, bytes: number, bytesPerSecond: number): boolean {
  return control.roundTripMs <= IDLE_SHARE * (bytes / Math.max(bytesPerSecond, 1)) * 1000
}

/** Hybrid and soft leave pre-copy by a rule of their own, whatever `stop` says: what will not shrink follows behind the switch. */
function ruleOf({ movement, stop, maxRounds, downtimeTarget: downtimeTargetMs }: SourceContext['settings']): StopRule {
  const limits = { maxRounds, downtimeTargetMs }
  return movement === 'hybrid' || movement === 'soft' ? new HybridSwitchRule(limits) : stopRules[stop](limits)
}

/**
 * Runs rounds until the stop rule fires. R12: where a round trip counts, a round begins while the one before it is still
 * on the link; only before the guest is paused the link is drained, so that the last round finds it free.
 */
export async function precopy(context: SourceContext): Promise<PrecopyResult> {
  const { settings, memory } = context
  const { layout } = memory
  const rule = ruleOf(settings)
  const counts = settings.movement === 'hybrid' && settings.pushOrder === 'least-written'
  const rounds = new Rounds(context)
  await selectEverything(context)
  // Only hybrid and soft go without a single round.
  if (!wholeAtSwitch(settings.movement) && settings.maxRounds === 0) {
    return { stopReason: 'max-rounds', predictedDowntimeMs: context.fixedMs(), nextRound: 0 }
  }
  rounds.begin()
  let placedBefore: Promise<unknown> = Promise.resolve()
  for (;;) {
    const round = await rounds.send()
    let observation = rounds.observe(round, await harvest(context))
    let decision = rule.decide(observation)
    // Asked once: whoever is told of the round may ask for the switch, and what the round missed must be known first.
    const requested = context.stopRequested()
    if (decision.stop || requested) {
      await context.orInterrupt(round.placed)
      observation = rounds.observe(round, await harvest(context))
      decision = rule.decide(observation)
    }
    rule.note(observation)
    rounds.end(round, observation, decision)
    // Once a round, with all that it harvested: a page counts the rounds in which it was written.
    if (counts) countWrites(memory, layout.dirty)
    mergeInto(memory, layout.toSend, layout.dirty)
    if (decision.stop || requested) {
      const stopReason = decision.reason ?? 'requested'
      return { stopReason, predictedDowntimeMs: decision.predictedDowntimeMs, nextRound: round.index + 1 }
    }
    // No more than two rounds are under way: a third would only fill the kernel's buffers.
    await context.orInterrupt(placedBefore)
    placedBefore = round.placed
  }
}

/** A round whose pages the kernel has taken. */
interface SentRound extends RoundSent {
  readonly index: number
  /** Pages it was to send. */
  readonly dirty: number
  readonly beganAt: number
  readonly placed: Promise<PlacedRound>
}

/** The rounds of one migration: sends them, measures them, reports them. */
class Rounds {
  readonly #context: SourceContext
  readonly #link: LinkRate
  readonly #rate: AdaptiveRate | null
  /** Rate of virtual time, in which a locked guest lives. */
  readonly #virtualRate: number | null
  readonly #remainders: number[] = []
  #index = 0
  #dirty: number
  #dirtyPagesPerSecond = 0
  #totalSentPages = 0
  #harvestedAt = 0

  constructor(context: SourceContext) {
    const { settings, guest, clock, memory } = context
    this.#context = context
    this.#link = new LinkRate(clock)
    this.#rate = settings.adaptiveBandwidth ? new AdaptiveRate(settings.bandwidth) : null
    this.#virtualRate = guest.pace.kind === 'locked' ? (settings.bandwidth ?? VIRTUAL_LINK_BYTES_PER_SECOND) : null
    this.#dirty = memory.layout.pageCount
  }

  begin(): void {
    this.#harvestedAt = this.#context.clock.now()
  }

  /** Sends the next round. */
  async send(): Promise<SentRound> {
    const { settings, pages, clock } = this.#context
    pages.setBandwidth(this.#rate?.bytesPerSecond ?? settings.bandwidth)
    const [index, dirty, beganAt] = [this.#index++, this.#dirty, clock.now()]
    const whenPlaced = this.#context.placed(index)
    const sentBefore = this.#totalSentPages
    const dirtyPagesPerSecond = this.#dirtyPagesPerSecond
    const ended = this.#context.watchProgress({ round: index, sentBefore, dirty, dirtyPagesPerSecond })
    const { hashing: hash, copy } = this.#context
    const order = { round: index, skip: settings.selection === 'skip', hash, copy: copy && index === 0, final: false }
    const sent = await this.#context.orInterrupt(pages.sendRound(order)).finally(ended)
    this.#totalSentPages += sent.sent
    const { control } = this.#context
    const placed = whenPlaced.then(() => this.#link.placed(beganAt, sent.bytes, control.roundTripMs))
    placed.catch(() => {})
    const cheap = isCheapToAwait(this.#context, sent.bytes, this.#link.estimate(beganAt, sent.bytes))
    if (cheap) await this.#context.orInterrupt(placed)
    return { ...sent, index, dirty, beganAt, placed }
  }

  /** What the round shows, with `remainingPages` left after it. */
  observe(round: SentRound, remainingPages: number): RoundObservation {
    return {
      index: round.index,
      sentPages: round.sent,
      skippedPages: round.skipped,
      remainingPages,
      totalSentPages: this.#totalSentPages,
      pageCount: this.#context.memory.layout.pageCount,
      bytesPerSecond: this.#virtualRate ?? this.#link.estimate(round.beganAt, round.bytes),
      bytesPerPage: round.sent === 0 ? RAW_RECORD_BYTES : round.bytes / round.sent,
      fixedMs: this.#virtualRate === null ? this.#context.fixedMs() : 0,
      atMaxRate: this.#rate === null || this.#rate.atMaximum,
    }
  }

  /** Takes the decision into the report and learns from the round. */
  end(round: SentRound, observation: RoundObservation, decision: StopDecision): void {
    const { clock } = this.#context
    const virtualRate = this.#virtualRate
    const ms = virtualRate === null ? clock.now() - this.#harvestedAt : (round.bytes / virtualRate) * 1000
    this.#harvestedAt = clock.now()
    this.#dirty = observation.remainingPages
    this.#dirtyPagesPerSecond = (observation.remainingPages / Math.max(ms, 0.001)) * 1000
    this.#rate?.observe(this.#dirtyPagesPerSecond * PAGE_BYTES)
    this.#remainders.push(observation.remainingPages)
    this.#report(round, decision)
    publishRound(this.#context, observation, decision, this.#dirtyPagesPerSecond, this.#remainders)
  }

  /** A round is reported once it is placed; rounds are placed in their order. */
  #report(round: SentRound, decision: StopDecision): void {
    const { index, dirty, sent, skipped, bytes, placed } = round
    const { predictedDowntimeMs, text } = decision
    const row = {
      index,
      dirty,
      sent,
      skipped,
      bytes,
      dirtyPagesPerSecond: this.#dirtyPagesPerSecond,
      predictedDowntimeMs,
      decision: `${decision.stop ? 'stop' : 'continue'}: ${text}`,
    }
    const write = ({ ms, bytesPerSecond }: PlacedRound): void =>
      this.#context.report.round({ ...row, ms, bytesPerSecond: this.#virtualRate ?? bytesPerSecond }, round)
    placed.then(write).catch(() => {})
  }
}

function publishRound(
  context: SourceContext,
  round: RoundObservation,
  decision: StopDecision,
  dirtyPagesPerSecond: number,
  remainders: readonly number[],
): void {
  publish({
    type: 'progress',
    migration: context.id,
    progress: {
      stage: 'iterate',
      round: round.index,
      workDone: round.totalSentPages,
      cleanPages: round.pageCount - round.remainingPages,
      totalPages: round.pageCount,
      bytesSent: context.pages.bytes.sent,
      bytesPerSecond: round.bytesPerSecond,
      dirtyPagesPerSecond,
      predictedDowntimeMs: decision.predictedDowntimeMs,
      trend: trendOf(remainders),
      etaMs: etaOf(round, dirtyPagesPerSecond * PAGE_BYTES),
      reason: reasonOf(round.bytesPerSecond, dirtyPagesPerSecond),
    },
  })
}
