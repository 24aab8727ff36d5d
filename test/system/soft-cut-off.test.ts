// Either host cut off for five seconds while both serve, under a load from outside: no command is lost or doubled, no client of
// the gateway is disconnected, and the only error that one may see is the one that R31 allows for commands that take too long.

import { setTimeout as wait } from 'node:timers/promises'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { GatewayServer } from '../../src/agent/gateway-server.ts'
import { ChaosRelay, RELAY_HOST } from '../../src/cli/chaos-relay.ts'
import { HOLD_MS } from '../../src/limits.ts'
import { type Load, startLoad } from '../../src/load/load.ts'
import type { LoadResult } from '../../src/load/result.ts'
import type { MigrationReport } from '../../src/migration/report.ts'
import { AgentProcess } from '../support/agent-process.ts'
import { MIB } from '../support/config.ts'

const CUT_MS = 5000
/** Whatever a client asked is answered in this time, if with an error. */
const LONGEST_MS = HOLD_MS + 1500

let relay: ChaosRelay
let agents: AgentProcess[] = []
let gateway: GatewayServer | undefined
let load: Load | undefined
const stopped: number[] = []

beforeEach(async () => {
  relay = await ChaosRelay.open(20)
  const ports = ['--data-ports', relay.range.join('-')]
  agents = await Promise.all(['alpha', 'beta'].map((name) => AgentProcess.start(name, ...ports)))
  for (const { port } of agents) await relay.add(port)
})
afterEach(async () => {
  for (const pid of stopped.splice(0)) process.kill(pid, 'SIGCONT')
  await load?.kill()
  await gateway?.close()
  for (const agent of agents) await agent.close()
  await relay.close()
})

interface Seen {
  readonly report: MigrationReport
  readonly result: LoadResult
}

/** A guest moves under load; while vCPUs run at both hosts, `fault` happens. */
async function under(fault: (source: AgentProcess, destination: AgentProcess) => Promise<void>): Promise<Seen> {
  const [source, destination] = agents as [AgentProcess, AgentProcess]
  await source.client.startGuest({ name: 'store', program: 'kv', vcpus: 4, memoryBytes: 32 * MIB, options: {} })
  const listen = { host: '127.0.0.1', port: 0 }
  const known = agents.map(({ port }) => ({ host: '127.0.0.1', port }))
  gateway = await GatewayServer.open({ guest: 'store', agents: known, listen, httpPort: null })
  const targets = [{ host: '127.0.0.1', port: gateway.front.port }]
  const service = { keys: 2000, valueBytes: 1000, writes: 0.5, connections: 16, rate: 800 }
  load = startLoad({ targets, ...service, patienceMs: 30_000 })
  await load.ready
  await wait(500)
  const settings = { movement: 'soft', bandwidth: 1_500_000, maxRounds: 1, advertise: RELAY_HOST } as const
  const id = await source.client.migrate('store', { to: { host: RELAY_HOST, port: destination.port }, settings })
  const bothServe = async (): Promise<boolean> => {
    const guest = (await destination.client.guests()).find(({ state }) => state === 'shared')
    return guest?.steps.some(Boolean) === true
  }
  await expect.poll(bothServe, { interval: 5, timeout: 30_000 }).toBe(true)
  await fault(source, destination)
  const ended = async () => (await source.client.migration(id)).report
  await expect.poll(ended, { interval: 50, timeout: 40_000 }).not.toBe(null)
  await wait(500)
  const result = await load.stop()
  return { report: (await ended()) as MigrationReport, result }
}

/** A process stands still, and what it was sent waits. */
async function freeze(pid: number): Promise<void> {
  stopped.push(pid)
  process.kill(pid, 'SIGSTOP')
  await wait(CUT_MS)
  process.kill(pid, 'SIGCONT')
  stopped.splice(stopped.indexOf(pid), 1)
}

function expectKept({ report, result }: Seen): void {
  const { errors, failed, longestGapMs, requests, disconnects, counters } = result
  console.log(JSON.stringify({ requests, failed, errors, longestGapMs, recoveries: report.soft?.recoveries }))
  expect(report).toMatchObject({ outcome: 'completed', owner: 'destination', consistent: true })
  expect({ disconnects, exact: result.exact, lost: counters.lost, doubled: counters.doubled }).toEqual({
    ...{ disconnects: 0, exact: true, lost: 0, doubled: 0 },
  })
  expect(counters.unread).toBe(0)
}

/** R31: a command that was held for too long fails with an error that says so. */
function expectOnlyHeld({ result }: Seen): void {
  for (const error of Object.keys(result.errors)) expect(error).toMatch(/^(UNKNOWN|UNREACHABLE)\b/)
  // Where the machine stood still, the clients did, too.
  expect(result.longestGapMs).toBeLessThan(LONGEST_MS + result.generator.latenessMs.max)
}

describe('for 5 s', { timeout: 120_000 }, () => {
  test('the link between the hosts', async () => {
    const seen = await under(async () => {
      relay.cut(true)
      await wait(CUT_MS)
      relay.heal()
    })
    expectKept(seen)
    expectOnlyHeld(seen)
    expect(seen.report.soft?.recoveries).toBeGreaterThan(0)
  })

  test('the agents of both: nobody notices', async () => {
    const seen = await under(async (...both) => void (await Promise.all(both.map(({ pid }) => freeze(pid)))))
    expectKept(seen)
    expect(seen.result.failed).toBe(0)
  })

  test.each(['source', 'destination'] as const)('the guest process at the %s', async (side) => {
    const seen = await under(async (source, destination) => {
      const { client } = side === 'source' ? source : destination
      await freeze((await client.guest('store')).pid)
    })
    expectKept(seen)
    expectOnlyHeld(seen)
  })
})
