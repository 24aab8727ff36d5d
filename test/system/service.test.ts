// A key-value guest that moves while clients are served, whole hosts in one process: every INCR counts once, whatever the
// movement, wherever the guest is, and however often a gateway asks (R30).

import { afterEach, describe, expect, test } from 'vitest'
import type { GuestConfig } from '../../src/guest/config.ts'
import type { GuestService } from '../../src/service/guest-service.ts'
import { TestGateway } from '../support/gateway.ts'
import { Shuttle } from '../support/shuttle.ts'

let shuttle: Shuttle | undefined
let gateways: TestGateway[] = []

afterEach(async () => {
  for (const gateway of gateways) gateway.disconnect()
  gateways = []
  await shuttle?.close()
  shuttle = undefined
})

const KV: Partial<GuestConfig> = { program: 'kv', options: {}, pace: { kind: 'free', perSecond: null } }
const KEYS = 40

const serviceOf = (going: Shuttle): GuestService => going.host.service as GuestService

async function begin(over: Partial<GuestConfig> = {}): Promise<Shuttle> {
  shuttle = await Shuttle.begin({ ...KV, ...over })
  return shuttle
}

function gatewayTo(going: Shuttle, number: number): TestGateway {
  const gateway = new TestGateway(number, going.host.memory.layout.vcpus)
  gateways.push(gateway)
  gateway.connect(serviceOf(going))
  return gateway
}

/** Counts what it adds to its own keys of one vCPU; several of its kind run side by side. */
class Client {
  readonly counts = new Map<string, number>()
  done = 0
  readonly #gateway: TestGateway
  readonly #vcpu: number
  readonly #name: string
  #state: number
  #stopped = false

  constructor(gateway: TestGateway, vcpu: number, name: string) {
    this.#gateway = gateway
    this.#vcpu = vcpu
    this.#name = name
    this.#state = name.length * 7919 + vcpu
  }

