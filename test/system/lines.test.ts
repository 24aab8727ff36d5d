// Gateways serve clients over real lines while a key-value guest moves between two hosts in this process: every command
// counts once, whatever moves, is cut, or vanishes (R30).

import { connect, type Socket } from 'node:net'
import { setTimeout as wait } from 'node:timers/promises'
import { afterEach, describe, expect, test, vi } from 'vitest'
import { GuestBackend } from '../../src/gateway/guest-backend.ts'
import type { GuestConfig } from '../../src/guest/config.ts'
import { HOLD_MS, KV_MAX_GATEWAYS } from '../../src/limits.ts'
import { requestOf } from '../../src/programs/kv/request.ts'
import { encodeRequest } from '../../src/programs/kv/request-codec.ts'
import type { GuestService } from '../../src/service/guest-service.ts'
import { FRAME_TYPE } from '../../src/wire/frame.ts'
import { FrameBatch } from '../../src/wire/frame-batch.ts'
import { encodeLine } from '../../src/wire/line-messages.ts'
import { requestSize, writeRequestHead } from '../../src/wire/service-frames.ts'
import { CountingClient, command } from '../support/clients.ts'
import { LineCutter } from '../support/line-cutter.ts'
import { Shuttle } from '../support/shuttle.ts'

let shuttle: Shuttle | undefined
let backends: GuestBackend[] = []
let cutters: LineCutter[] = []
let sockets: Socket[] = []

afterEach(async () => {
  for (const socket of sockets) socket.destroy()
  for (const backend of backends) await backend.close()
  for (const cutter of cutters) await cutter.close()
  ;[sockets, backends, cutters] = [[], [], []]
  await shuttle?.close()
  shuttle = undefined
})

/** At this pace most steps find nothing and count all the same; the main thread, which is everybody here, has time left. */
const KV: Partial<GuestConfig> = { program: 'kv', options: {}, pace: { kind: 'free', perSecond: 10_000 } }

async function begin(over: Partial<GuestConfig> = {}): Promise<Shuttle> {
  shuttle = await Shuttle.begin({ ...KV, ...over })
  return shuttle
}

const portOf = (going: Shuttle): number => going.host.status().service?.port as number

function gatewayTo(going: Shuttle, port = portOf(going)): GuestBackend {
  const { vcpus } = going.host.memory.layout
  let asked = 0
  const locate = async () => [{ host: '127.0.0.1', port: asked++ === 0 ? port : portOf(going) }]
  const backend = new GuestBackend({ guest: 'guest', vcpus, locate })
  backends.push(backend)
  return backend
}

/** Stops clients, waits for what they have under way, and looks at what the guest counted. */
async function settle(clients: readonly CountingClient[], running: readonly Promise<void>[]): Promise<void> {
  for (const client of clients) client.stop()
  await Promise.all(running)
  for (const client of clients) await client.check()
}

describe.each(['pre-copy', 'stop-and-copy', 'post-copy', 'hybrid', 'soft'] as const)('%s', (movement) => {
  test('clients of several gateways are served on while the guest goes to and fro', { timeout: 90_000 }, async () => {
    const going = await begin()
    const gateways = [gatewayTo(going), gatewayTo(going), gatewayTo(going)]
    const clients = gateways.flatMap((gateway, n) => [0, 1].map((vcpu) => new CountingClient(gateway, vcpu, `g${n}`)))
    // The main thread, which is everybody here, has to have time for the move.
    const running = clients.map((client) => client.run(8, 2))
    await expect.poll(() => clients.every(({ done }) => done > 20)).toBe(true)
    for (let hop = 0; hop < 4; hop++) {
      const report = await going.hop({ movement, keepCopy: movement === 'pre-copy' })
      expect(report.error).toBeUndefined()
      expect(report).toMatchObject({ outcome: 'completed', owner: 'destination' })
      const done = clients.map((client) => client.done)
      await expect.poll(() => clients.every((client, at) => client.done > (done[at] ?? 0) + 20)).toBe(true)
      const port = portOf(going)
      expect(gateways.flatMap((gateway) => [0, 1].map((vcpu) => gateway.place(vcpu)?.port))).toEqual(
        new Array(6).fill(port),
      )
    }
    // The other end of a line told them where to go.
    await settle(clients, running)
    expect(clients.flatMap(({ errors }) => errors)).toEqual([])
    console.log(`${movement}: the longest command took ${Math.max(...clients.map((c) => c.longestMs)).toFixed(0)} ms`)
  })
})

test.each([1, 2, 3])('lines that are cut within frames lose nothing and repeat nothing, seed %i', async (seed) => {
  const going = await begin()
  const cutter = await LineCutter.open(portOf(going), seed, 6000)
  cutters.push(cutter)
  const { vcpus } = going.host.memory.layout
  const backend = new GuestBackend({
    ...{ guest: 'guest', vcpus },
    locate: async () => [{ host: '127.0.0.1', port: cutter.port }],
  })
  backends.push(backend)
  const clients = [0, 1].map((vcpu) => new CountingClient(backend, vcpu, 'cut'))
  const running = clients.map((client) => client.run(30))
  await expect.poll(() => cutter.cuts, { timeout: 20_000 }).toBeGreaterThan(15)
  cutter.calm = true
  const done = clients.map((client) => client.done)
  await expect.poll(() => clients.every((client, at) => client.done > (done[at] ?? 0) + 100)).toBe(true)
  await settle(clients, running)
  expect(clients.flatMap(({ errors }) => errors)).toEqual([])
})

