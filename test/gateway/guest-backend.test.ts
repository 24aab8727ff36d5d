// The backend over a real line to a guest process whose vCPUs are played by the test.

import { type AddressInfo, createServer, type Socket } from 'node:net'
import { afterEach, expect, test, vi } from 'vitest'
import { GuestBackend } from '../../src/gateway/guest-backend.ts'
import { GuestMemory } from '../../src/guest/memory.ts'
import { newServiceRings, VcpuRequests } from '../../src/guest/service-ports.ts'
import { GATEWAY_REFUSED_REST_MS, GATEWAY_TICK_MS, LINE_SILENT_MS } from '../../src/limits.ts'
import { requestOf } from '../../src/programs/kv/request.ts'
import { GuestService } from '../../src/service/guest-service.ts'
import { ServiceLines } from '../../src/service/service-lines.ts'
import { encodeLine } from '../../src/wire/line-messages.ts'
import { LineCutter } from '../support/line-cutter.ts'

const GUEST = { id: 'a'.repeat(32), name: 'kv', vcpus: 2, program: 'kv', memoryBytes: 65_536 }
const closing: (() => Promise<void>)[] = []

afterEach(async () => {
  vi.restoreAllMocks()
  for (const close of closing.splice(0).reverse()) await close()
})

async function begin() {
  const rings = [newServiceRings(), newServiceRings()]
  const service = new GuestService(GuestMemory.create(65_536, 2), rings, true)
  const lines = await ServiceLines.listen({ host: '127.0.0.1', portRange: [0, 0], guest: GUEST }, service)
  const locate = async () => [{ host: '127.0.0.1', port: lines.port }]
  const backend = new GuestBackend({ guest: 'kv', vcpus: 2, locate })
  closing.push(async () => {
    await backend.close()
    service.close()
    await lines.close()
  })
  const ports = rings.map((ring) => new VcpuRequests(ring))
  /** The vCPU answers what it has. */
  const work = (vcpu: number): void => {
    const port = ports[vcpu] as VcpuRequests
    for (let next = port.peek(); next !== null; next = port.peek()) {
      if (next.sequence > 0) port.answer({ ...next, what: 'reply', bytes: Buffer.from('+OK\r\n'), from: 0, length: 5 })
      port.done()
    }
  }
  /** The vCPU has no place for the gateway, whatever it has of it: the number of the gateway. */
  const refuse = (vcpu: number): number => {
    const port = ports[vcpu] as VcpuRequests
    let number = 0
    for (let next = port.peek(); next !== null; next = port.peek()) {
      number = next.gateway
      const what = next.sequence === 1 ? 'refused' : 'forgotten'
      port.answer({ ...next, what, bytes: Buffer.alloc(0), from: 0, length: 0 })
      port.done()
    }
    return number
  }
  return { backend, lines, work, refuse, ports }
}

test('a command has the time of its turn, whatever else begins the turn', async () => {
  const { backend, ports } = await begin()
  const failed = vi.fn()
  backend.onPlaces(() => {
    backend.send(0, requestOf('PING'), { onReply: () => {}, onFailure: failed }, 0)
  })
  // The vCPUs are there, and what is to be sent to them is: the first command comes in the same turn.
  await expect.poll(() => ports[0]?.peek()).not.toBe(null)
  expect(Math.abs(Date.now() - (ports[0]?.peek()?.nowMs as number))).toBeLessThan(60_000)
  expect(failed).not.toHaveBeenCalled()
})

test('what the gateway stood still counts against nobody', async () => {
  const { backend, work } = await begin()
  await expect.poll(() => backend.place(0) !== null).toBe(true)
  const moved = vi.fn()
  backend.onPlaces(moved)
  const now = performance.now.bind(performance)
  let stoodStillMs = 0
  vi.spyOn(performance, 'now').mockImplementation(() => now() + stoodStillMs)
  const [replied, failed] = [vi.fn(), vi.fn()]
  backend.send(0, requestOf('PING'), { onReply: replied, onFailure: failed }, 0)
  stoodStillMs = 60_000
  // Ten looks at what is held too long, and at lines on which nothing comes.
  await new Promise((resolve) => setTimeout(resolve, 10 * GATEWAY_TICK_MS))
  expect(moved).not.toHaveBeenCalled()
  expect(failed).not.toHaveBeenCalled()
  work(0)
  await expect.poll(() => replied).toHaveBeenCalled()
})

test('a command that comes before the gateway knows that it stood still is held as long as any other', async () => {
  const { backend } = await begin()
  await expect.poll(() => backend.place(0) !== null).toBe(true)
  const now = performance.now.bind(performance)
  let passedMs = 0
  vi.spyOn(performance, 'now').mockImplementation(() => now() + passedMs)
  const failed = vi.fn()
  passedMs = 3_600_000
  backend.send(0, requestOf('PING'), { onReply: () => {}, onFailure: failed }, 0)
  // From now on the clock is fast, but no look is too late.
  const fast = setInterval(() => (passedMs += 2 * GATEWAY_TICK_MS), 1)
  await expect
    .poll(() => failed, { timeout: 10_000 })
    .toHaveBeenCalledWith(0, 'unknown')
    .finally(() => clearInterval(fast))
})

