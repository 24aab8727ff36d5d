// Steps a second: over the time since it was asked last, without what was done elsewhere.

import { expect, test } from 'vitest'
import { StepRate } from '../../src/guest/step-rate.ts'

test('over the time since it was asked last, and not more often than ten times a second', () => {
  let now = 1000
  const rate = new StepRate(() => now)
  rate.begin(500)
  now += 99
  expect(rate.perSecond(900)).toBe(0)
  now += 101
  expect(rate.perSecond(900)).toBe(2000)
  now += 50
  expect(rate.perSecond(5000)).toBe(2000)
  now += 50
  expect(rate.perSecond(1000)).toBe(1000)
})

test('a vCPU that comes with its steps has not made them here', () => {
  let now = 0
  const rate = new StepRate(() => now)
  rate.begin(0)
  rate.skip(1_000_000)
  now += 1000
  expect(rate.perSecond(1_000_300)).toBe(300)
})
