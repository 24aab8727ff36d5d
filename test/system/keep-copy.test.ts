// Guests that come back to a host that kept a copy of their memory: only what changed crosses, and they arrive byte for
// byte, whatever the copy holds and whatever fails on the way.

import { setTimeout as wait } from 'node:timers/promises'
import { afterEach, expect, test } from 'vitest'
import type { GuestConfig } from '../../src/guest/config.ts'
import type { MigrationReport } from '../../src/migration/report.ts'
import { MIB } from '../support/config.ts'
import { Shuttle } from '../support/shuttle.ts'

let shuttle: Shuttle | undefined

afterEach(async () => {
  await shuttle?.close()
  shuttle = undefined
})

async function begin(over: Partial<GuestConfig> = {}): Promise<Shuttle> {
  await shuttle?.close()
  shuttle = await Shuttle.begin(over)
  return shuttle
}

/** A guest that steps only when the test lets it. */
const STILL = { pace: { kind: 'locked', lambda: 0 }, options: { workload: 'web', content: 'random' } } as const
const kept = (report: MigrationReport): number => report.pages.encodings.kept?.pages ?? 0

test.each([
  { movement: 'pre-copy', channels: 1, encode: 'zero' },
  { movement: 'pre-copy', channels: 2, encode: 'adaptive' },
  { movement: 'stop-and-copy', channels: 3, encode: 'raw' },
  { movement: 'stop-and-copy', channels: 1, encode: 'adaptive' },
] as const)(
  '$movement back over $channels channels, $encode: 5 % dirtied, at most 0.06 of the memory',
  async (settings) => {
    const going = await begin(STILL)
    const out = await going.hop(settings)
    await going.expectWell(out)
    expect(kept(out)).toBe(0)
    expect(going.copy?.status()).toMatchObject({ state: 'kept', owner: 'elsewhere' })
    const stale = await going.dirty(0.05)
    expect(stale).toBeLessThan(0.055)
    const back = await going.hop(settings)
    await going.expectWell(back)
    expect(back.checks).toEqual({ digest: true, audit: true })
    expect(back.bytes.sent / back.guest.memoryBytes).toBeLessThanOrEqual(0.06)
    expect(kept(back)).toBe(Math.round((1 - stale) * back.pages.total))
    expect(back.pages.sent).toBe(back.pages.total - kept(back))
  },
)

test.each([
  { encode: 'delta', channels: 2, deltaCache: 16 * MIB },
  { encode: 'adaptive', channels: 1, deltaCache: 16 * MIB },
  { encode: 'delta', channels: 1, deltaCache: 4 * MIB },
] as const)('back with few bytes changed: deltas against the copy, $encode', async ({ deltaCache, ...how }) => {
  const settings = { ...how, deltaCache, bandwidth: 40_000_000 }
  const going = await begin({ ...STILL, options: { workload: 'sparse', content: 'text' } })
  await going.expectWell(await going.hop(settings))
  const stale = await going.dirty(0.05)
  const back = await going.hop(settings)
  await going.expectWell(back)
  expect(back.consistent).toBe(true)
  const changed = Math.round(stale * back.pages.total)
  // The first round alone filled the cache if it can hold all pages.
  if (deltaCache < 16 * MIB) return expect(back.pages.encodings.delta?.pages ?? 0).toBeLessThan(changed)
  // Pages that were zero when they came are not worth a slot: the mutator's own, four of them.
  expect(back.pages.encodings.delta?.pages).toBe(changed - 4)
  expect(back.bytes.sent).toBeLessThan(0.01 * back.guest.memoryBytes)
})

test('every later hop has deltas against the copy, too, for pages that did not travel the last time', async () => {
  const settings = { encode: 'delta', channels: 2, deltaCache: 16 * MIB } as const
  const going = await begin({ ...STILL, options: { workload: 'sparse', content: 'text' } })
  for (let hop = 0; hop < 4; hop++) {
    const stale = hop === 0 ? 0 : await going.dirty(0.05)
    const report = await going.hop(settings)
    await going.expectWell(report)
    expect(report.consistent).toBe(true)
    if (hop === 0) continue
    const { delta, raw } = report.pages.encodings
    expect(delta?.pages).toBeGreaterThan(stale * report.pages.total - 8)
    expect(raw?.pages ?? 0).toBeLessThan(8)
  }
})

