// Buckets, percentiles and the exported octaves of fault latencies.

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { bucketOf, FAULT_BUCKETS, latenciesOf } from '../../src/guest/fault-histogram.ts'
import { seeded } from '../kernels/memory-fixture.ts'

const countersOf = (latencies: readonly number[]): number[] => {
  const counters = new Array<number>(FAULT_BUCKETS).fill(0)
  for (const micros of latencies) counters[bucketOf(micros)] = (counters[bucketOf(micros)] as number) + 1
  return counters
}
/** Mostly small, some huge: 1 µs to about 70 minutes. */
const latency = fc.double({ min: 0, max: 31.9, noNaN: true }).map((exponent) => 2 ** exponent)
const latencies = fc.array(latency, { minLength: 1, maxLength: 300 })

describe('buckets', () => {
  it('ascend, lie in range, and hold the ends of the scale', () => {
    expect([0, -1, 0.3, 1].map(bucketOf)).toEqual([0, 0, 0, 0])
    expect([2 ** 31, 2 ** 32, 2 ** 40, Number.POSITIVE_INFINITY].map(bucketOf)).toEqual([248, 255, 255, 255])
    for (let octave = 0; octave < 32; octave++) expect(bucketOf(2 ** octave)).toBe(8 * octave)
    fc.assert(
      fc.property(latency, latency, (a, b) => {
        expect(bucketOf(Math.min(a, b))).toBeLessThanOrEqual(bucketOf(Math.max(a, b)))
      }),
      seeded(1000),
    )
  })
})

describe('latencies', () => {
  it('percentiles are off by 9 % at most, upwards, and never above the longest', () => {
    fc.assert(
      fc.property(fc.array(latencies, { minLength: 1, maxLength: 4 }), (vcpus) => {
        const all = vcpus.flat().sort((a, b) => a - b)
        const longest = all.at(-1) as number
        const { latencyUs } = latenciesOf(vcpus.map(countersOf), longest)
        for (const [share, told] of [
          [0.5, latencyUs.p50],
          [0.9, latencyUs.p90],
          [0.99, latencyUs.p99],
        ] as const) {
          const exact = all[Math.ceil(all.length * share) - 1] as number
          expect(told).toBeGreaterThanOrEqual(exact * (1 - 1e-9))
          expect(told).toBeLessThanOrEqual(Math.min(longest, exact * 1.0906))
        }
        expect(latencyUs.max).toBe(longest)
      }),
      seeded(300),
    )
  })

  it('the exported octaves count every latency where it belongs, and end with the last that has one', () => {
    fc.assert(
      fc.property(latencies, latencies, (one, other) => {
        const all = [...one, ...other]
        const { histogram } = latenciesOf([countersOf(one), countersOf(other)], Math.max(...all))
        expect(histogram.reduce((sum, count) => sum + count, 0)).toBe(all.length)
        expect(histogram.at(-1)).toBeGreaterThan(0)
        histogram.forEach((count, octave) => {
          const inside = all.filter((micros) => Math.min(31, Math.floor(Math.log2(micros))) === octave)
          expect(count).toBe(inside.length)
        })
      }),
      seeded(200),
    )
  })

  it('no faults, no vCPUs, counters too short', () => {
    const nothing = { latencyUs: { p50: 0, p90: 0, p99: 0, max: 0 }, histogram: [] }
    expect(latenciesOf([], 0)).toEqual(nothing)
    expect(latenciesOf([new Array(FAULT_BUCKETS).fill(0)], 0)).toEqual(nothing)
    expect(latenciesOf([[3], []], 1.5)).toEqual({
      latencyUs: { p50: 2 ** 0.125, p90: 2 ** 0.125, p99: 2 ** 0.125, max: 1.5 },
      histogram: [3],
    })
  })
})
