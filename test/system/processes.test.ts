// Real agents and guest processes that die by SIGKILL at the beginning of every stage of a migration: who owns the guest
// then, that it runs there and nowhere else, and that its memory passes the oracle.

import { setTimeout as wait } from 'node:timers/promises'
import { afterEach, describe, expect, test } from 'vitest'
import type { AgentEvent } from '../../src/agent/event-hub.ts'
import { type MigrationReport, STAGES, type Stage } from '../../src/migration/report.ts'
import { AgentProcess } from '../support/agent-process.ts'
import { guestConfig } from '../support/config.ts'

const VICTIMS = ['source guest', 'destination guest', 'source agent', 'destination agent'] as const
type Victim = (typeof VICTIMS)[number]
type Place = 'source' | 'destination' | 'nowhere'

/** Before the switch the source has the only whole copy; behind it the destination has it. */
const EARLY = {
  'source guest': ['nowhere'],
  'destination guest': ['source'],
  'source agent': ['destination'],
  'destination agent': ['destination'],
} as const

/** Where the guest may be in the end when the victim is struck at the beginning of a stage. */
const PLACES: Record<Stage, Record<Victim, readonly Place[]>> = {
  // No destination process exists yet, and an agent that is not there takes no guest.
  prepare: {
    'source guest': ['nowhere'],
    'destination guest': ['source', 'destination'],
    'source agent': ['source', 'destination'],
    'destination agent': ['source', 'destination'],
  },
  reserve: {
    'source guest': ['nowhere'],
    'destination guest': ['source'],
    'source agent': ['destination'],
    'destination agent': ['source', 'destination'],
  },
  iterate: EARLY,
  stop: EARLY,
  // A signal takes longer than a commit: it may come before the commit point, between, or behind it.
  commit: {
    'source guest': ['nowhere', 'destination'],
    'destination guest': ['source', 'nowhere'],
    'source agent': ['destination'],
    'destination agent': ['destination'],
  },
  activate: {
    'source guest': ['destination'],
    'destination guest': ['nowhere'],
    'source agent': ['destination'],
    'destination agent': ['destination'],
  },
  // R22: each has pages that the other lacks.
  pull: {
    'source guest': ['nowhere'],
    'destination guest': ['nowhere'],
    'source agent': ['destination'],
    'destination agent': ['destination'],
  },
}

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

type Told = AsyncGenerator<AgentEvent>

/** What the source's agent tells from now on: whoever asks for one migration's events may be too late for its first stages. */
async function listen(source: AgentProcess, watching: AbortSignal): Promise<Told> {
  const { body } = await fetch(`${source.client.url}/v1/events`, { signal: watching })
  return eventsIn(body as ReadableStream<Uint8Array>)
}

async function* eventsIn(body: ReadableStream<Uint8Array>): Told {
  let rest = ''
  for await (const piece of body) {
    const lines = (rest + Buffer.from(piece).toString('latin1')).split('\n')
    rest = lines.pop() ?? ''
    for (const line of lines) if (line.startsWith('data:')) yield JSON.parse(line.slice(5)) as AgentEvent
  }
}

/** Resolves when the guest's migration is at that stage. */
async function atStage(stage: Stage, told: Told, id: string): Promise<void> {
  if (stage === 'prepare') return
  for await (const event of told) {
    if (event.migration !== id) continue
    if (event.type === 'stage' && event.stage === stage) return
    if (event.type === 'report') throw new Error(`over before ${stage}: ${JSON.stringify(event.report)}`)
  }
}

/** Kills the victim; false when there is no such process yet. */
async function strike(victim: Victim, pids: { source: number }, agent: AgentProcess): Promise<boolean> {
  if (victim.endsWith('agent')) {
    await agent.kill()
    return true
  }
  if (victim === 'source guest') return process.kill(pids.source, 'SIGKILL')
  const [guest] = await agent.client.guests()
  return guest !== undefined && process.kill(guest.pid, 'SIGKILL')
}