test('versions that are not in the copy are not compared with', async () => {
  const settings = { encode: 'delta', deltaCache: 16 * MIB } as const
  const going = await begin({ ...STILL, options: { workload: 'sparse', content: 'text' } })
  await going.hop(settings)
  await going.dirty(0.05)
  const { bytes } = going.copy?.memory ?? { bytes: new Uint8Array() }
  for (let at = 0; at < bytes.length; at += 2 * 4096) bytes[at + 5] = (bytes[at + 5] as number) ^ 0x40
  const back = await going.hop(settings)
  await going.expectWell(back)
  expect(back.consistent).toBe(true)
  expect(kept(back)).toBeLessThan(back.pages.total / 2)
})

test('four hops of a guest that goes on writing, over two channels', async () => {
  const going = await begin({ vcpus: 4, options: { workload: 'hot', content: 'mix' } })
  for (let hop = 0; hop < 4; hop++) {
    const report = await going.hop({ channels: 2 })
    await going.expectWell(report)
    if (hop > 0) expect(kept(report)).toBeGreaterThan(0)
  }
})

test.each(['full', 'none'] as const)('verify %s', async (verify) => {
  const going = await begin(STILL)
  await going.hop({ verify })
  await going.dirty(0.02)
  const back = await going.hop({ verify })
  expect(back.consistent).toBe(verify === 'full' ? true : null)
  await going.expectWell(back)
  expect(kept(back)).toBeGreaterThan(0.9 * back.pages.total)
})

test('a copy of which every page is another is no harm', async () => {
  const going = await begin(STILL)
  await going.hop()
  const { bytes } = going.copy?.memory ?? { bytes: new Uint8Array() }
  for (let at = 0; at < bytes.length; at += 4096) bytes[at + 5] = (bytes[at + 5] as number) ^ 0x40
  const back = await going.hop()
  await going.expectWell(back)
  expect(back.consistent).toBe(true)
  expect(kept(back)).toBe(0)
})

test.each(['zero', 'raw', 'adaptive'] as const)('free pages travel as zeros, %s', async (encode) => {
  const pace = { kind: 'free', perSecond: 300 } as const
  const going = await begin({ pace, options: { workload: 'free', content: 'random' } })
  await going.expectWell(await going.hop({ encode }))
  for (let hop = 0; hop < 2; hop++) {
    // Time to free pages that are in the copy, and to use others again.
    await wait(200)
    const report = await going.hop({ encode })
    await going.expectWell(report)
    expect(report.checks.digest).toBe(true)
    expect(report.pages.free).toBe(0)
    expect(kept(report)).toBeGreaterThan(0)
  }
})

test('a paused guest comes back paused, without a page', async () => {
  const going = await begin()
  await going.host.pause()
  await going.hop()
  const back = await going.hop()
  expect(back).toMatchObject({ outcome: 'completed', consistent: true, pages: { sent: 0 } })
  expect(going.host.status().state).toBe('paused')
  expect(await going.host.oracle()).toMatchObject({ equal: true })
})

test('post-copy and hybrid begin with empty memory', async () => {
  const going = await begin({ options: { workload: 'web', content: 'mix' } })
  for (const movement of ['post-copy', 'hybrid'] as const) {
    await going.expectWell(await going.hop())
    const report = await going.hop({ movement })
    expect(kept(report)).toBe(0)
    await expect.poll(() => going.host.status().state, { timeout: 10_000 }).toBe('running')
    await going.expectWell(report)
    // What is left at the source of a pull is a copy like any other.
    expect(going.copy?.status().state).toBe('kept')
  }
})

test('cancelled on the way into its copy the guest stays, and moves again without it', async () => {
  const going = await begin({ memoryBytes: 32 * MIB, options: { workload: 'web', content: 'random' } })
  await going.hop()
  const moving = going.hop({ bandwidth: 1_000_000, downtimeTarget: 0.1, maxRounds: 10_000 })
  await expect.poll(() => going.host.status().migration?.progress?.stage, { timeout: 10_000 }).toBe('iterate')
  await going.host.cancel()
  expect(await moving).toMatchObject({ outcome: 'cancelled', owner: 'source' })
  await going.expectRuns()
  expect(going.copy).toBeNull()
  const again = await going.hop()
  await going.expectWell(again)
  expect(kept(again)).toBe(0)
})

test('a link that is cut while the copy is told leaves the guest where it is', async () => {
  const going = await begin()
  await going.hop()
  going.there.relayed = (relay) => {
    let told = 0
    relay.onForwarded = (towardsDestination, control, bytes) => {
      if (!towardsDestination && control) told += bytes
      if (told > 20_000) relay.cut()
    }
  }
  const report = await going.hop()
  expect(report).toMatchObject({ outcome: 'failed', owner: 'source' })
  await going.expectRuns()
  going.there.relayed = null
  await going.expectWell(await going.hop())
})