test('a gateway that vanishes with commands under way leaves nothing behind that others notice', async () => {
  const going = await begin()
  const [vanishing, staying] = [gatewayTo(going), gatewayTo(going)]
  const lost = new CountingClient(vanishing, 0, 'lost')
  const client = new CountingClient(staying, 0, 'stay')
  const running = [lost.run(50), client.run(8)]
  await expect.poll(() => lost.done).toBeGreaterThan(200)
  lost.stop()
  await vanishing.close()
  expect(await command(vanishing, 0, 'PING')).toBe('unreachable')
  const { done } = client
  await expect.poll(() => client.done).toBeGreaterThan(done + 200)
  client.stop()
  await Promise.all(running)
  expect([...new Set(lost.errors)]).toEqual(['unknown'])
  expect(client.errors).toEqual([])
  await client.check()
  await lost.check(staying)
})

test('a command is held while nobody runs the vCPU, then it fails, and the lane is right afterwards', async () => {
  const going = await begin({ vcpus: 1 })
  const cutter = await LineCutter.open(portOf(going), 1, 1e9)
  cutters.push(cutter)
  let reachable = true
  const locate = async () => (reachable ? [{ host: '127.0.0.1', port: cutter.port }] : [])
  const backend = new GuestBackend({ guest: 'guest', vcpus: 1, locate })
  backends.push(backend)
  expect(await command(backend, 0, 'INCR', 'n')).toBe(':1\r\n')
  await going.host.pause()
  // In the guest's ring when the line is cut: the gateway cannot know what became of it.
  const submitted = vi.spyOn(going.host.service as GuestService, 'submitBytes')
  const sent = command(backend, 0, 'INCR', 'n')
  await expect.poll(() => submitted.mock.results.map(({ value }) => value)).toContain('accepted')
  submitted.mockRestore()
  reachable = false
  await cutter.close()
  cutters = []
  const startedAt = performance.now()
  const never = command(backend, 0, 'INCR', 'n')
  // A timer of the same process: where that stands still, it is late as well.
  const late = wait(HOLD_MS + 1000, 'late')
  expect(await sent).toBe('unknown')
  expect(await Promise.race([never, late])).toBe('unreachable')
  expect(performance.now() - startedAt).toBeGreaterThan(HOLD_MS - 100)
  await going.host.resume()
  backend.name({ host: '127.0.0.1', port: portOf(going) })
  // It stood in the guest's ring, and was executed; what was never sent was not.
  expect(await command(backend, 0, 'INCR', 'n')).toBe(':3\r\n')
}, 20_000)

test('a gateway more than the guest has places for is refused, and the others are served on while it moves', async () => {
  const going = await begin({ vcpus: 1 })
  const gateways = Array.from({ length: KV_MAX_GATEWAYS }, () => gatewayTo(going))
  const clients = gateways.map((backend, index) => new CountingClient(backend, 0, `g${index}`))
  for (const backend of gateways) expect(await command(backend, 0, 'PING')).toBe('+PONG\r\n')
  const running = clients.map((client) => client.run(2, 10))
  const refused = command(gatewayTo(going), 0, 'INCR', 'g0:0')
  for (const movement of ['soft', 'post-copy'] as const)
    expect((await going.hop({ movement })).outcome).toBe('completed')
  expect(await refused).toBe('refused')
  await settle(clients, running)
  expect(clients.flatMap(({ errors }) => errors)).toEqual([])
}, 40_000)

test('a gateway that takes no answers away loses its line; others are served meanwhile', async () => {
  const going = await begin({ vcpus: 1, pace: { kind: 'free', perSecond: null } })
  const backend = gatewayTo(going)
  const value = 'v'.repeat(100_000)
  expect(await command(backend, 0, 'SET', 'large', value)).toBe('+OK\r\n')
  const socket = connect(portOf(going), '127.0.0.1')
  sockets.push(socket)
  socket.pause()
  socket.on('error', () => {})
  const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()))
  socket.write(encodeLine({ type: 'hello', version: 1, gateway: 77, guest: 'guest' }))
  const get = encodeRequest(requestOf('GET', 'large'))
  const batch = new FrameBatch(FRAME_TYPE.requests, (frame, sent) => socket.write(frame, sent))
  const client = new CountingClient(backend, 0, 'other')
  const running = client.run(8)
  // The same request again and again: its reply is kept, and comes as often. Until the line is lost, which who writes notices.
  while (!socket.destroyed) {
    for (let index = 0; index < 10; index++) {
      const at = batch.reserve(requestSize(get.length))
      writeRequestHead(batch.view, at, get.length, 0, 1, 0, Date.now())
      batch.bytes.set(get, at + requestSize(0))
    }
    batch.flush()
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
  await closed
  const { done } = client
  await expect.poll(() => client.done).toBeGreaterThan(done + 100)
  await settle([client], [running])
  expect(client.errors).toEqual([])
}, 30_000)
