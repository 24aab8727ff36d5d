// By hand, not part of `npm test`: a key-value guest goes to and fro between two agents under a load from outside, each time by a
// movement, with settings, a size and a number of vCPUs drawn from a seed. Every run ends with the load's verdict: no command
// failed, nobody was disconnected, every counter is exact. Prints one line a run.
//
//   node test/soak/service.ts [RUNS OF EACH MOVEMENT] [FIRST SEED] [MOVEMENT]      default: 20 runs of each from seed 1

import { monitorEventLoopDelay } from 'node:perf_hooks'
import { setTimeout as sleep } from 'node:timers/promises'
import { parseAddress } from '../../src/cli/agent-client.ts'
import { DemoAgent } from '../../src/cli/demo-agents.ts'
import { startLoad } from '../../src/load/load.ts'
import type { MigrationReport } from '../../src/migration/report.ts'
import { MOVEMENTS, type Movement } from '../../src/migration/settings.ts'
import { Random } from '../simulation/random.ts'

const wanted = Number(process.argv[2] ?? 20)
const first = Number(process.argv[3] ?? 1)
const movements = MOVEMENTS.filter((movement) => movement === (process.argv[4] ?? movement))
const HOPS = 2
const RUN_LIMIT_MS = 120_000
const failed: string[] = []
let requests = 0
let longest = 0
/** This process does next to nothing: when it stands still, the machine does. */
const standstill = monitorEventLoopDelay({ resolution: 5 })
standstill.enable()

/** One guest, there and back, one load. */
async function voyage(movement: Movement, seed: number, agents: readonly DemoAgent[]): Promise<string> {
  const random = new Random(seed)
  const draw = <T>(from: readonly T[]): T => from[random.below(from.length)] as T
  const name = `${movement}-${seed}`
  const [alpha, beta] = agents as [DemoAgent, DemoAgent]
  const memoryBytes = draw([8, 16, 32]) * 1024 ** 2
  const vcpus = draw([1, 2, 4])
  const guest = await alpha.client.startGuest({ name, program: 'kv', vcpus, memoryBytes, options: {} })
  const load = {
    targets: [{ host: '127.0.0.1', port: guest.servicePort as number }],
    rate: draw([500, 2000, 4000]),
    keys: draw([200, 2000]),
    valueBytes: draw([20, 1000]),
    writes: draw([0.5, 1]),
    connections: draw([1, 4, 16]),
    seed,
  }
  const signal = AbortSignal.timeout(RUN_LIMIT_MS)
  const told: unknown[] = []
  standstill.reset()
  const hops = async (): Promise<void> => {
    for (let hop = 0; hop < HOPS; hop++) {
      const [from, to] = hop % 2 === 0 ? [alpha, beta] : [beta, alpha]
      const settings = {
        movement,
        channels: draw([1, 2]),
        bandwidth: draw([null, 40e6, 200e6]),
        encode: draw(['adaptive', 'zero'] as const),
        maxRounds: draw([1, 3, 29]),
      }
      const id = await from.client.migrate(name, { to: parseAddress(to.client.url), settings })
      for (;;) {
        const { state, report } = await from.client.migration(id)
        if (state === 'ended') {
          told.push(settings, essence(report))
          if (report?.outcome !== 'completed' || report.consistent === false)
            throw new Error(JSON.stringify(report?.error))
          break
        }
        await sleep(10, undefined, { signal })
      }
      while ((await to.client.guest(name)).state !== 'running') await sleep(10, undefined, { signal })
    }
  }
  const running = startLoad(load)
  try {
    await running.ready
    await sleep(200)
    await hops()
    await sleep(200)
    const result = await running.stop()
    const gap = Math.max(...result.windows.map(({ longestGapMs }) => longestGapMs))
    requests += result.requests
    longest = Math.max(longest, gap)
    if (result.failed > 0 || result.disconnects > 0 || result.exact !== true) throw new Error(JSON.stringify(result))
    return `${vcpus} vCPUs, ${load.rate}/s, ${result.requests} requests, longest gap ${gap.toFixed(0)} ms`
  } catch (error) {
    const still = `this process stood still for ${(standstill.max / 1e6).toFixed(0)} ms at most`
    const message = error instanceof Error ? error.message : error
    throw new Error(`${message}; ${still}; ${JSON.stringify(told)}; ${await standing(name, agents)}`)
  } finally {
    await running.kill()
    for (const { client } of agents) await client.stopGuest(name, true).catch(() => {})
  }
}

const essence = (report: MigrationReport | null): unknown => report && { ...report, rounds: report.rounds.length }

/** What both agents say of the guest: where a run that did not end has stopped. */
async function standing(name: string, agents: readonly DemoAgent[]): Promise<string> {
  const said = agents.map(async ({ client }) => {
    const { state, owner, steps, migration } = await client.guest(name)
    return JSON.stringify({ state, owner, steps, migration })
  })
  const all = await Promise.allSettled(said)
  return all.map((each) => (each.status === 'fulfilled' ? each.value : String(each.reason))).join(' | ')
}

const agents = await Promise.all(['alpha', 'beta'].map((name) => DemoAgent.start(name, [0, 0])))
try {
  for (let seed = first; seed < first + wanted; seed++) {
    for (const movement of movements) {
      try {
        console.log(`ok     ${movement} seed ${seed}: ${await voyage(movement, seed, agents)}`)
      } catch (error) {
        failed.push(`${movement} ${seed}`)
        console.log(`FAILED ${movement} seed ${seed}: ${error instanceof Error ? error.message : error}`)
      }
    }
  }
} finally {
  await Promise.all(agents.map((agent) => agent.close()))
}
const runs = wanted * movements.length
console.log(
  `${runs - failed.length} passed, ${failed.length} failed${failed.length > 0 ? `: ${failed}` : ''}; ${requests} requests`,
)
console.log(`longest gap ${longest.toFixed(0)} ms`)
process.exit(failed.length === 0 ? 0 : 1)
