// Steps a second: of the last one or two seconds, whenever it was asked before, without what was done elsewhere.

import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { StepRate } from '../../src/guest/step-rate.ts'

let steps = 0
let rate: StepRate

beforeEach(() => {
  vi.useFakeTimers()
  steps = 0
  rate = new StepRate(() => steps)
})

afterEach(() => {
  rate.end()
  expect(vi.getTimerCount()).toBe(0)
  vi.useRealTimers()
})

function run(ms: number, perSecond: number): void {
  for (let passed = 0; passed < ms; passed += 10) {
    vi.advanceTimersByTime(10)
    steps += perSecond / 100
  }
}

test('what was long before the last seconds does not count, though nobody asked meanwhile', () => {
  run(3_600_000, 0)
  run(5000, 100_000)
  run(2000, 2000)
  expect(rate.perSecond()).toBeCloseTo(2000, -2)
})

test('who asks often learns no less than who asks for the first time', () => {
  run(5000, 1000)
  for (let asked = 0; asked < 20; asked++) {
    run(10, 1000)
    expect(rate.perSecond()).toBeCloseTo(1000, -2)
  }
})

test('the time before they began to run does not count, and one of less than 100 ms tells nothing', () => {
  run(5000, 0)
  steps = 1_000_000
  rate.begin()
  run(90, 20_000)
  expect(rate.perSecond()).toBe(0)
  run(10, 20_000)
  expect(rate.perSecond()).toBe(20_000)
  run(400, 20_000)
  rate.begin()
  run(50, 1000)
  expect(rate.perSecond()).toBe(20_000)
})

test('a vCPU that comes with its steps has not made them here', () => {
  rate.begin()
  steps += 1_000_000
  rate.skip(1_000_000)
  run(1000, 300)
  expect(rate.perSecond()).toBe(300)
})
