// A copy at real agents, in real guest processes: there and back again, and one whose process is killed on the way in.

import { setTimeout as wait } from 'node:timers/promises'
import { afterEach, expect, test } from 'vitest'
import { parseAddress } from '../../src/cli/agent-client.ts'
import type { MigrationReport } from '../../src/migration/report.ts'
import type { MigrationOptions } from '../../src/migration/settings.ts'
import { AgentProcess } from '../support/agent-process.ts'
import { guestConfig } from '../support/config.ts'

let agents: AgentProcess[] = []

afterEach(async () => {
  for (const agent of agents) await agent.close()
  agents = []
})

async function begin(): Promise<[AgentProcess, AgentProcess]> {
  const [alpha, beta] = await Promise.all([AgentProcess.start('alpha'), AgentProcess.start('beta')])
  agents = [alpha, beta]
  const { name, memoryBytes, vcpus, program, seed } = guestConfig()
  const options = { workload: 'web', content: 'random' }
  const pace = { kind: 'free', perSecond: 1000 } as const
  await alpha.client.startGuest({ name, memoryBytes, vcpus, program, options, seed, pace })
  return [alpha, beta]
}

const moving = (from: AgentProcess, to: AgentProcess, settings: MigrationOptions = {}): Promise<string> =>
  from.client.migrate('guest', { to: parseAddress(to.client.url), settings: { keepCopy: true, ...settings } })

async function reportOf(agent: AgentProcess, id: string): Promise<MigrationReport> {
  for (;;) {
    const { report } = await agent.client.migration(id)
    if (report !== null) return report
    await wait(20)
  }
}

const kept = (report: MigrationReport): number => report.pages.encodings.kept?.pages ?? 0

test('a guest goes to and fro four times in the same two processes', { timeout: 90_000 }, async () => {
  let [here, there] = await begin()
  const pids = new Set<number>()
  for (let hop = 0; hop < 4; hop++) {
    pids.add((await here.client.guest('guest')).pid)
    const report = await reportOf(here, await moving(here, there))
    expect(report).toMatchObject({ outcome: 'completed', consistent: true, owner: 'destination' })
    expect(kept(report) > 0).toBe(hop > 0)
    await expect.poll(async () => (await here.client.copies()).length, { timeout: 10_000 }).toBe(1)
    expect(await here.client.guests()).toEqual([])
    expect(await there.client.copies()).toEqual([])
    ;[here, there] = [there, here]
  }
  expect(pids.size).toBe(2)
  expect(await here.client.oracle('guest')).toMatchObject({ equal: true })
})

test('its process is killed on the way in: the guest stays, and comes without it', { timeout: 90_000 }, async () => {
  const [alpha, beta] = await begin()
  await reportOf(alpha, await moving(alpha, beta))
  await expect.poll(async () => (await alpha.client.copies()).length, { timeout: 10_000 }).toBe(1)
  const slow = { bandwidth: 100_000, downtimeTarget: 0.1, maxRounds: 10_000 }
  const id = await moving(beta, alpha, slow)
  const stage = async (): Promise<unknown> => (await beta.client.guest('guest')).migration?.progress?.stage
  await expect.poll(stage, { timeout: 15_000 }).toBe('iterate')
  const [incoming] = await alpha.client.guests()
  process.kill(incoming?.pid as number, 'SIGKILL')
  expect(await reportOf(beta, id)).toMatchObject({ outcome: 'failed', owner: 'source' })
  expect(await beta.client.guest('guest')).toMatchObject({ state: 'running', owner: 'here' })
  await expect.poll(async () => (await alpha.client.guests()).length, { timeout: 10_000 }).toBe(0)
  expect(await alpha.client.copies()).toEqual([])
  const again = await reportOf(beta, await moving(beta, alpha))
  expect(again).toMatchObject({ outcome: 'completed', consistent: true })
  expect(kept(again)).toBe(0)
  expect(await alpha.client.oracle('guest')).toMatchObject({ equal: true })
})
