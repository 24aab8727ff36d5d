// Real agents and guest processes that die by SIGKILL while both hosts run vCPUs of a guest: who dies with a part takes the
// guest along, and the operator may give up the rest and nothing else (R29); an agent is not on the path.

import { afterEach, expect, test } from 'vitest'
import type { MigrationReport } from '../../src/migration/report.ts'
import { AgentProcess } from '../support/agent-process.ts'
import { guestConfig, MIB } from '../support/config.ts'

let agents: AgentProcess[] = []
afterEach(async () => {
  for (const agent of agents) await agent.close()
  agents = []
})

/** Begins a slow move, and waits until vCPUs run at both. */
async function bothServe(bandwidth: number) {
  const [source, destination] = await Promise.all([AgentProcess.start('alpha'), AgentProcess.start('beta')])
  agents = [source, destination]
  const over = { vcpus: 4, memoryBytes: 4 * MIB, options: { workload: 'local', content: 'random' } }
  const { name, memoryBytes, vcpus, program, options, seed, pace } = guestConfig(over)
  await source.client.startGuest({ name, memoryBytes, vcpus, program, options, seed, pace })
  const settings = { movement: 'soft' as const, bandwidth, maxRounds: 1 }
  const id = await source.client.migrate('guest', { to: { host: '127.0.0.1', port: destination.port }, settings })
  const there = async (): Promise<boolean> => {
    const guest = (await destination.client.guests()).find(({ state }) => state === 'shared')
    return guest?.steps.some(Boolean) === true
  }
  await expect.poll(there, { interval: 5, timeout: 30_000 }).toBe(true)
  return { source, destination, id }
}

async function reportOf(agent: AgentProcess, id: string): Promise<MigrationReport> {
  let report: MigrationReport | null = null
  const known = async (): Promise<boolean> => {
    report = (await agent.client.migration(id)).report
    return report !== null
  }
  await expect.poll(known, { interval: 50, timeout: 40_000 }).toBe(true)
  return report as unknown as MigrationReport
}

test.each(['source', 'destination'] as const)(
  'the %s process dies: the guest is lost',
  { timeout: 90_000 },
  async (victim) => {
    // Nobody waits for its end, so it may take long: the signal must not come too late.
    const { source, destination, id } = await bothServe(700_000)
    const [dying, living] = victim === 'source' ? [source, destination] : [destination, source]
    process.kill((await dying.client.guest('guest')).pid, 'SIGKILL')
    await expect.poll(async () => (await living.client.guest('guest')).state, { timeout: 30_000 }).toBe('lost')
    const guest = await living.client.guest('guest')
    expect(guest.crash).toMatchObject({ code: 'lost', hint: expect.stringContaining('--abandon') })
    expect(await reportOf(source, id)).toMatchObject({ outcome: 'lost', owner: 'nobody' })
    for (const peerIsDead of [false, true]) {
      for (const what of ['take', 'take-stale'] as const) {
        await expect(living.client.resolve('guest', { what, peerIsDead })).rejects.toMatchObject({
          code: 'lost',
          hint: expect.stringMatching(/--abandon|at the agent of the source/),
        })
      }
    }
    expect((await living.client.guest('guest')).steps).toEqual(guest.steps)
    // R29: there is nothing else to do.
    for (const { client } of [living, dying]) {
      expect((await client.guest('guest')).crash?.hint).toMatch(/--abandon$/)
    }
    for (const agent of [living, dying]) {
      await agent.client.resolve('guest', { what: 'abandon', peerIsDead: false })
      await expect.poll(() => agent.client.guests(), { timeout: 10_000 }).toEqual([])
    }
  },
)

test('both agents die and come back: it goes on without them', { timeout: 90_000 }, async () => {
  const { source, destination, id } = await bothServe(2_000_000)
  await Promise.all([source.kill(), destination.kill()])
  await Promise.all([source.restart(), destination.restart()])
  expect(await reportOf(source, id)).toMatchObject({ outcome: 'completed', owner: 'destination', consistent: true })
  await expect.poll(async () => (await destination.client.guest('guest')).state, { timeout: 10_000 }).toBe('running')
  expect(await destination.client.oracle('guest')).toMatchObject({ equal: true })
})
