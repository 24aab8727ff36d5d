// A load with windows before, during and after a migration, as the section `service` of the migration's report. Pure.

import type { ServiceReport } from '../migration/service-report.ts'
import type { LoadResult, WindowResult } from './result.ts'

/** The windows that a load beside a migration has. */
export const SERVICE_WINDOWS = ['before', 'during', 'after'] as const

const NOTHING: WindowResult = {
  name: '',
  fromMs: 0,
  ms: 0,
  requests: 0,
  failed: 0,
  disconnects: 0,
  operationsPerSecond: 0,
  latencyMs: { p50: 0, p90: 0, p99: 0, p999: 0, max: 0 },
  longestGapMs: 0,
  longestSilenceMs: 0,
}

export function serviceOf(result: LoadResult): ServiceReport {
  const [before, during, after] = SERVICE_WINDOWS.map(
    (name) => result.windows.find((window) => window.name === name) ?? NOTHING,
  ) as [WindowResult, WindowResult, WindowResult]
  const calm = calmGap(result, before, during, after)
  return {
    requests: result.requests,
    failed: result.failed,
    disconnects: result.disconnects,
    errors: result.errors,
    longestGapMs: during.longestGapMs,
    ...calm,
    excessGapMs: Math.max(0, during.longestGapMs - calm.calmGapMs),
    longestSilenceMs: during.longestSilenceMs,
    duringWindowMs: during.ms,
    operationsPerSecond: {
      before: before.operationsPerSecond,
      during: during.operationsPerSecond,
      after: after.operationsPerSecond,
    },
    beforeMs: before.latencyMs,
    duringMs: during.latencyMs,
    afterMs: after.latencyMs,
    exact: result.exact,
  }
}

/**
 * The longest gap in as much time without migration as the migration took: the last of the window before it, and where that
 * is shorter, the first of the one behind. Slices that lie in one of them whole count.
 */
function calmGap(
  { timeline: { sliceMs, longestGapMs } }: LoadResult,
  before: WindowResult,
  during: WindowResult,
  after: WindowResult,
): { calmGapMs: number; calmMs: number } {
  const slicesOf = ({ fromMs, ms }: WindowResult): number[] =>
    longestGapMs.slice(Math.ceil(fromMs / sliceMs), Math.max(0, Math.floor((fromMs + ms) / sliceMs)))
  const calm = [...slicesOf(before).reverse(), ...slicesOf(after)].slice(0, Math.ceil(during.ms / sliceMs))
  return { calmGapMs: Math.max(0, ...calm), calmMs: calm.length * sliceMs }
}
