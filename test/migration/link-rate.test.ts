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

test('a round of a few pages measures latency and lowers nothing', () => {
  const { link, at } = linkAt()
  at(100)
  link.placed(0, 4_000_000)
  at(102)
  expect(link.placed(101, 4096).bytesPerSecond).toBe(40_000_000)
})

test('before the first placement the estimate is what the kernel took', () => {
  const { link, at } = linkAt()
  at(10)
  expect(link.estimate(0, 1_000_000)).toBe(100_000_000)
  at(100)
  link.placed(0, 4_000_000)
  expect(link.estimate(90, 1)).toBe(40_000_000)
})
