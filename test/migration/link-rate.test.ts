// The link's rate from placements: rounds that overlap on the link are not counted twice.

import { expect, test } from 'vitest'
import { LinkRate } from '../../src/migration/link-rate.ts'

function linkAt(): { link: LinkRate; at(ms: number): void } {
  let now = 0
  const clock = { now: () => now, nowNs: () => 0n, sleep: async () => {} }
  return {
    link: new LinkRate(clock),
    at: (ms) => {
      now = ms
    },
  }
}

test('a round alone: bytes over the time to its placement', () => {
  const { link, at } = linkAt()
  at(100)
  expect(link.placed(0, 4_000_000)).toEqual({ ms: 100, bytesPerSecond: 40_000_000 })
})

test('a round that began while the one before it was on the link has the link from that placement on', () => {
  const { link, at } = linkAt()
  at(100)
  link.placed(0, 4_000_000)
  at(150)
  expect(link.placed(60, 2_000_000)).toEqual({ ms: 90, bytesPerSecond: 40_000_000 })
})

test.each([
  ['a few pages within a millisecond', 101, 102, 4096],
  ['nothing at all, a long round trip', 101, 201, 0],
  ['a few pages, a long round trip', 101, 201, 4096],
  ['two placements read at once', 99, 100, 1_000_000],
])('%s: measures latency and changes nothing', (_, began, placed, bytes) => {
  const { link, at } = linkAt()
  at(100)
  link.placed(0, 4_000_000)
  at(placed)
  expect(link.placed(began, bytes, 50).bytesPerSecond).toBe(40_000_000)
})

test('the round trip is no part of the transfer of a round that had the link alone', () => {
  const { link, at } = linkAt()
  at(150)
  expect(link.placed(0, 4_000_000, 50)).toEqual({ ms: 150, bytesPerSecond: 40_000_000 })
})

test('before the first placement the estimate is what the kernel took', () => {
  const { link, at } = linkAt()
  at(10)
  expect(link.estimate(0, 1_000_000)).toBe(100_000_000)
  at(100)
  link.placed(0, 4_000_000)
  expect(link.estimate(90, 1)).toBe(40_000_000)
})
