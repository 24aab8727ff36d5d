// Downtime and its parts, from the stamps of both sides. Downtime is per vCPU: from its park for the pause to its
// leaving the park at the destination, the destination's clock brought to ours with the offset of the pings.

import type { ReportBuilder } from './report-builder.ts'
import type { SourceContext } from './source-context.ts'

/** Stamps of the source's clock, ms. */
export interface FrozenTimes {
  readonly pausedFrom: number
  readonly pausedAt: number
  readonly sentAt: number
  readonly stateAt: number
  readonly placedAt: number
}

export interface SwitchTimes extends FrozenTimes {
  readonly preparedAt: number
  /** Measured at the destination: proving the digest; loading state and waking the vCPUs. */
  readonly digestMs: number
  readonly activateMs: number
}

/** Fills in downtime, its parts (which add up to it) and the clock error. */
export function recordDowntime(
  report: ReportBuilder,
  context: SourceContext,
  times: SwitchTimes,
  leftAt: readonly bigint[],
  sameHost: boolean,
): void {
  const { vcpus, control } = context
  const offsetNs = sameHost ? 0n : control.clockOffsetNs
  // Without the destination's stamps (its agent told of the switch) the guest runs there since now at the latest.
  const now = context.clock.nowNs()
  const left = (index: number): bigint => {
    const stamp = leftAt[index]
    return stamp === undefined ? now : stamp - offsetNs
  }
  const downtimes = vcpus.parkedAt().map((parked, index) => Math.max(0, Number(left(index) - parked) / 1e6))
  const downtime = Math.max(0, ...downtimes)
  const state = times.stateAt - times.sentAt
  const parts = {
    handshake: times.pausedAt - times.pausedFrom,
    lastRound: times.placedAt - times.pausedAt - state,
    digest: times.digestMs,
    state,
    activate: times.activateMs,
  }
  const { facts } = report
  facts.downtimeMs = downtime
  facts.vcpuDowntimesMs = downtimes
  facts.clockErrorMs = sameHost ? 0 : control.roundTripMs / 2
  const known = Object.values(parts).reduce((sum, ms) => sum + ms, 0)
  facts.downtimeParts = { ...withoutOverlap(parts, known - downtime), commit: Math.max(0, downtime - known) }
}

/** Waits first: in them the other host works. */
const PARTS = ['state', 'lastRound', 'activate', 'digest', 'handshake'] as const

/**
 * Both hosts work at once: while the source still writes the state, the destination may be proving it. What was measured
 * twice (`excess`, ms) is taken from the waits, so that the parts add up to the downtime.
 */
function withoutOverlap<T extends Record<(typeof PARTS)[number], number>>(parts: T, excess: number): T {
  const once = { ...parts }
  let twice = Math.max(0, excess)
  for (const name of PARTS) {
    const taken = Math.min(once[name], twice)
    once[name] -= taken
    twice -= taken
  }
  return once
}
