// Events are passed on in their order, in batches, and not while the guest stands still.

import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import type { MigrationEvent } from '../../src/events.ts'
import { quietEvents } from '../../src/guest-process/quiet-events.ts'
import type { Stage } from '../../src/migration/report.ts'

beforeEach(() => {
  vi.useFakeTimers()
})
afterEach(() => {
  vi.useRealTimers()
})

const stage = (name: Stage): MigrationEvent => ({ type: 'stage', migration: 'm', stage: name, at: 0 })

function setUp() {
  const sent: string[] = []
  const events = quietEvents((event) => sent.push(event.type === 'stage' ? event.stage : event.type))
  return { sent, events }
}

test('events of the rounds arrive within a moment', () => {
  const { sent, events } = setUp()
  events.take(stage('iterate'))
  expect(sent).toEqual([])
  vi.advanceTimersByTime(20)
  expect(sent).toEqual(['iterate'])
})

test('nothing is sent from the stop to the activation, and then all of it', () => {
  const { sent, events } = setUp()
  events.take(stage('iterate'))
  vi.advanceTimersByTime(10)
  events.take(stage('stop'))
  events.take(stage('commit'))
  vi.advanceTimersByTime(50)
  expect(sent).toEqual([])
  events.take(stage('activate'))
  vi.advanceTimersByTime(1)
  expect(sent).toEqual(['iterate', 'stop', 'commit', 'activate'])
})

test('a long switchover is told of while it lasts', () => {
  const { sent, events } = setUp()
  events.take(stage('stop'))
  vi.advanceTimersByTime(100)
  expect(sent).toEqual(['stop'])
})

test('what must come after the events comes after a flush', () => {
  const { sent, events } = setUp()
  events.take(stage('stop'))
  events.take({ type: 'ended', migration: 'm', outcome: 'failed' })
  events.flush()
  expect(sent).toEqual(['stop', 'ended'])
  vi.advanceTimersByTime(1000)
  expect(sent).toEqual(['stop', 'ended'])
})
