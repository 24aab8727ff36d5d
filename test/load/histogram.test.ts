// The histogram against a sort of the same latencies: never below the truth, and above it by less than a bucket.

import fc from 'fast-check'
import { expect, test } from 'vitest'
import { bucketOf, endOf, LatencyHistogram } from '../../src/load/histogram.ts'
import { seeded } from '../kernels/memory-fixture.ts'

const SHARES = [0, 0.001, 0.5, 0.9, 0.99, 0.999, 1]
const micros = fc.oneof(fc.nat(300), fc.nat(100_000), fc.nat(2 ** 31 - 1))

test('percentiles are those of a sort, to 0.8 %', () => {
  fc.assert(
    fc.property(fc.array(micros, { minLength: 1, maxLength: 400 }), (all) => {
      const histogram = new LatencyHistogram()
      for (const each of all) histogram.record(each / 1000)
      const sorted = [...all].sort((a, b) => a - b)
      expect(histogram.count).toBe(all.length)
      expect(histogram.percentiles().max).toBe((sorted.at(-1) as number) / 1000)
      for (const share of SHARES) {
        const exact = sorted[Math.max(1, Math.ceil(all.length * share)) - 1] as number
        const found = Math.round(histogram.percentile(share) * 1000)
        expect(found).toBeGreaterThanOrEqual(exact)
        expect(found).toBeLessThanOrEqual(exact * (1 + 1 / 128))
      }
    }),
    seeded(300),
  )
})

test('merged histograms are one of all', () => {
  fc.assert(
    fc.property(fc.array(micros), fc.array(micros), (one, other) => {
      const [first, second, all] = [new LatencyHistogram(), new LatencyHistogram(), new LatencyHistogram()]
      for (const each of one) first.record(each / 1000)
      for (const each of other) second.record(each / 1000)
      for (const each of [...one, ...other]) all.record(each / 1000)
      first.merge(second)
      expect([first.count, first.percentiles()]).toEqual([all.count, all.percentiles()])
    }),
    seeded(100),
  )
})

test('buckets follow one another without a hole', () => {
  for (let bucket = 0; bucket < 24 * 128 + 256; bucket++) {
    const end = endOf(bucket)
    expect(bucketOf(end)).toBe(bucket)
    if (end < 2 ** 32 - 1) expect(bucketOf(end + 1)).toBe(bucket + 1)
  }
})

test('nothing counted is 0, and the largest has a place', () => {
  const histogram = new LatencyHistogram()
  expect(histogram.percentiles()).toEqual({ p50: 0, p90: 0, p99: 0, p999: 0, max: 0 })
  histogram.record(-1)
  expect(histogram.percentile(1)).toBe(0)
  histogram.record(1e12)
  expect(histogram.percentile(1)).toBe((2 ** 32 - 1) / 1000)
})