/** Where the guest runs once everything has come to rest; fails the moment two hosts run it. */
async function whereItRuns(source: AgentProcess, destination: AgentProcess): Promise<Place> {
  let [place, since] = ['nowhere' as Place, performance.now()]
  const until = performance.now() + 30_000
  while (performance.now() < until) {
    const [atSource, atDestination] = await Promise.all([source, destination].map(stateAt))
    // `migrating` says nothing: a source behind the commit point is migrating still.
    expect(atSource === 'running' && atDestination === 'running').toBe(false)
    const now = atSource === 'running' ? 'source' : atDestination === 'running' ? 'destination' : 'nowhere'
    const moving = [atSource, atDestination].some((state) => ['migrating', 'incoming', 'pulling'].includes(`${state}`))
    if (now !== place || moving) [place, since] = [now, performance.now()]
    if (performance.now() - since > (place === 'nowhere' ? 3000 : 1000)) return place
    await wait(50)
  }
  return place
}

async function stateAt(agent: AgentProcess): Promise<string | undefined> {
  return (await agent.client.guests()).find(({ name }) => name === 'guest')?.state
}

async function reportOf(agent: AgentProcess, id: string): Promise<MigrationReport> {
  for (;;) {
    const { report } = await agent.client.migration(id)
    if (report !== null) return report
    await wait(50)
  }
}

/** Whose memory was spread over two processes: told to whoever looks, never run again by itself. */
async function expectLost(source: AgentProcess, destination: AgentProcess, id: string, victim: Victim): Promise<void> {
  const lost = { state: 'lost', crash: { code: 'lost', hint: expect.stringContaining('--abandon') } }
  expect(await destination.client.guest('guest')).toMatchObject(lost)
  expect(await reportOf(source, id)).toMatchObject({ outcome: 'lost', owner: 'nobody' })
  await destination.client.resolve('guest', { what: 'abandon', peerIsDead: false })
  await expect.poll(() => stateAt(destination), { timeout: 10_000 }).toBeUndefined()
  if (victim === 'source guest') return
  expect(await source.client.guest('guest')).toMatchObject(lost)
  const taken = await source.client.resolve('guest', { what: 'take-stale', peerIsDead: false })
  expect(taken).toMatchObject({ state: 'running', owner: 'here', epoch: 3 })
  expect(await source.client.oracle('guest')).toMatchObject({ equal: true })
}

test('every stage has its expectation', () => {
  expect(Object.keys(PLACES)).toEqual([...STAGES])
})

describe.each(STAGES)('at stage %s', (stage) => {
  test.each(VICTIMS)('%s dies: one owner, and its memory passes', { timeout: 60_000 }, async (victim) => {
    const { source, destination } = await begin()
    const pids = { source: (await source.client.guest('guest')).pid }
    // Raw, so that no stage is over before the signal comes; slow where it must not come behind the switch: rounds and the
    // last of them then take seconds, also for a machine that stands still for a while.
    const early = (['reserve', 'iterate', 'stop'] as Stage[]).includes(stage)
    const slow = stage === 'pull' || (early && victim.endsWith('guest'))
    const bandwidth = slow ? 4_000_000 : 20_000_000
    const limits = { bandwidth, switchoverTimeout: 20_000, maxRounds: 1, encode: 'raw' as const }
    const settings = stage === 'pull' ? { ...limits, movement: 'post-copy' as const } : limits
    const watching = new AbortController()
    const told = await listen(source, watching.signal)
    const id = await source.client.migrate('guest', { to: { host: '127.0.0.1', port: destination.port }, settings })
    await atStage(stage, told, id)
    const agent = victim.startsWith('source') ? source : destination
    const struck = await strike(victim, pids, agent)
    watching.abort()
    if (victim.endsWith('agent')) await agent.restart()

    const place = await whereItRuns(source, destination)
    if (struck) expect(PLACES[stage][victim]).toContain(place)
    if (stage === 'pull' && place === 'nowhere') await expectLost(source, destination, id, victim)
    if (place === 'nowhere') return
    const owner = place === 'source' ? source : destination
    expect(await owner.client.oracle('guest')).toMatchObject({ equal: true })
    if (victim === 'source guest') return
    // An agent is not on the path of a migration: it goes on without it, and its report is not lost.
    const report = await reportOf(source, id)
    if (place === 'destination') expect(report).toMatchObject({ outcome: 'completed', consistent: true })
    else expect(report).toMatchObject({ outcome: 'failed', owner: 'source' })
  })
})