test('who waits for one vCPU does not wait for another that is full, too', async () => {
  const { backend, work } = await begin()
  await expect.poll(() => backend.place(0) !== null && backend.place(1) !== null).toBe(true)
  // No command has waited for too long, however slowly the machine works.
  vi.spyOn(performance, 'now').mockReturnValue(performance.now())
  let replies = 0
  const taker = { onReply: () => replies++, onFailure: () => {} }
  const long = requestOf('SET', 'key', Buffer.alloc(400_000))
  let sent = 0
  for (const vcpu of [0, 1]) for (; !backend.isFull(vcpu); sent++) backend.send(vcpu, long, taker, sent)
  let drains = 0
  backend.onDrain(() => drains++)
  const working = setInterval(() => work(0), 1)
  closing.push(async () => clearInterval(working))
  await expect.poll(() => replies).toBe(sent / 2)
  expect([backend.isFull(0), backend.isFull(1)]).toEqual([false, true])
  expect(drains).toBeGreaterThan(0)
})

test('a gateway for which there is no place asks again a moment later, as another, in order', async () => {
  // The process is older than the backend.
  const now = performance.now.bind(performance)
  vi.spyOn(performance, 'now').mockImplementation(() => now() + 3_600_000)
  const { backend, ports, refuse, work } = await begin()
  await expect.poll(() => backend.place(0) !== null).toBe(true)
  const replies: number[] = []
  const failed = vi.fn()
  const taker = { onReply: (tag: number) => replies.push(tag), onFailure: failed }
  const asked = (): Promise<void> => expect.poll(() => ports[0]?.peek() ?? null, { interval: 1 }).not.toBe(null)
  for (const tag of [0, 1]) backend.send(0, requestOf('PING'), taker, tag)
  await asked()
  const number = refuse(0)
  await expect.poll(() => backend.place(0), { interval: 1 }).toBe(null)
  const since = performance.now()
  backend.send(0, requestOf('PING'), taker, 2)
  await asked()
  expect(performance.now() - since).toBeGreaterThan(GATEWAY_REFUSED_REST_MS - 50)
  expect(ports[0]?.peek()).toMatchObject({ sequence: 1 })
  expect(ports[0]?.peek()?.gateway).not.toBe(number)
  work(0)
  await expect.poll(() => replies).toEqual([0, 1, 2])
  expect(failed).not.toHaveBeenCalled()
})

test('it asks no more often the more lines it has had', async () => {
  const { backend, lines, refuse } = await begin()
  const cutter = await LineCutter.open(lines.port, 1, 1e9)
  closing.push(() => cutter.close())
  backend.name({ host: '127.0.0.1', port: cutter.port })
  await expect.poll(() => backend.place(0) !== null).toBe(true)
  backend.send(0, requestOf('PING'), { onReply: () => {}, onFailure: () => {} }, 0)
  let asked = 0
  const refusing = setInterval(() => refuse(0) > 0 && asked++, 1)
  closing.push(async () => clearInterval(refusing))
  const passes = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))
  for (let cut = 0; cut < 8; cut++) {
    await passes(GATEWAY_REFUSED_REST_MS / 3)
    cutter.cutNow()
  }
  await passes(GATEWAY_REFUSED_REST_MS)
  asked = 0
  await passes(4 * GATEWAY_REFUSED_REST_MS)
  expect(asked).toBeGreaterThan(0)
  expect(asked).toBeLessThanOrEqual(5)
})

test('replies that no command follows are acknowledged', async () => {
  const { backend, ports, work } = await begin()
  const replied = vi.fn()
  for (const tag of [0, 1]) backend.send(0, requestOf('PING'), { onReply: replied, onFailure: () => {} }, tag)
  const next = () => ports[0]?.peek() ?? null
  await expect.poll(next, { interval: 1 }).not.toBe(null)
  work(0)
  await expect.poll(() => replied).toHaveBeenCalledTimes(2)
  await expect.poll(next).toMatchObject({ sequence: 0, acknowledged: 2 })
})

test('a line on which nothing comes is cut and dialled again', async () => {
  let dials = 0
  let line: Socket | undefined
  const silent = createServer((socket) => {
    dials++
    line = socket
    socket.on('error', () => {})
    socket.once('data', () => socket.write(encodeLine({ type: 'welcome', guest: GUEST, here: [0, 1] })))
  })
  await new Promise<void>((resolve) => silent.listen(0, '127.0.0.1', resolve))
  const { port } = silent.address() as AddressInfo
  const backend = new GuestBackend({ guest: 'kv', vcpus: 2, locate: async () => [{ host: '127.0.0.1', port }] })
  closing.push(async () => {
    await backend.close()
    await new Promise((resolve) => silent.close(resolve))
  })
  await expect.poll(() => backend.place(0) !== null).toBe(true)
  await new Promise((resolve) => setTimeout(resolve, LINE_SILENT_MS / 2))
  const since = performance.now()
  line?.write(encodeLine({ type: 'alive' }))
  expect(dials).toBe(1)
  await expect.poll(() => dials, { timeout: 10_000 }).toBe(2)
  expect(performance.now() - since).toBeGreaterThan(LINE_SILENT_MS - 100)
})
