// Whole migrations between two hosts over real sockets and threads: every workload arrives byte for byte, proven by
// digest, audit and replay.

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import type { GuestConfig } from '../../src/guest/config.ts'
import { GuestHost } from '../../src/guest-process/host.ts'
import type { MigrationReport } from '../../src/migration/report.ts'
import type { MigrationOptions } from '../../src/migration/settings.ts'
import { SmallAgent } from '../support/small-agent.ts'

const MIB = 1024 * 1024
let agent: SmallAgent
let directory: string
let source: GuestHost | undefined

beforeEach(async () => {
  agent = await SmallAgent.listen()
  directory = await mkdtemp(join(tmpdir(), 'godwit-test-'))
})

afterEach(async () => {
  await source?.close()
  source = undefined
  await agent.close()
  await rm(directory, { recursive: true, force: true })
})

const config = (over: Partial<GuestConfig>): GuestConfig => ({
  id: 'a'.repeat(32),
  name: 'guest',
  memoryBytes: 16 * MIB,
  vcpus: 2,
  program: 'mutator',
  programHash: null,
  options: { workload: 'web', content: 'mix' },
  seed: 7,
  pace: { kind: 'free', perSecond: 20_000 },
  ...over,
})

async function start(over: Partial<GuestConfig> = {}): Promise<GuestHost> {
  source = await GuestHost.create({ config: config(over), directory, programsDirectory: null, agentName: 'here' })
  await wait(50)
  return source
}

let migrations = 0
async function move(host: GuestHost, settings: MigrationOptions = {}): Promise<MigrationReport> {
  return await host.migrate({
    id: (++migrations).toString(16).padStart(32, '0'),
    to: { host: '127.0.0.1', port: agent.port },
    settings,
    sourceAgent: { name: 'here', port: 1 },
    dataPortRange: [0, 0],
    listenHost: '127.0.0.1',
  })
}

async function expectArrived(report: MigrationReport): Promise<void> {
  expect(report.error).toBeUndefined()
  expect(report).toMatchObject({ outcome: 'completed', owner: 'destination', consistent: true })
  expect(report.checks).toMatchObject({ digest: true, audit: true })
  const arrived = agent.arrivals.at(-1) as GuestHost
  expect(arrived.status()).toMatchObject({ state: 'running', owner: 'here' })
  expect(await arrived.oracle()).toEqual({ equal: true, differing: [] })
}

describe.each(['idle', 'web', 'hot', 'diab', 'sparse', 'phased', 'local'])('workload %s', (workload) => {
  test.each([
    { movement: 'stop-and-copy' as const, channels: 1 },
    { movement: 'pre-copy' as const, channels: 2 },
  ])('$movement over $channels channels arrives byte for byte', async ({ movement, channels }) => {
    const host = await start({ options: { workload, content: 'mix' } })
    await expectArrived(await move(host, { movement, channels }))
  })
})

test('a flat-out guest with four vCPUs arrives byte for byte', async () => {
  const host = await start({
    vcpus: 4,
    pace: { kind: 'free', perSecond: null },
    options: { workload: 'hot', content: 'random' },
  })
  await expectArrived(await move(host, { channels: 4 }))
})

test('stages add up to the total and parts to the downtime', async () => {
  const host = await start()
  const { timeMs } = await move(host)
  const sum = (parts: Record<string, number | undefined>): number =>
    Object.values(parts).reduce<number>((total, each) => total + (each ?? 0), 0)
  expect(sum(timeMs.stages) / timeMs.total).toBeCloseTo(1, 2)
  expect(sum(timeMs.downtimeParts) / timeMs.downtime).toBeCloseTo(1, 1)
  expect(Object.keys(timeMs.stages)).toEqual(['prepare', 'reserve', 'iterate', 'stop', 'commit', 'activate'])
})

test('a locked guest sends the same bytes over one and three channels', async () => {
  const totals: number[][] = []
  for (const channels of [1, 3]) {
    const host = await start({ pace: { kind: 'locked', lambda: null }, options: { workload: 'hot', content: 'mix' } })
    const report = await move(host, { channels })
    await expectArrived(report)
    totals.push([report.bytes.sent - report.bytes.control, report.pages.sent, report.rounds.length])
    await host.close()
  }
  expect(totals[0]).toEqual(totals[1])
  expect(totals[0]?.[2]).toBeGreaterThan(2)
})

test('cancel returns the guest to the source, and it can be moved again', async () => {
  const host = await start({ memoryBytes: 32 * MIB })
  const moving = move(host, { bandwidth: 5_000_000 })
  await wait(400)
  await host.cancel()
  const report = await moving
  expect(report).toMatchObject({ outcome: 'cancelled', owner: 'source', error: { code: 'cancelled' } })
  expect(host.status()).toMatchObject({ state: 'running', owner: 'here' })
  const before = host.vcpus.steps()
  await wait(50)
  expect(host.vcpus.steps()).toBeGreaterThan(before)
  await expectArrived(await move(host))
})

test('--verify full and --no-verify', async () => {
  const full = await move(await start(), { verify: 'full' })
  expect(full).toMatchObject({ outcome: 'completed', consistent: true, checks: { digest: true } })
  await source?.close()
  const none = await move(await start(), { verify: 'none' })
  expect(none).toMatchObject({ outcome: 'completed', consistent: null, checks: {} })
})