  /** `pipeline` commands under way at any time, until `stop`. */
  async run(pipeline: number): Promise<void> {
    await Promise.all(Array.from({ length: pipeline }, () => this.#loop()))
  }

  stop(): void {
    this.#stopped = true
  }

  async #loop(): Promise<void> {
    while (!this.#stopped) {
      this.#state = (Math.imul(this.#state, 1664525) + 1013904223) >>> 0
      const key = `${this.#name}:${this.#state % KEYS}`
      const count = (this.counts.get(key) ?? 0) + 1
      this.counts.set(key, count)
      const reply = await this.#gateway.command(this.#vcpu, 'INCR', key)
      // Commands of one gateway to one vCPU are executed in the order in which they were given.
      expect(reply).toBe(`:${count}\r\n`)
      this.done++
    }
  }

  async check(): Promise<void> {
    for (const [key, count] of this.counts) {
      const value = `${count}`
      expect(await this.#gateway.command(this.#vcpu, 'GET', key)).toBe(`$${value.length}\r\n${value}\r\n`)
    }
  }
}

describe.each(['pre-copy', 'stop-and-copy', 'post-copy', 'hybrid'] as const)('%s', (movement) => {
  test('clients are served while the guest goes to and fro, and every command counts once', async () => {
    // At this pace most steps find nothing and count all the same; the main thread, which is everybody here, has time left.
    const going = await begin({ pace: { kind: 'free', perSecond: 10_000 } })
    const pair = [gatewayTo(going, 1), gatewayTo(going, 2)]
    const clients = pair.flatMap((gateway, number) => [0, 1].map((vcpu) => new Client(gateway, vcpu, `g${number}`)))
    const running = clients.map((client) => client.run(8))
    await new Promise((resolve) => setTimeout(resolve, 50))
    for (let hop = 0; hop < 4; hop++) {
      const done = clients.map((client) => client.done)
      const left = going.host
      const moving = going.hop({ movement, keepCopy: movement === 'pre-copy' })
      // The gateways look for the guest as soon as it has left, which with a pull is long before the migration ends.
      const found = setInterval(() => {
        const there = going.there.arrivals.at(-1)?.service
        if (there?.isHere(0)) for (const gateway of pair) if (left.service?.isHere(0) === false) gateway.connect(there)
      }, 1)
      const report = await moving
      clearInterval(found)
      expect(report.error).toBeUndefined()
      expect(report).toMatchObject({ outcome: 'completed', owner: 'destination' })
      expect(report.checks).toMatchObject({ digest: true, audit: true })
      expect(
        left.service?.submit(0, { gateway: 1, sequence: 1, acknowledged: 0, nowMs: 0, bytes: new Uint8Array(8) }),
      ).toBe('not-here')
      for (const gateway of pair) gateway.connect(serviceOf(going))
      // Nobody may have lost the answers to these, but the gateways ask again all the same.
      for (const gateway of pair) gateway.resend()
      await expect.poll(() => clients.every((client, index) => client.done > (done[index] ?? 0) + 20)).toBe(true)
    }
    for (const client of clients) client.stop()
    await Promise.all(running)
    for (const client of clients) await client.check()
    for (const gateway of pair) expect(gateway.wrongs).toEqual([])
    expect(pair.reduce((sum, { resent }) => sum + resent, 0)).toBeGreaterThan(0)
    expect(going.host.status().state).toBe('running')
  })
})

test('a cancelled migration loses nothing: what was accepted before the pause is executed after it, once', async () => {
  const going = await begin()
  const gateway = gatewayTo(going, 9)
  const client = new Client(gateway, 1, 'c')
  const running = client.run(16)
  for (let times = 0; times < 3; times++) {
    const moving = going.hop({ movement: 'stop-and-copy', keepCopy: false, bandwidth: 20_000, encode: 'raw' })
    await expect.poll(() => serviceOf(going).isHere(1), { timeout: 5000 }).toBe(false)
    await going.host.cancel()
    expect((await moving).owner).toBe('source')
    expect(serviceOf(going).isHere(1)).toBe(true)
    const { done } = client
    // They stand in the ring twice now.
    gateway.resend()
    await expect.poll(() => client.done).toBeGreaterThan(done + 20)
  }
  client.stop()
  await running
  await client.check()
  expect(gateway.wrongs).toEqual([])
})

test('a paused guest takes requests in and answers when it runs again', async () => {
  const going = await begin({ vcpus: 1 })
  const gateway = gatewayTo(going, 1)
  await going.host.pause()
  const reply = gateway.command(0, 'INCR', 'n')
  expect(await Promise.race([reply, new Promise((resolve) => setTimeout(resolve, 50, 'nothing'))])).toBe('nothing')
  await going.host.resume()
  expect(await reply).toBe(':1\r\n')
})

test('a request reaches a resting vCPU at once', async () => {
  const going = await begin({ vcpus: 1 })
  const gateway = gatewayTo(going, 1)
  const times: number[] = []
  for (let turn = 0; turn < 50; turn++) {
    await new Promise((resolve) => setTimeout(resolve, 3))
    const startedAt = performance.now()
    await gateway.command(0, 'PING')
    times.push(performance.now() - startedAt)
  }
  // A vCPU that nobody wakes rests for 10 ms, 7 of them after each of these; a busy machine makes most turns slow, not all.
  expect(times.sort((a, b) => a - b)[5]).toBeLessThan(5)
})

test('what no ring carries, a full ring, and a guest that is no service', async () => {
  const going = await begin({ vcpus: 1 })
  const service = serviceOf(going)
  const request = (length: number) => ({
    gateway: 1,
    sequence: 1,
    acknowledged: 0,
    nowMs: 0,
    bytes: new Uint8Array(length),
  })
  expect(service.submit(0, request(512 * 1024 + 1))).toBe('too-long')
  expect(service.submit(1, request(0))).toBe('not-here')
  await going.host.pause()
  expect([1, 2, 3].map(() => service.submit(0, request(512 * 1024 - 100)))).toEqual(['accepted', 'accepted', 'full'])
  await expect(going.host.oracle()).rejects.toMatchObject({ code: 'no-replay' })
  await going.close()
  expect(service.submit(0, request(0))).toBe('not-here')
  await expect(begin({ pace: { kind: 'locked', lambda: null } })).rejects.toMatchObject({ code: 'usage' })
  shuttle = await Shuttle.begin()
  expect(shuttle.host.service).toBeNull()
})

test('a vCPU that crashes is gone for its clients', async () => {
  const going = await begin({ vcpus: 1 })
  const gateway = gatewayTo(going, 1)
  await gateway.command(0, 'PING')
  const gone = new Promise<number>((resolve) => {
    serviceOf(going).listen({ onAnswer: () => {}, onGone: resolve })
  })
  // What says where pages with room are now leads out of the guest.
  going.host.memory.bytes.fill(0xff, 128, 256)
  void gateway.command(0, 'SET', 'k', 'v')
  expect(await gone).toBe(0)
  expect(going.host.status().state).toBe('crashed')
})
