// Whole migrations under every way of encoding: what arrives is proven by digest, audit and replay.

import { afterEach, describe, expect, test } from 'vitest'
import type { GuestConfig } from '../../src/guest/config.ts'
import type { MigrationReport } from '../../src/migration/report.ts'
import type { MigrationOptions } from '../../src/migration/settings.ts'
import { guestConfig, MIB } from '../support/config.ts'
import { Journey } from '../support/journey.ts'

let journey: Journey | undefined
afterEach(async () => {
  await journey?.close()
  journey = undefined
})

/** Slow enough that `adaptive` encodes, fast enough for a test. */
const BANDWIDTH = 60_000_000

async function arrive(over: Partial<GuestConfig>, settings: MigrationOptions): Promise<MigrationReport> {
  await journey?.close()
  journey = await Journey.begin(over)
  const report = await journey.move({ bandwidth: BANDWIDTH, maxRounds: 4, ...settings })
  await journey.expectArrived(report)
  expect(report.checks).toMatchObject({ digest: true, audit: true })
  const records = Object.values(report.pages.encodings).reduce((sum, { pages }) => sum + pages, 0)
  expect(records).toBe(report.pages.sent)
  return report
}
const small = (workload: string, content: string): Partial<GuestConfig> => ({
  memoryBytes: 8 * MIB,
  options: { workload, content },
})

// Every encoding with both channel counts, every content and every workload, though not all of their products.
describe.each([
  ['adaptive', 1, 'mix', 'sparse'],
  ['adaptive', 3, 'dup', 'web'],
  ['lz4', 1, 'text', 'web'],
  ['lz4', 3, 'mix', 'sparse'],
  ['dedup', 1, 'dup', 'sparse'],
  ['dedup', 3, 'dup', 'web'],
  ['delta', 1, 'mix', 'web'],
  ['delta', 3, 'text', 'sparse'],
  ['fallback', 1, 'dup', 'sparse'],
  ['fallback', 3, 'mix', 'web'],
] as const)('%s, %i channels, %s on %s', (encode, channels, content, workload) => {
  test('arrives byte for byte', async () => {
    const { pages } = await arrive(small(workload, content), { encode, channels })
    const named =
      encode === 'adaptive' ? 'fill sparse pattern packed lz4 delta dedup' : encode.replace('fallback', 'pattern')
    const coded = named.split(' ').reduce((sum, name) => sum + (pages.encodings[name]?.pages ?? 0), 0)
    expect(coded).toBeGreaterThan(0)
    if (encode === 'adaptive') expect(pages.encodeVerdict).toMatch(/^compression (on|off): /)
    else expect(pages.encodeVerdict).toBeUndefined()
  })
})

test.each(['post-copy', 'hybrid'] as const)('%s with adaptive', async (movement) => {
  const report = await arrive(small('sparse', 'mix'), { movement, encode: 'adaptive', channels: 2 })
  // R13: what relies on pages sent before ends at the switch.
  if (movement === 'post-copy') expect(Object.keys(report.pages.encodings).sort()).toEqual(['raw', 'zero'])
})

test('verify full and no verification', async () => {
  const how = { encode: 'adaptive', channels: 2 } as const
  for (const verify of ['full', 'none'] as const) {
    journey = await Journey.begin(small('web', 'dup'))
    const report = await journey.move({ ...how, verify, bandwidth: BANDWIDTH })
    expect(report).toMatchObject({ outcome: 'completed', owner: 'destination' })
    // Page hashes are the candidates of references.
    expect(report.pages.encodings.dedup).toBeUndefined()
    expect(await journey.agent.arrivals.at(-1)?.oracle()).toEqual({ equal: true, differing: [] })
    await journey.close()
  }
  journey = undefined
})

test.each(['kernel', 'lz4-napi'] as const)('blocks of lz4 by the %s', async (lz4) => {
  const { pages } = await arrive(small('web', 'text'), { encode: 'lz4', lz4 })
  expect(pages.encodings.lz4?.pages).toBeGreaterThan(0)
})

test.each([4095, 4096, 7 * 4096 + 1, 4 * 1024 ** 3])('a delta cache of %i bytes', async (deltaCache) => {
  const { pages } = await arrive(small('sparse', 'text'), { encode: 'delta', deltaCache, channels: 2 })
  if (deltaCache < 4096) expect(pages.encodings.delta).toBeUndefined()
})

test('a cancelled attempt leaves nothing behind that the next one relies on', async () => {
  journey = await Journey.begin({ memoryBytes: 16 * MIB, options: { workload: 'sparse', content: 'dup' } })
  const first = journey.move({ encode: 'adaptive', bandwidth: 2_000_000, channels: 2 })
  const sent = (): number => journey?.source.status().migration?.progress?.bytesSent ?? 0
  await expect.poll(sent, { timeout: 15_000 }).toBeGreaterThan(500_000)
  await journey.source.cancel()
  expect(await first).toMatchObject({ outcome: 'cancelled' })
  // The next one begins at the destination with empty memory.
  await journey.expectArrived(await journey.move({ encode: 'adaptive', bandwidth: BANDWIDTH, channels: 3 }))
})

test('a locked guest takes the same steps however its pages are encoded', async () => {
  const over = { ...small('sparse', 'mix'), pace: guestConfig({ pace: { kind: 'locked', lambda: 1 } }).pace }
  for (const encode of ['delta', 'adaptive'] as const) await arrive(over, { encode })
})
