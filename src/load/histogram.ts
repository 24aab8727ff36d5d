// Latencies in a fixed piece of memory, as HdrHistogram keeps them: buckets of 1 µs up to 256 µs, from there on 128 to
// each octave, so that a percentile is off by 0.8 % at most, and never below the truth. The windows of a load count in one.

/** Buckets an octave; the first two octaves and what lies below are exact. */
const PER_OCTAVE = 128
/** 2^32 µs are 71 minutes; what takes longer counts as that. */
const LARGEST_MICROS = 2 ** 32 - 1
const BUCKETS = bucketOf(LARGEST_MICROS) + 1

/** Bucket of a whole number of µs below 2^32. */
export function bucketOf(micros: number): number {
  const octave = Math.max(0, 24 - Math.clz32(micros))
  return octave * PER_OCTAVE + (micros >>> octave)
}

/** The largest number of µs that falls into a bucket. */
export function endOf(bucket: number): number {
  const octave = Math.max(0, Math.floor(bucket / PER_OCTAVE) - 1)
  return (bucket - octave * PER_OCTAVE + 1) * 2 ** octave - 1
}

/** Milliseconds; 0 where nothing was counted. */
export interface Percentiles {
  readonly p50: number
  readonly p90: number
  readonly p99: number
  readonly p999: number
  readonly max: number
}

export class LatencyHistogram {
  count = 0
  readonly #counts = new Float64Array(BUCKETS)
  #maxMicros = 0

  /** Counts a latency, once or so many times; below 0 is 0. */
  record(ms: number, times = 1): void {
    const micros = Math.min(LARGEST_MICROS, Math.max(0, Math.round(ms * 1000)))
    const bucket = bucketOf(micros)
    this.#counts[bucket] = (this.#counts[bucket] as number) + times
    this.count += times
    if (micros > this.#maxMicros) this.#maxMicros = micros
  }

  /** Counts all that `other` has counted. */
  merge(other: LatencyHistogram): void {
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      this.#counts[bucket] = (this.#counts[bucket] as number) + (other.#counts[bucket] as number)
    }
    this.count += other.count
    this.#maxMicros = Math.max(this.#maxMicros, other.#maxMicros)
  }

  /** The latency that this share of all is not above, ms: the end of its bucket, at most the longest one seen. */
  percentile(share: number): number {
    if (this.count === 0) return 0
    let left = Math.max(1, Math.ceil(this.count * share))
    for (let bucket = 0; bucket < BUCKETS; bucket++) {
      left -= this.#counts[bucket] as number
      if (left <= 0) return Math.min(this.#maxMicros, endOf(bucket)) / 1000
    }
    return this.#maxMicros / 1000
  }

  percentiles(): Percentiles {
    return {
      p50: this.percentile(0.5),
      p90: this.percentile(0.9),
      p99: this.percentile(0.99),
      p999: this.percentile(0.999),
      max: this.#maxMicros / 1000,
    }
  }
}
