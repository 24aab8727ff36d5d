// Real agents and guest processes that die by SIGKILL in the middle of a migration: who owns the guest then, that it
// runs there and nowhere else, and that its memory passes the oracle.

import { setTimeout as wait } from 'node:timers/promises'
import { afterEach, describe, expect, test } from 'vitest'
import type { MigrationReport } from '../../src/migration/report.ts'
import { AgentProcess } from '../support/agent-process.ts'
import { guestConfig } from '../support/config.ts'

/** Stages that a slow link stretches, so that a signal surely hits them. */
const MOVEMENTS = { iterate: 'pre-copy', stop: 'stop-and-copy' } as const
const VICTIMS = ['source guest', 'destination guest', 'source agent', 'destination agent'] as const
type Victim = (typeof VICTIMS)[number]

let agents: AgentProcess[] = []

afterEach(async () => {
  for (const agent of agents) await agent.close()
  agents = []
})

async function begin(): Promise<{ source: AgentProcess; destination: AgentProcess }> {
  const [source, destination] = await Promise.all([AgentProcess.start('alpha'), AgentProcess.start('beta')])
  agents = [source, destination]
  const { name, memoryBytes, vcpus, program, options, seed, pace } = guestConfig()
  await source.client.startGuest({ name, memoryBytes, vcpus, program, options, seed, pace })
  return { source, destination }
}

async function strike(victim: Victim, source: AgentProcess, destination: AgentProcess): Promise<void> {
  const agent = victim.startsWith('source') ? source : destination
  if (victim.endsWith('agent')) return await agent.kill()
  process.kill((await agent.client.guest('guest')).pid, 'SIGKILL')
}

/** Where the guest runs: asks every living agent until exactly one says it does, or none for three seconds. */
async function whereItRuns(): Promise<AgentProcess | null> {
  for (let tries = 0; tries < 60; tries++) {
    const running: AgentProcess[] = []
    for (const agent of agents) {
      const guests = await agent.client.guests().catch(() => [])
      if (guests.some(({ name, state }) => name === 'guest' && (state === 'running' || state === 'migrating'))) {
        running.push(agent)
      }
    }
    const settled = running.length === 1 && (await running[0]?.client.guest('guest'))?.state === 'running'
    if (settled) return running[0] as AgentProcess
    expect(running.length).toBeLessThan(2)
    await wait(100)
  }
  return null
}

async function reportOf(agent: AgentProcess, id: string): Promise<MigrationReport> {
  for (;;) {
    const { report } = await agent.client.migration(id)
    if (report !== null) return report
    await wait(50)
  }
}

describe.each(['iterate', 'stop'] as const)('at stage %s', (stage) => {
  test.each(VICTIMS)('%s dies', { timeout: 60_000 }, async (victim) => {
    const { source, destination } = await begin()
    const settings = { movement: MOVEMENTS[stage], bandwidth: 10_000_000, switchoverTimeout: 20_000, maxRounds: 1 }
    const id = await source.client.migrate('guest', { to: { host: '127.0.0.1', port: destination.port }, settings })
    await expect.poll(async () => (await destination.client.guests()).length, { timeout: 10_000 }).toBe(1)
    await wait(300)
    await strike(victim, source, destination)
    if (victim === 'source agent') await source.restart()
    if (victim === 'destination agent') await destination.restart()
    if (victim === 'source guest') {
      // The only whole copy has gone with its process: the guest is lost, and nobody pretends otherwise.
      await wait(1500)
      expect(await whereItRuns()).toBeNull()
      return
    }
    const report = await reportOf(source, id)
    const owner = await whereItRuns()
    if (victim === 'destination guest') {
      expect(report).toMatchObject({ outcome: 'failed', owner: 'source' })
      expect(owner).toBe(source)
    } else {
      // An agent is not on the path of a migration: it goes on without it.
      expect(report).toMatchObject({ outcome: 'completed', consistent: true })
      expect(owner).toBe(destination)
    }
    expect(await owner?.client.oracle('guest')).toMatchObject({ equal: true })
  })
})
