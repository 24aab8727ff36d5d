// Free pages across whole migrations (R17): they do not travel, the guest arrives all the same, and fewer bytes do.

import { afterEach, describe, expect, test } from 'vitest'
import type { GuestConfig } from '../../src/guest/config.ts'
import type { MigrationReport } from '../../src/migration/report.ts'
import type { MigrationOptions } from '../../src/migration/settings.ts'
import { MIB } from '../support/config.ts'
import { Journey } from '../support/journey.ts'

let journey: Journey | undefined

afterEach(async () => {
  await journey?.close()
  journey = undefined
})

/** The most that free pages may leave of the bytes (docs/techniques.md, G2.6). */
const MOST = 0.55

async function move(
  options: GuestConfig['options'],
  settings: MigrationOptions,
  over: Partial<GuestConfig> = {},
): Promise<MigrationReport> {
  await journey?.close()
  const shared = { workload: 'free', content: 'random', ...options }
  journey = await Journey.begin({ pace: { kind: 'locked', lambda: null }, options: shared, ...over })
  const report = await journey.move(settings)
  await journey.expectArrived(report)
  return report
}

describe.each(['pre-copy', 'stop-and-copy'] as const)('%s', (movement) => {
  test.each([1, 3])('over %d channels sends at most 0.55 of the bytes', async (channels) => {
    const settings: MigrationOptions = { movement, channels, downtimeTarget: 5 }
    const hinted = await move({}, settings)
    const plain = await move({ declare: false }, settings)
    expect(hinted.checks).toEqual({ digest: true, audit: true })
    expect(hinted.pages.free).toBeGreaterThanOrEqual(hinted.pages.total / 2)
    expect(plain.pages.free).toBe(0)
    expect(hinted.bytes.sent / plain.bytes.sent).toBeLessThanOrEqual(MOST)
  })

  test('a guest that goes on by itself, verified in full', async () => {
    const pace = { kind: 'free', perSecond: 20_000 } as const
    const report = await move({ content: 'mix' }, { movement, verify: 'full' }, { pace, vcpus: 4 })
    expect(report.pages.free).toBeGreaterThanOrEqual(report.pages.total / 2)
  })
})

test('pages that are used again between their omission and the switch arrive', async () => {
  // 16 steps a page record: the allocator goes round its ring more than once while the first round is sent.
  const pace = { kind: 'locked', lambda: 16 } as const
  const report = await move(
    {},
    { movement: 'pre-copy', downtimeTarget: 5, maxRounds: 4 },
    { pace, memoryBytes: 4 * MIB },
  )
  expect(report.pages.free).toBeGreaterThan(0)
  expect(report.rounds.length).toBeGreaterThan(1)
  const later = report.rounds.slice(1).reduce((sum, round) => sum + round.sent, 0)
  expect(later).toBeGreaterThan(report.pages.free)
})

test('a guest that moved goes on freeing and reusing pages, as its replay does', async () => {
  const report = await move({}, { movement: 'pre-copy' }, { pace: { kind: 'free', perSecond: 50_000 } })
  expect(report.pages.free).toBeGreaterThan(0)
  const arrival = journey?.agent.arrivals.at(-1)
  await expect.poll(() => (arrival?.vcpus.steps() ?? 0) > 40_000, { timeout: 10_000 }).toBe(true)
  expect(await arrival?.oracle()).toMatchObject({ equal: true })
})
