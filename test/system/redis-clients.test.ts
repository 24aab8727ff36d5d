// Unmodified Redis clients against agents, through their service ports and a gateway, while the guest goes there and back:
// no error, no disconnect, exact counts.

import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { Cluster, Redis } from 'ioredis'
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { GatewayServer } from '../../src/agent/gateway-server.ts'
import type { GuestView, MigrateBody } from '../../src/agent/schemas.ts'
import type { Movement } from '../../src/migration/settings.ts'
import { AgentProcess } from '../support/agent-process.ts'
import { RespClient } from '../support/resp-client.ts'

const HAS_TOOLS =
  spawnSync('redis-cli', ['--version']).status === 0 && spawnSync('redis-benchmark', ['--version']).status === 0
if (!HAS_TOOLS) console.log('skipped: redis-cli and redis-benchmark are not installed (Debian: redis-tools)')

/** One after the other: each goes there as often as back, for their number is odd. */
const MOVEMENTS = ['soft', 'pre-copy', 'post-copy', 'hybrid', 'stop-and-copy'] as const
/** So often there and back; the clients that the issue names ten times, the others less often. */
const ROUNDS = Number(process.env.GODWIT_ROUNDS ?? 10)
const FEW_ROUNDS = Math.ceil(ROUNDS / 4)

let agents: [AgentProcess, AgentProcess]
let guest: GuestView
let gateway: GatewayServer | undefined
/** Which of the agents has the guest. */
let at = 0
const endings: (() => void)[] = []

beforeAll(async () => {
  agents = await Promise.all([AgentProcess.start('left'), AgentProcess.start('right')])
})

afterAll(async () => {
  await Promise.all(agents.map((agent) => agent.close()))
})

afterEach(async () => {
  for (const end of endings.splice(0)) end()
  await gateway?.close()
  gateway = undefined
  for (const { client } of agents) await client.stopGuest('store', true).catch(() => {})
  await expect.poll(async () => (await Promise.all(agents.map(({ client }) => client.guests()))).flat()).toEqual([])
})

async function start(options: Record<string, boolean> = {}): Promise<void> {
  at = 0
  const memoryBytes = 16 * 1024 * 1024
  guest = await agents[0].client.startGuest({ name: 'store', program: 'kv', vcpus: 2, memoryBytes, options })
}

async function openGateway(): Promise<GatewayServer> {
  const listen = { host: '127.0.0.1', port: 0 }
  // The agent that the guest begins at is enough.
  const [{ port }] = agents
  gateway = await GatewayServer.open({ guest: 'store', agents: [{ host: '127.0.0.1', port }], listen, httpPort: 0 })
  return gateway
}

async function hop(movement: Movement): Promise<void> {
  const [from, to] = [agents[at] as AgentProcess, agents[1 - at] as AgentProcess]
  const settings = { movement } as MigrateBody['settings']
  const id = await from.client.migrate('store', { to: { host: '127.0.0.1', port: to.port }, settings })
  await expect
    .poll(async () => (await from.client.migration(id)).state, { timeout: 20_000, interval: 20 })
    .toBe('ended')
  expect((await from.client.migration(id)).report).toMatchObject({ outcome: 'completed', consistent: true })
  at = 1 - at
}

async function hops(rounds: number): Promise<void> {
  const startedAt = performance.now()
  for (let index = 0; index < 2 * rounds; index++) await hop(MOVEMENTS[index % MOVEMENTS.length] as Movement)
  console.log(`there and back ${rounds} times in ${((performance.now() - startedAt) / 1000).toFixed(1)} s`)
}

/** Counts up over `keys`, several commands under way, until it is ended; what it expects is exact. */
class Counter {
  readonly counts = new Map<string, number>()
  readonly errors: string[] = []
  #ended = false
  readonly #done: Promise<unknown>

  constructor(increment: (key: string) => Promise<unknown>, keys: readonly string[], lanes = 8) {
    const loop = async (lane: number): Promise<void> => {
      for (let index = lane; !this.#ended; index++) {
        const key = keys[index % keys.length] as string
        try {
          await increment(key)
          this.counts.set(key, (this.counts.get(key) ?? 0) + 1)
        } catch (error) {
          this.errors.push(String(error))
          await new Promise((resolve) => setTimeout(resolve, 20))
        }
      }
    }
    this.#done = Promise.all(Array.from({ length: lanes }, (_, lane) => loop(lane)))
    endings.push(() => {
      this.#ended = true
    })
  }

