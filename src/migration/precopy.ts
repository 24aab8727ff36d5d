// The one loop of pre-copy: send what is dirty while the guest runs, harvest, decide, again. Movement, selection, stop
// rule and rate are policies on this loop (architecture §6). Returns when the stop rule says so; the pages still to be
// sent are then in `toSend` and `dirty` of the control memory.

import { publish } from '../events.ts'
import { countBits, fillAll, mergeInto } from '../guest/page-set.ts'
import { PAGE_BYTES, VIRTUAL_LINK_BYTES_PER_SECOND } from '../limits.ts'
import { AdaptiveRate } from './adaptive-rate.ts'
import { etaOf, reasonOf, trendOf } from './progress.ts'
import type { StopReason } from './report.ts'
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

/** Runs rounds until the stop rule fires. */
export async function precopy(context: SourceContext): Promise<PrecopyResult> {
  const { settings, memory, pages, clock, report } = context
  const { layout } = memory
  const rule = stopRules[settings.stop]({ maxRounds: settings.maxRounds, downtimeTargetMs: settings.downtimeTarget })
  const rate = settings.adaptiveBandwidth ? new AdaptiveRate(settings.bandwidth) : null
  const locked = context.guest.pace.kind === 'locked'
  const remainders: number[] = []
  let totalSentPages = 0
  await selectEverything(context)
  let dirtyBefore = layout.pageCount
  for (let index = 0; ; index++) {
    pages.setBandwidth(rate?.bytesPerSecond ?? settings.bandwidth)
    const startedAt = clock.now()
    const placed = context.placed(index)
    const ticker = context.watchProgress(index, totalSentPages)
    const sent = await context
      .orInterrupt(
        pages.sendRound({ round: index, skip: settings.selection === 'skip', hash: context.hashing, final: false }),
      )
      .finally(ticker)
    await context.orInterrupt(placed)
    const realMs = Math.max(clock.now() - startedAt, 0.001)
    const virtualRate = settings.bandwidth ?? VIRTUAL_LINK_BYTES_PER_SECOND
    const ms = locked ? Math.max((sent.bytes / virtualRate) * 1000, 0.001) : realMs
    totalSentPages += sent.sent
    const remaining = await harvest(context)
    remainders.push(remaining)
    const bytesPerSecond = locked ? virtualRate : linkRate(context, sent.bytes, ms)
    const observation: RoundObservation = {
      index,
      sentPages: sent.sent,
      skippedPages: sent.skipped,
      remainingPages: remaining,
      totalSentPages,
      pageCount: layout.pageCount,
      bytesPerSecond,
      bytesPerPage: sent.sent === 0 ? RAW_RECORD_BYTES : sent.bytes / sent.sent,
      fixedMs: locked ? 0 : context.fixedMs(),
      atMaxRate: rate === null || rate.atMaximum,
    }
    const decision = rule.decide(observation)
    const dirtyPagesPerSecond = (remaining / ms) * 1000
    report.round(
      {
        index,
        dirty: dirtyBefore,
        sent: sent.sent,
        skipped: sent.skipped,
        bytes: sent.bytes,
        ms: realMs,
        dirtyPagesPerSecond,
        bytesPerSecond,
        predictedDowntimeMs: decision.predictedDowntimeMs,
        decision: decision.stop ? `stop: ${decision.text}` : `continue: ${decision.text}`,
      },
      sent,
    )
    publishRound(context, observation, decision, dirtyPagesPerSecond, remainders)
    if (decision.stop || context.stopRequested()) {
      const stopReason = decision.reason ?? 'requested'
      return { stopReason, predictedDowntimeMs: decision.predictedDowntimeMs, nextRound: index + 1 }
    }
    rate?.observe(dirtyPagesPerSecond * PAGE_BYTES)
    mergeInto(memory, layout.toSend, layout.dirty)
    dirtyBefore = remaining
  }
}

/**
 * The link's rate for the prediction, bytes per second. A round of a few pages measures latency, not the link: the
 * best estimate is then the rate of the last round that was long enough.
 */
function linkRate(context: SourceContext, bytes: number, ms: number): number {
  const measured = (bytes / ms) * 1000
  if (ms >= 5 || context.linkBytesPerSecond === 0) context.linkBytesPerSecond = measured
  else context.linkBytesPerSecond = Math.max(context.linkBytesPerSecond, measured)
  return context.linkBytesPerSecond
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
