// The one loop of pre-copy: send what is dirty while the guest runs, harvest, decide, again. Movement, selection, stop
// rule and rate are policies on this loop (architecture §6). Returns when the stop rule says so; `toSend` of the control
// memory then holds what is still to be sent, but for the marks of the table in use.

import { publish } from '../events.ts'
import { countBits, fillAll, mergeInto } from '../guest/page-set.ts'
import { loadWord } from '../guest/safepoint.ts'
import { tableOf } from '../guest/safepoint-machine.ts'
import { PAGE_BYTES, VIRTUAL_LINK_BYTES_PER_SECOND } from '../limits.ts'
import { AdaptiveRate } from './adaptive-rate.ts'
import { LinkRate, type PlacedRound } from './link-rate.ts'
import type { RoundSent } from './ports.ts'
import { etaOf, reasonOf, trendOf } from './progress.ts'
import type { RoundReport, StopReason } from './report.ts'
import type { ReportBuilder } from './report-builder.ts'
import type { SourceContext } from './source-context.ts'
import { RAW_RECORD_BYTES, type RoundObservation, type StopDecision, stopRules } from './stop-rules.ts'

export interface PrecopyResult {
  readonly stopReason: StopReason
  readonly predictedDowntimeMs: number
  /** Index the final round gets. */
  readonly nextRound: number
}

/** Marks every page as to be sent and empties the card tables. Any movement begins with this. */
export async function selectEverything(context: SourceContext): Promise<void> {
  const { memory, vcpus, kernels } = context
  const { layout } = memory
  const { retired } = await context.orInterrupt(vcpus.swapCards())
  kernels.harvest(layout.cards[retired], layout.pageCount, layout.dirty)
  memory.controlBytes.fill(0, layout.dirty, layout.dirty + layout.pageCount / 8)
  fillAll(memory, layout.toSend)
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

/**
 * Runs rounds until the stop rule fires. R12: where a round trip counts, a round begins while the one before it is still
 * on the link; only before the guest is paused the link is drained, so that the last round finds it free.
 */
export async function precopy(context: SourceContext): Promise<PrecopyResult> {
  const { settings, memory, pages, clock, report } = context
  const { layout } = memory
  const rule = stopRules[settings.stop]({ maxRounds: settings.maxRounds, downtimeTargetMs: settings.downtimeTarget })
  const rate = settings.adaptiveBandwidth ? new AdaptiveRate(settings.bandwidth) : null
  const locked = context.guest.pace.kind === 'locked'
  const virtualRate = settings.bandwidth ?? VIRTUAL_LINK_BYTES_PER_SECOND
  const link = new LinkRate(clock)
  const remainders: number[] = []
  let [totalSentPages, dirtyPagesPerSecond] = [0, 0]
  await selectEverything(context)
  let [dirtyBefore, harvestedAt] = [layout.pageCount, clock.now()]
  let placedBefore: Promise<unknown> = Promise.resolve()
  for (let index = 0; ; index++) {
    pages.setBandwidth(rate?.bytesPerSecond ?? settings.bandwidth)
    const beganAt = clock.now()
    const placed = context.placed(index)
    const ended = context.watchProgress({
      round: index,
      sentBefore: totalSentPages,
      dirty: dirtyBefore,
      dirtyPagesPerSecond,
    })
    const order = { round: index, skip: settings.selection === 'skip', hash: context.hashing, final: false }
    const sent = await context.orInterrupt(pages.sendRound(order)).finally(ended)
    const onLink = placed.then(() => link.placed(beganAt, sent.bytes))
    onLink.catch(() => {})
    if (isCheapToAwait(context, sent.bytes, link.estimate(beganAt, sent.bytes))) await context.orInterrupt(onLink)
    totalSentPages += sent.sent

    const observe = (remainingPages: number): RoundObservation => ({
      index,
      sentPages: sent.sent,
      skippedPages: sent.skipped,
      remainingPages,
      totalSentPages,
      pageCount: layout.pageCount,
      bytesPerSecond: locked ? virtualRate : link.estimate(beganAt, sent.bytes),
      bytesPerPage: sent.sent === 0 ? RAW_RECORD_BYTES : sent.bytes / sent.sent,
      fixedMs: locked ? 0 : context.fixedMs(),
      atMaxRate: rate === null || rate.atMaximum,
    })
    let observation = observe(await harvest(context))
    let decision = rule.decide(observation)
    if (decision.stop || context.stopRequested()) {
      await context.orInterrupt(onLink)
      observation = observe(await harvest(context))
      decision = rule.decide(observation)
    }
    rule.note(observation)
    remainders.push(observation.remainingPages)
    const now = clock.now()
    const ms = Math.max(locked ? (sent.bytes / virtualRate) * 1000 : now - harvestedAt, 0.001)
    dirtyPagesPerSecond = (observation.remainingPages / ms) * 1000
    harvestedAt = now
    reportPlaced(report, onLink, locked ? virtualRate : null, sent, {
      index,
      dirty: dirtyBefore,
      sent: sent.sent,
      skipped: sent.skipped,
      bytes: sent.bytes,
      dirtyPagesPerSecond,
      predictedDowntimeMs: decision.predictedDowntimeMs,
      decision: `${decision.stop ? 'stop' : 'continue'}: ${decision.text}`,
    })
    publishRound(context, observation, decision, dirtyPagesPerSecond, remainders)
    mergeInto(memory, layout.toSend, layout.dirty)
    if (decision.stop || context.stopRequested()) {
      const stopReason = decision.reason ?? 'requested'
      return { stopReason, predictedDowntimeMs: decision.predictedDowntimeMs, nextRound: index + 1 }
    }
    rate?.observe(dirtyPagesPerSecond * PAGE_BYTES)
    // No more than two rounds are under way: a third would only fill the kernel's buffers.
    await context.orInterrupt(placedBefore)
    placedBefore = onLink
    dirtyBefore = observation.remainingPages
  }
}

/** Reports the round once it is placed; rounds are placed in their order. */
function reportPlaced(
  report: ReportBuilder,
  onLink: Promise<PlacedRound>,
  virtualRate: number | null,
  sent: RoundSent,
  row: Omit<RoundReport, 'ms' | 'bytesPerSecond'>,
): void {
  onLink
    .then(({ ms, bytesPerSecond }) => report.round({ ...row, ms, bytesPerSecond: virtualRate ?? bytesPerSecond }, sent))
    .catch(() => {})
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
