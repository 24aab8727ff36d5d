// The push window on a simulated link: a lane that sends whenever there is room, and faults at even times.

import { describe, expect, it } from 'vitest'
import { BATCH_PAGES, PAGE_BYTES, PUSH_WINDOW_MAX_BYTES, PUSH_WINDOW_MIN_BYTES } from '../../../src/limits.ts'
import { PushWindow } from '../../../src/migration/transfer/push-window.ts'

const KIB = 1024

interface Link {
  readonly bytesPerMs: number
  readonly roundTripMs: number
  readonly faultEveryMs: number
  readonly forMs: number
  /** Nothing is counted before. */
  readonly fromMs?: number
}

/** Runs the lane; returns the share of time the link was busy, and the window's mean and largest size. */
function simulate(window: PushWindow, { bytesPerMs, roundTripMs, faultEveryMs, forMs, fromMs = 0 }: Link) {
  const acks: number[] = []
  let [now, freeAt, busy, faultAt] = [0, 0, 0, faultEveryMs]
  let [sum, samples, largest] = [0, 0, 0]
  while (now < forMs) {
    while (window.room()) {
      const bytes = window.batchPages() * (PAGE_BYTES + 16)
      const ms = bytes / bytesPerMs
      freeAt = Math.max(freeAt, now) + ms
      if (now >= fromMs) busy += ms
      window.sent(bytes, now)
      acks.push(freeAt + roundTripMs)
    }
    now = Math.min(acks[0] ?? Number.POSITIVE_INFINITY, faultAt)
    if (now === faultAt) {
      window.fault()
      faultAt += faultEveryMs
    } else {
      acks.shift()
      window.acked(now)
    }
    if (now < fromMs) continue
    sum += window.windowBytes
    samples++
    largest = Math.max(largest, window.windowBytes)
  }
  return { busy: busy / (now - fromMs), mean: sum / samples, largest }
}

describe('size', () => {
  it('begins with 1 MiB in batches of a quarter', () => {
    const window = new PushWindow()
    expect(window.windowBytes).toBe(1024 * KIB)
    expect(window.batchPages()).toBe(64)
    for (let frame = 0; frame < 4; frame++) {
      expect(window.room()).toBe(true)
      window.sent(256 * KIB, 0)
    }
    expect(window.inFlightBytes).toBe(1024 * KIB)
    expect(window.room()).toBe(false)
    window.acked(1)
    expect(window.inFlightBytes).toBe(768 * KIB)
    expect(window.room()).toBe(true)
  })

  it('is halved by faults, and never smaller than the minimum', () => {
    const window = new PushWindow()
    window.fault()
    expect(window.windowBytes).toBe(512 * KIB)
    for (let fault = 0; fault < 10; fault++) window.fault()
    expect(window.windowBytes).toBe(PUSH_WINDOW_MIN_BYTES)
    expect(window.batchPages()).toBe(16)
  })

  it('grows with acknowledgements of frames that no fault followed, up to the maximum', () => {
    const window = new PushWindow()
    const exchange = (fault: boolean): void => {
      window.sent(4 * KIB, 0)
      if (fault) window.fault()
      window.acked(0)
    }
    exchange(false)
    expect(window.windowBytes).toBe(1088 * KIB)
    exchange(true)
    expect(window.windowBytes).toBe(544 * KIB)
    exchange(false)
    expect(window.windowBytes).toBe(608 * KIB)
    for (let frame = 0; frame < 200; frame++) exchange(false)
    expect(window.windowBytes).toBe(PUSH_WINDOW_MAX_BYTES)
    expect(window.batchPages()).toBe(BATCH_PAGES)
  })

  it('limits the frames under way, too', () => {
    const window = new PushWindow()
    let frames = 0
    while (window.room()) {
      window.sent(272, 0)
      frames++
    }
    expect(frames).toBe(256)
    for (let turn = 0; turn < 1000; turn++) {
      window.acked(turn)
      expect(window.room()).toBe(true)
      window.sent(272, turn)
    }
    expect(window.inFlightBytes).toBe(256 * 272)
  })
})

describe('link', () => {
  const distant = { bytesPerMs: 100_000, roundTripMs: 10 }
  const loopback = { bytesPerMs: 1_000_000, roundTripMs: 0.1 }

  it('stays full over 10 ms at 100 MB/s under a fault every ms', () => {
    const { busy, largest } = simulate(new PushWindow(), { ...distant, faultEveryMs: 1, forMs: 3000 })
    expect(busy).toBeGreaterThanOrEqual(0.9)
    // The floor does not feed on its own queue.
    expect(largest).toBeLessThan(2.5e6)
  })

  it('stays full after the lane has stood idle', () => {
    const window = new PushWindow()
    simulate(window, { ...distant, faultEveryMs: 1, forMs: 3000 })
    while (window.inFlightBytes > 0) window.acked(3020)
    window.sent(4 * KIB, 60_000)
    window.acked(60_010.1)
    // The old rate is forgotten: the minimum, and one step for this acknowledgement …
    expect(window.windowBytes).toBe(128 * KIB)
    // … and found again.
    const late = new PushWindow()
    late.sent(4 * KIB, -60_000)
    late.acked(-59_990)
    expect(simulate(late, { ...distant, faultEveryMs: 1, forMs: 3000, fromMs: 200 }).busy).toBeGreaterThanOrEqual(0.9)
  })

  it.each([0.2, 0.5, 1])('stays small on loopback under a fault every %f ms', (faultEveryMs) => {
    const { mean } = simulate(new PushWindow(), { ...loopback, faultEveryMs, forMs: 500, fromMs: 20 })
    expect(mean).toBeLessThan(512 * KIB)
  })

  it('grows to the maximum on loopback without faults', () => {
    const window = new PushWindow()
    simulate(window, { ...loopback, faultEveryMs: 1e9, forMs: 500 })
    expect(window.windowBytes).toBe(PUSH_WINDOW_MAX_BYTES)
  })
})
