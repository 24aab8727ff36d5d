// Every interleaving of the exchange of soft, in small: no write is lost, a page has one owner, a vCPU runs on one host, and
// nobody waits for ever. And each rule broken on purpose is found.

import { describe, expect, test } from 'vitest'
import { exchangeModel } from './exchange-model.ts'
import type { ExchangeVariant } from './exchange-sides.ts'
import { explore } from './explorer.ts'

const TIMEOUT_MS = 240_000
const violation = (variant: ExchangeVariant) => explore(exchangeModel(variant)).violation

describe('the exchange, every interleaving', { timeout: TIMEOUT_MS }, () => {
  const cases: [string, ExchangeVariant, number][] = [
    ['two vCPUs on two hosts share two pages, one cut', { vcpus: 2, writes: 2 }, 10_000],
    ['two vCPUs on two hosts share two pages, two cuts', { vcpus: 2, writes: 1, cuts: 2 }, 10_000],
    ['a vCPU crosses, everything follows, one cut', { vcpus: 1, writes: 2, crossings: [1], push: true }, 1000],
    ['there and back, two cuts', { vcpus: 1, writes: 2, crossings: [2], cuts: 2 }, 1000],
    [
      'one crosses while the other runs there, everything follows',
      { vcpus: 2, writes: 1, crossings: [1], push: true },
      10_000,
    ],
    [
      'and what came a moment ago waits, unless it is asked for',
      { vcpus: 2, writes: 2, cuts: 0, crossings: [1], push: true, lately: true },
      10_000,
    ],
    ['one goes there and back while the other runs there', { vcpus: 2, writes: 1, crossings: [2] }, 10_000],
    [
      'everything follows and is called home at any time, one cut',
      { vcpus: 1, writes: 1, push: true, home: true },
      1000,
    ],
  ]
  test.each(cases)('%s', (_, variant, least) => {
    const result = explore(exchangeModel(variant))
    expect(result.violation).toBeNull()
    expect(result.states).toBeGreaterThan(least)
  })
})

describe('a rule broken on purpose is found', { timeout: TIMEOUT_MS }, () => {
  test('R11: a page given before the handshake', () => {
    expect(violation({ vcpus: 2, writes: 1, cuts: 0, giveEarly: true })?.rule).toMatch(/lost|bad-page/)
  })

  test('R25: nothing is taken back after a cut', () => {
    expect(violation({ vcpus: 2, writes: 1, noRollback: true })?.rule).toBe('deadlock')
  })

  test('what came back after a cut is taken for what the other side has', () => {
    expect(violation({ vcpus: 2, writes: 2, forgetStale: true })?.rule).toMatch(/bad-page|lost/)
  })

  test('R6: pages are taken from vCPUs that wait for them', () => {
    expect(violation({ vcpus: 2, writes: 1, cuts: 0, takeFromWaiters: true })?.rule).toBe('livelock')
  })

  test('R25: everything in flight is taken back, whether it arrived or not', () => {
    expect(violation({ vcpus: 2, writes: 1, wrongCount: true })?.rule).toMatch(/two owners|bad-frame/)
  })

  test('asks overtake the frames that they were sent behind', () => {
    expect(violation({ vcpus: 2, writes: 2, cuts: 0, asksOvertake: true })?.rule).toBe('deadlock')
  })
})
