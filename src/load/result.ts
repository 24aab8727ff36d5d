// What a load came to: the document that `godwit load --json` prints, version 1, and the state of one that runs. Field
// names are fixed; add, never rename. Times are milliseconds, rates a second. docs/load.md defines every figure.

import { z } from 'zod'
import { percentilesSchema } from '../migration/service-report.ts'
import { LatencyHistogram } from './histogram.ts'
import { type LoadSettings, loadSettingsSchema } from './options.ts'
import type { Recorder } from './recorder.ts'
import type { Window, Windows } from './windows.ts'

const ms = z.number()
const count = z.int().nonnegative()

const measuredSchema = z.object({
  /** Operations with a good reply and without; the latter alone. */
  requests: count,
  failed: count,
  disconnects: count,
  operationsPerSecond: z.number(),
  latencyMs: percentilesSchema,
  /** The longest gap of a connection, and of all together. */
  longestGapMs: ms,
  longestSilenceMs: ms,
})

const windowSchema = measuredSchema.extend({ name: z.string(), fromMs: ms, ms })

export const loadResultSchema = measuredSchema.extend({
  version: z.literal(1),
  settings: loadSettingsSchema,
  durationMs: ms,
  windows: z.array(windowSchema),
  errors: z.record(z.string(), count),
  /** `counters.ok`: nothing was lost, doubled or mixed up. */
  exact: z.boolean(),
  counters: z.object({
    ok: z.boolean(),
    counters: count,
    increments: count,
    acknowledged: count,
    unanswered: count,
    read: z.number(),
    lost: count,
    doubled: count,
    unread: count,
    wrongReplies: count,
    examples: z.array(z.object({ counter: count, read: z.number(), least: count, most: count })),
  }),
  /** How late the load itself was, and operations that a connection kept waiting. */
  generator: z.object({ latenessMs: percentilesSchema, heldBack: count }),
  /** The longest gap of a connection and the replies in each slice of time. */
  timeline: z.object({ sliceMs: ms, longestGapMs: z.array(ms), operations: z.array(count) }),
})

export type LoadResult = z.output<typeof loadResultSchema>
export type WindowResult = z.output<typeof windowSchema>

/** How a load stands while it runs. */
export interface LoadProgress {
  readonly elapsedMs: number
  readonly window: string
  readonly operationsPerSecond: number
  readonly p50Ms: number
  readonly p99Ms: number
  /** Of the window. */
  readonly longestGapMs: number
  /** Of all windows. */
  readonly requests: number
  readonly failed: number
  readonly disconnects: number
}

const sum = (windows: readonly Window[], field: 'answered' | 'failed' | 'disconnects'): number =>
  windows.reduce((total, window) => total + window[field], 0)
const longest = (windows: readonly Window[], field: 'longestGapMs' | 'longestSilenceMs'): number =>
  micros(Math.max(0, ...windows.map((window) => window[field])))
/** Milliseconds with the resolution of a microsecond. */
const micros = (value: number): number => Math.round(value * 1000) / 1000
const perSecond = (operations: number, duration: number): number =>
  duration > 0 ? micros((operations * 1000) / duration) : 0

export function progressOf({ current, all: windows }: Windows, nowMs: number): LoadProgress {
  return {
    elapsedMs: nowMs,
    window: current.name,
    operationsPerSecond: perSecond(current.answered, nowMs - current.fromMs),
    p50Ms: current.latency.percentile(0.5),
    p99Ms: current.latency.percentile(0.99),
    longestGapMs: current.longestGapMs,
    requests: sum(windows, 'answered') + sum(windows, 'failed'),
    failed: sum(windows, 'failed'),
    disconnects: sum(windows, 'disconnects'),
  }
}

function measuredOf(windows: readonly Window[], durationMs: number) {
  const latency = new LatencyHistogram()
  for (const window of windows) latency.merge(window.latency)
  const [answered, failed] = [sum(windows, 'answered'), sum(windows, 'failed')]
  return {
    requests: answered + failed,
    failed,
    disconnects: sum(windows, 'disconnects'),
    operationsPerSecond: perSecond(answered, durationMs),
    latencyMs: latency.percentiles(),
    longestGapMs: longest(windows, 'longestGapMs'),
    longestSilenceMs: longest(windows, 'longestSilenceMs'),
  }
}

export function resultOf(settings: LoadSettings, recorder: Recorder, endMs: number): LoadResult {
  const counters = recorder.counters.verdict()
  const { all, measured: timed } = recorder.windows
  const whole = measuredOf(timed, endMs)
  // What failed counts whenever it failed; a time of the warm-up says nothing.
  const { requests, failed, disconnects } = measuredOf(all, endMs)
  return {
    version: 1,
    settings,
    durationMs: micros(endMs),
    ...whole,
    requests,
    failed,
    disconnects,
    windows: all.map((window) => ({
      name: window.name,
      fromMs: micros(window.fromMs),
      ms: micros(window.toMs - window.fromMs),
      ...measuredOf([window], window.toMs - window.fromMs),
    })),
    errors: recorder.errors.toJSON(),
    exact: counters.ok,
    counters: { ...counters, examples: [...counters.examples] },
    generator: { latenessMs: recorder.lateness.percentiles(), heldBack: recorder.heldBack },
    timeline: recorder.timeline.toJSON(),
  }
}
