// What a watcher is told while pre-copy runs: trend, ETA range and one plain sentence. Pure.

import type { Progress } from '../events.ts'
import { PAGE_BYTES } from '../limits.ts'
import type { RoundObservation } from './stop-rules.ts'

const megabytes = (bytesPerSecond: number): string => `${Math.round(bytesPerSecond / 1e6)} MB/s`

/** Whether the remainder shrinks, by the last three rounds. */
export function trendOf(remainders: readonly number[]): Progress['trend'] {
  const recent = remainders.slice(-3)
  const first = recent[0]
  const last = recent.at(-1)
  if (recent.length < 2 || first === undefined || last === undefined) return 'unknown'
  if (last < first * 0.95) return 'converging'
  return last > first * 1.05 ? 'diverging' : 'stable'
}

/** Lowest and highest guess of the time left, ms; null when the guest dirties as fast as the link carries. */
export function etaOf(round: RoundObservation, dirtyBytesPerSecond: number): [number, number] | null {
  const once = ((round.remainingPages * round.bytesPerPage) / Math.max(round.bytesPerSecond, 1)) * 1000 + round.fixedMs
  const share = dirtyBytesPerSecond / Math.max(round.bytesPerSecond, 1)
  return share >= 1 ? null : [once, once / (1 - share)]
}

/** The sentence an operator reads first. */
export function reasonOf(bytesPerSecond: number, dirtyPagesPerSecond: number): string {
  const dirty = dirtyPagesPerSecond * PAGE_BYTES
  const rates = `dirtying ${megabytes(dirty)}, link ${megabytes(bytesPerSecond)}`
  return dirty < bytesPerSecond ? `${rates}: converging` : `${rates}: will not converge without throttle or post-copy`
}
