// The backend over a real line to a guest process whose vCPUs are played by the test.

import { afterEach, expect, test, vi } from 'vitest'
import { GuestBackend } from '../../src/gateway/guest-backend.ts'
import { GuestMemory } from '../../src/guest/memory.ts'
import { newServiceRings, VcpuRequests } from '../../src/guest/service-ports.ts'
import { requestOf } from '../../src/programs/kv/request.ts'
import { GuestService } from '../../src/service/guest-service.ts'
import { ServiceLines } from '../../src/service/service-lines.ts'

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
  return { backend, work }
}

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
