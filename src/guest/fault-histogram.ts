// Latencies of page faults: counters in a vCPU's block, 8 buckets an octave of microseconds, so that a percentile is off
// by 9 % at most. Written by the vCPU alone, read by the main thread, merged and turned into the report's log2 histogram.
// Pure but for the counter that `noteLatency` adds to.

/** Counters of one vCPU. */
export const FAULT_BUCKETS = 256
const PER_OCTAVE = 8
const OCTAVES = FAULT_BUCKETS / PER_OCTAVE

/** Bucket of a latency in µs; the first octave holds everything below 2 µs, the last everything from 2^31 µs on. */
export function bucketOf(micros: number): number {
  const clipped = Math.max(1, micros)
  return Math.min(FAULT_BUCKETS - 1, Math.floor(Math.log2(clipped) * PER_OCTAVE))
}

/** Upper end of a bucket, µs. */
const endOf = (bucket: number): number => 2 ** ((bucket + 1) / PER_OCTAVE)

export interface FaultLatencies {
  /** Percentiles, µs: upper ends of their buckets, at most the longest one seen. */
  readonly latencyUs: { p50: number; p90: number; p99: number; max: number }
  /** `histogram[i]` counts latencies in [2^i, 2^(i+1)) µs; as long as needed. */
  readonly histogram: number[]
}

/** Merges the counters of all vCPUs. `longestMicros`: the longest fault of any. */
export function latenciesOf(counters: readonly (readonly number[])[], longestMicros: number): FaultLatencies {
  const merged = Array.from({ length: FAULT_BUCKETS }, (_, bucket) =>
    counters.reduce((sum, one) => sum + (one[bucket] ?? 0), 0),
  )
  const total = merged.reduce((sum, count) => sum + count, 0)
  const percentile = (share: number): number => {
    let left = Math.ceil(total * share)
    const bucket = merged.findIndex((count) => {
      left -= count
      return left <= 0
    })
    return total === 0 ? 0 : Math.min(longestMicros, endOf(bucket))
  }
  const octaves = Array.from({ length: OCTAVES }, (_, octave) =>
    merged.slice(octave * PER_OCTAVE, (octave + 1) * PER_OCTAVE).reduce((sum, count) => sum + count, 0),
  )
  const length = octaves.findLastIndex((count) => count > 0) + 1
  return {
    latencyUs: { p50: percentile(0.5), p90: percentile(0.9), p99: percentile(0.99), max: longestMicros },
    histogram: octaves.slice(0, length),
  }
}
