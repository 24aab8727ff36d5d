// Guests that refer to each other at the destination, at real agents and in real guest processes: what a gang saves, that
// nobody else is referred to, and that a neighbour which changes or dies costs bytes and nothing else.

import { randomBytes } from 'node:crypto'
import { setTimeout as wait } from 'node:timers/promises'
import { afterEach, expect, test } from 'vitest'
import { parseAddress } from '../../src/cli/agent-client.ts'
import type { MigrationReport } from '../../src/migration/report.ts'
import type { MigrationOptions } from '../../src/migration/settings.ts'
import { AgentProcess } from '../support/agent-process.ts'
import { MIB } from '../support/config.ts'

const MEMORY = 16 * MIB
/** Slow enough that adaptive encodes. */
const SLOW: MigrationOptions = { bandwidth: 40_000_000, maxRounds: 4 }

let agents: AgentProcess[] = []

afterEach(async () => {
  for (const agent of agents) await agent.close()
  agents = []
})

async function begin(...options: string[]): Promise<[AgentProcess, AgentProcess]> {
  const [alpha, beta] = await Promise.all([AgentProcess.start('alpha'), AgentProcess.start('beta', ...options)])
  agents = [alpha, beta]
  return [alpha, beta]
}

/** Guests of which 60 % of the pages that are not zero are the same in all. */
async function startGuest(agent: AgentProcess, name: string, seed: number, perSecond = 500): Promise<void> {
  const options = { workload: 'web', content: 'mix', common: 0.6 }
  const pace = { kind: 'free', perSecond } as const
  await agent.client.startGuest({ name, memoryBytes: MEMORY, vcpus: 2, program: 'mutator', options, seed, pace })
}

const begun = (from: AgentProcess, to: AgentProcess, name: string, settings: MigrationOptions): Promise<string> =>
  from.client.migrate(name, { to: parseAddress(to.client.url), settings: { ...SLOW, ...settings } })

async function reportOf(agent: AgentProcess, id: string): Promise<MigrationReport> {
  for (;;) {
    const { report } = await agent.client.migration(id)
    if (report !== null) return report
    await wait(20)
  }
}

async function move(from: AgentProcess, to: AgentProcess, name: string, settings: MigrationOptions = {}) {
  const report = await reportOf(from, await begun(from, to, name, settings))
  expect(report.error).toBeUndefined()
  expect(report).toMatchObject({ outcome: 'completed', consistent: true, checks: { digest: true } })
  return report
}

const shared = (report: MigrationReport): number => report.pages.encodings.shared?.pages ?? 0
const newGang = (): string => randomBytes(16).toString('hex')
/** Everything on the sockets of the migration, both ways: the hashes of the neighbours, too. */
const total = (reports: readonly MigrationReport[]): number =>
  reports.reduce((sum, { bytes }) => sum + bytes.sent + bytes.received, 0)

test.each(['adaptive', 'dedup'] as const)('a gang of three, %s', { timeout: 120_000 }, async (encode) => {
  const [alpha, beta] = await begin()
  const names = ['one', 'two', 'three']
  for (const [index, name] of names.entries()) await startGuest(alpha, name, index + 1)
  const gang = newGang()
  const reports: MigrationReport[] = []
  for (const name of names) reports.push(await move(alpha, beta, name, { gang, encode, channels: reports.length + 1 }))
  expect(reports.map((report) => shared(report) > 0)).toEqual([false, true, true])
  const [first, second] = reports as [MigrationReport, MigrationReport]
  expect(second.bytes.sent / first.bytes.sent).toBeLessThan(0.65)
  expect(total(reports) / (3 * total([first]))).toBeLessThan(0.75)
  for (const name of names) expect(await beta.client.oracle(name)).toMatchObject({ equal: true })
})

test('nobody is referred to without a gang or --share-pages', { timeout: 90_000 }, async () => {
  const [alpha, beta] = await begin()
  await startGuest(beta, 'resident', 9)
  for (const [index, name] of ['one', 'two', 'three'].entries()) await startGuest(alpha, name, index + 1)
  await move(alpha, beta, 'one')
  const alone = await move(alpha, beta, 'two')
  expect(shared(alone)).toBe(0)
  // The hashes of one neighbour would be 32 KiB.
  expect(alone.bytes.received).toBeLessThan(16 * 1024)
  const other = await move(alpha, beta, 'three', { gang: newGang() })
  expect(shared(other)).toBe(0)
  expect(other.bytes.received).toBeLessThan(16 * 1024)
})

test('--share-pages: any guest there is referred to, in a pause and before a pull, too', {
  timeout: 120_000,
}, async () => {
  const [alpha, beta] = await begin('--share-pages')
  await startGuest(beta, 'resident', 9)
  const ways: MigrationOptions[] = [
    {},
    { movement: 'stop-and-copy', channels: 2 },
    { movement: 'hybrid', maxRounds: 1 },
  ]
  for (const [index, settings] of ways.entries()) {
    await startGuest(alpha, `guest${index}`, index + 1)
    expect(shared(await move(alpha, beta, `guest${index}`, settings))).toBeGreaterThan(500)
  }
  await startGuest(alpha, 'plain', 7)
  let [from, to] = [alpha, beta]
  for (const settings of [{ encode: 'lz4' }, { verify: 'full' }, { movement: 'post-copy' }] as MigrationOptions[]) {
    const report = await move(from, to, 'plain', settings)
    expect(shared(report)).toBe(0)
    expect(report.bytes.received).toBeLessThan(64 * 1024)
    const { client } = to
    await expect.poll(async () => (await client.guest('plain')).state, { timeout: 10_000 }).toBe('running')
    ;[from, to] = [to, from]
  }
  for (let index = 0; index < ways.length; index++) {
    expect(await beta.client.oracle(`guest${index}`)).toMatchObject({ equal: true })
  }
})

test('a neighbour that writes all the time costs pages that are missing', { timeout: 90_000 }, async () => {
  const [alpha, beta] = await begin('--share-pages')
  await startGuest(beta, 'busy', 9, 3000)
  await startGuest(alpha, 'guest', 1, 20_000)
  const report = await move(alpha, beta, 'guest', { bandwidth: 10_000_000 })
  expect(shared(report)).toBeGreaterThan(100)
  expect(await beta.client.oracle('guest')).toMatchObject({ equal: true })
})

test('a neighbour that is killed, or stopped, while it is referred to', { timeout: 120_000 }, async () => {
  for (const signal of ['SIGKILL', 'SIGSTOP'] as const) {
    const [alpha, beta] = await begin('--share-pages')
    await startGuest(beta, 'resident', 9)
    await startGuest(alpha, 'guest', 1)
    const { pid } = await beta.client.guest('resident')
    const id = await begun(alpha, beta, 'guest', { bandwidth: 2_000_000 })
    const sent = async (): Promise<number> => {
      const progress = (await alpha.client.guest('guest')).migration?.progress as { bytesSent?: number } | null
      return progress?.bytesSent ?? 0
    }
    await expect.poll(sent, { timeout: 20_000, interval: 20 }).toBeGreaterThan(300_000)
    process.kill(pid, signal)
    const report = await reportOf(alpha, id)
    if (signal === 'SIGSTOP') process.kill(pid, 'SIGCONT')
    expect(report).toMatchObject({ outcome: 'completed', consistent: true })
    expect(shared(report)).toBeGreaterThan(0)
    expect(report.rounds.length).toBeGreaterThan(1)
    expect(await beta.client.oracle('guest')).toMatchObject({ equal: true })
    for (const agent of agents) await agent.close()
    agents = []
  }
})
