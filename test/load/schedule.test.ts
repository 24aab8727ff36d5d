// When operations are due and which they are: from the seed alone, at the rate and in the shares that were asked for.

import { describe, expect, test } from 'vitest'
import { type ArrivalKind, Arrivals } from '../../src/load/arrivals.ts'
import { keyAt, type Mix, OPERATION, Operations, zipfTable } from '../../src/load/operations.ts'
import { Random } from '../../src/load/random.ts'

const timesOf = (kind: ArrivalKind, seed: number, count: number, beginMs = 0): number[] => {
  const arrivals = new Arrivals(kind, 100, beginMs, new Random(seed, 1))
  return Array.from({ length: count }, () => {
    const at = arrivals.nextMs
    arrivals.advance()
    return at
  })
}
const gapsOf = (times: readonly number[]): number[] => times.slice(1).map((at, index) => at - (times[index] as number))
const mean = (all: readonly number[]): number => all.reduce((sum, each) => sum + each, 0) / all.length

describe('arrivals', () => {
  test('Poisson: exponential gaps of the mean that the rate asks for', () => {
    const gaps = gapsOf(timesOf('poisson', 7, 20_000))
    expect(mean(gaps)).toBeCloseTo(10, 0)
    // A share of 1/e is longer than the mean, and the deviation is as large as the mean.
    expect(gaps.filter((gap) => gap > 10).length / gaps.length).toBeCloseTo(Math.exp(-1), 1)
    expect(Math.sqrt(mean(gaps.map((gap) => (gap - 10) ** 2)))).toBeCloseTo(10, 0)
    expect(Math.min(...gaps)).toBeGreaterThanOrEqual(0)
  })

  test('fixed: even gaps, the first somewhere within one', () => {
    const times = timesOf('fixed', 7, 1000, -500)
    expect(times[0]).toBeGreaterThanOrEqual(-500)
    expect(times[0]).toBeLessThan(-490)
    for (const gap of gapsOf(times)) expect(gap).toBeCloseTo(10, 6)
  })

  test('go on by many at once as far as they do on average', () => {
    const arrivals = new Arrivals('fixed', 100, 0, new Random(1, 1))
    const first = arrivals.nextMs
    expect(arrivals.expected(first + 5000)).toBeCloseTo(500, 6)
    arrivals.advance(250)
    expect(arrivals.nextMs - first).toBeCloseTo(2500, 6)
    expect([arrivals.expected(first + 5000), arrivals.expected(0)]).toEqual([expect.closeTo(250, 6), 0])
  })

  test('follow from the seed', () => {
    expect(timesOf('poisson', 3, 100)).toEqual(timesOf('poisson', 3, 100))
    expect(timesOf('poisson', 3, 100)).not.toEqual(timesOf('poisson', 4, 100))
  })
})

describe('operations', () => {
  const mix: Mix = { writes: 0.4, increments: 0.25, keys: 50, counters: 10, connections: 4 }
  const COUNT = 20_000
  const drawn = (connection: number, seed = 5, table: Float64Array | null = null) => {
    const operations = new Operations(mix, connection, new Random(seed, 1), table)
    return Array.from({ length: COUNT }, () => {
      operations.next()
      return { kind: operations.kind, key: operations.key, added: operations.added }
    })
  }

  test('have the shares that were asked for', () => {
    const all = drawn(0)
    const share = (kind: number): number => all.filter((each) => each.kind === kind).length / COUNT
    expect(share(OPERATION.increment)).toBeCloseTo(0.1, 1)
    expect(share(OPERATION.set)).toBeCloseTo(0.3, 1)
    expect(share(OPERATION.get)).toBeCloseTo(0.6, 1)
    expect(new Set(all.map(({ key }) => key)).size).toBe(50)
  })

  test('no two connections increment the same counter, and every counter is somebody’s', () => {
    const counters = [0, 1, 2, 3].map(
      (connection) =>
        new Set(
          drawn(connection)
            .filter(({ kind }) => kind === OPERATION.increment)
            .map(({ key }) => key),
        ),
    )
    expect(counters.map((each) => [...each].sort((a, b) => a - b))).toEqual([
      [0, 4, 8],
      [1, 5, 9],
      [2, 6],
      [3, 7],
    ])
  })

  test('add at least 1', () => {
    const added = drawn(1)
      .filter(({ kind }) => kind === OPERATION.increment)
      .map((each) => each.added)
    expect([Math.min(...added), Math.max(...added)]).toEqual([1, 9])
  })

  test('zipf: each key in proportion to its rank', () => {
    const table = zipfTable(50)
    expect([keyAt(table, 0), keyAt(table, 1 - 2 ** -33), table.at(-1)]).toEqual([0, 49, 1])
    const all = drawn(0, 5, table).filter(({ kind }) => kind !== OPERATION.increment)
    const times = (wanted: number): number => all.filter(({ key }) => key === wanted).length
    expect(times(0) / times(9)).toBeGreaterThan(7)
    expect(times(0) / times(9)).toBeLessThan(14)
  })
})