  get total(): number {
    return [...this.counts.values()].reduce((sum, count) => sum + count, 0)
  }

  /** Until so many more have been counted; an error ends the waiting. */
  async goesOn(more = 100): Promise<void> {
    const before = this.total
    await expect.poll(() => this.errors.length > 0 || this.total > before + more).toBe(true)
    expect(this.errors).toEqual([])
  }

  async end(): Promise<void> {
    this.#ended = true
    await this.#done
  }
}

const KEYS = Array.from({ length: 50 }, (_, index) => `counter:${index}`)

describe('ioredis', () => {
  beforeEach(() => start())

  test.each(['the service port of the agent', 'a gateway'])(
    'through %s: no error, no disconnect, exact',
    async (where) => {
      const port = where === 'a gateway' ? (await openGateway()).front.port : (guest.servicePort as number)
      const redis = new Redis({ port, host: '127.0.0.1', retryStrategy: () => null })
      endings.push(() => redis.disconnect())
      const closes: string[] = []
      for (const event of ['close', 'error', 'reconnecting']) redis.on(event, () => closes.push(event))
      const counter = new Counter((key) => redis.incr(key), KEYS)
      await counter.goesOn()
      await hops(FEW_ROUNDS)
      await counter.goesOn()
      await counter.end()
      expect(counter.errors).toEqual([])
      expect(closes).toEqual([])
      const values = await redis.mget(KEYS)
      expect(values.map(Number)).toEqual(KEYS.map((key) => counter.counts.get(key) ?? 0))
    },
    15_000 + 20_000 * FEW_ROUNDS,
  )
})

test(
  'a cluster client follows the guest, and is told where it is',
  async () => {
    await start({ cluster: true })
    const first = guest.servicePort as number
    const cluster = new Cluster([{ host: '127.0.0.1', port: first }], { slotsRefreshTimeout: 5000 })
    endings.push(() => cluster.disconnect())
    const counter = new Counter((key) => cluster.incr(key), KEYS)
    await counter.goesOn()
    await hops(ROUNDS)
    await hop('soft')
    const there = (await agents[1].client.guest('store')).servicePort as number
    expect(there).not.toBe(first)
    const direct = await RespClient.connect(first)
    endings.push(() => direct.close())
    // The guest is at the other agent for good: this one sends clients there, and says so to whoever asks.
    await expect.poll(() => direct.command('GET', 'foo')).toBe(`-MOVED 12182 127.0.0.1:${there}`)
    expect(await direct.command('ASKING')).toBe('+OK')
    expect(await direct.command('GET', 'foo')).toBe(null)
    expect(await direct.command('CLUSTER', 'NODES')).toContain(`127.0.0.1:${there}@`)
    expect(await direct.command('CLUSTER', 'INFO')).toContain('cluster_state:ok')
    const slots = (await direct.command('CLUSTER', 'SLOTS')) as [string, string, [string, string]][]
    expect(slots.map(([from, to, [host, port]]) => [from, to, host, port])).toEqual([
      [':0', ':16383', '127.0.0.1', `:${there}`],
    ])
    const shards = await direct.command('CLUSTER', 'SHARDS')
    expect(JSON.stringify(shards)).toContain(`:${there}`)
    expect(await direct.command('MGET', 'foo', 'bar')).toBe("-CROSSSLOT Keys in request don't hash to the same slot")
    await counter.goesOn()
    await counter.end()
    expect(counter.errors).toEqual([])
    for (const key of KEYS) expect(Number(await cluster.get(key))).toBe(counter.counts.get(key) ?? 0)
  },
  60_000 + 20_000 * ROUNDS,
)

describe.skipIf(!HAS_TOOLS)('the tools of Redis', () => {
  beforeEach(() => start())

  const run = async (command: string, ...words: string[]): Promise<string> => {
    const child = spawn(command, words, { stdio: ['ignore', 'pipe', 'pipe'] })
    endings.push(() => child.kill())
    let text = ''
    for (const stream of [child.stdout, child.stderr]) stream.on('data', (bytes: Buffer) => (text += bytes))
    const [status] = await once(child, 'close')
    if (status !== 0) throw new Error(`${command} ended with ${status}: ${text.slice(-500)}`)
    return text
  }

  test(
    'redis-cli and redis-benchmark through a gateway, there and back',
    async () => {
      const { front, httpPort } = await openGateway()
      const port = String(front.port)
      expect(await run('redis-cli', '-p', port, 'SET', 'greeting', 'hello')).toBe('OK\n')
      const words = ['-p', port, '-P', '16', '-t', 'incr', '-n', '60000', '-q', '--csv']
      let moving = true
      const moved = hops(ROUNDS).finally(() => {
        moving = false
      })
      let requests = 0
      // One after the other for as long as the guest moves.
      for (; moving; requests += 60_000) expect(await run('redis-benchmark', ...words)).not.toMatch(/error/i)
      await moved
      // Every one of them counted once.
      expect(await run('redis-cli', '-p', port, 'GET', 'counter:__rand_int__')).toBe(`${requests}\n`)
      expect(await run('redis-cli', '-p', port, 'GET', 'greeting')).toBe('hello\n')
      const answer = await fetch(`http://127.0.0.1:${httpPort}/pages`)
      const pages = (await answer.json()) as { pageCount: number; runs: unknown[] }
      expect(pages).toMatchObject({ pageCount: 4096, runs: [{ first: 0, count: 4096, host: 'left' }] })
      const status = (await (await fetch(`http://127.0.0.1:${httpPort}/status`)).json()) as Record<string, unknown>
      expect(status).toMatchObject({ guest: 'store', vcpus: [{ at: 'left' }, { at: 'left' }], waiting: 0 })
    },
    60_000 + 20_000 * ROUNDS,
  )
})

test.each(['post-copy', 'soft'] as const)(
  'a gateway that ends in the middle of %s, and another in its place: what was answered is there',
  async (movement) => {
    await start()
    let { port } = (await openGateway()).front
    const keys = KEYS.slice(0, 4)
    const answered = new Map(keys.map((key) => [key, 0]))
    const unknown = new Map(keys.map((key) => [key, 0]))
    let ended = false
    const add = (counts: Map<string, number>, key: string) => counts.set(key, (counts.get(key) ?? 0) + 1)
    const lanes = keys.map(async (key) => {
      while (!ended) {
        const client = await RespClient.connect(port).catch(() => null)
        let reply: unknown = client === null ? 'closed' : await client.command('INCR', key)
        while (!ended && reply !== 'closed') {
          add(answered, key)
          reply = await client?.command('INCR', key)
        }
        if (client === null) await new Promise((resolve) => setTimeout(resolve, 20))
        else add(reply === 'closed' ? unknown : answered, key)
        client?.close()
      }
    })
    endings.push(() => {
      ended = true
    })
    const total = () => [...answered.values()].reduce((sum, count) => sum + count, 0)
    await expect.poll(total).toBeGreaterThan(50)
    const moving = hop(movement)
    await new Promise((resolve) => setTimeout(resolve, 200))
    await gateway?.close()
    port = (await openGateway()).front.port
    await moving
    const before = total()
    await expect.poll(total).toBeGreaterThan(before + 50)
    ended = true
    await Promise.all(lanes)
    const check = await RespClient.connect(port)
    endings.push(() => check.close())
    for (const key of keys) {
      const value = Number(await check.command('GET', key))
      expect(value).toBeGreaterThanOrEqual(answered.get(key) ?? 0)
      expect(value).toBeLessThanOrEqual((answered.get(key) ?? 0) + (unknown.get(key) ?? 0))
    }
  },
  60_000,
)

test('a guest that has left and is stopped takes its port at the first agent along', async () => {
  await start()
  await hop('pre-copy')
  const port = guest.servicePort as number
  const client = await RespClient.connect(port)
  endings.push(() => client.close())
  expect(await client.command('INCR', 'n')).toBe(':1')
  expect(await client.command('CLIENT', 'GETNAME')).toBe(null)
  // Its name is enough: what is left of it here is its port.
  await agents[0].client.stopGuest('store')
  await client.closed
  await expect(RespClient.connect(port)).rejects.toThrow()
  expect(((await agents[1].client.guest('store')) as GuestView).state).toBe('running')
})
