// The main thread's side of a service with vCPUs that are played by the test: who is told what, and when.

import { setImmediate as breathe } from 'node:timers/promises'
import { expect, test } from 'vitest'
import { GuestMemory } from '../../src/guest/memory.ts'
import { newServiceRings, VcpuRequests } from '../../src/guest/service-ports.ts'
import type { HandshakeTime, Vcpus } from '../../src/guest/vcpus-port.ts'
import { GuestService } from '../../src/service/guest-service.ts'
import { servingVcpus } from '../../src/service/serving-vcpus.ts'

const bytes = new Uint8Array(0)
const request = (sequence: number) => ({ gateway: 5, sequence, acknowledged: 0, nowMs: 0, bytes })

function begin(here = true) {
  const memory = GuestMemory.create(65_536, 2)
  const rings = [newServiceRings(), newServiceRings()]
  const service = new GuestService(memory, rings, here)
  const heard: string[] = []
  service.listen({
    onAnswer: (vcpu, { what, gateway, sequence }) => heard.push(`${vcpu}: ${what} ${gateway}/${sequence}`),
    onGone: (vcpu) => heard.push(`${vcpu}: gone`),
  })
  const vcpus = rings.map((ring) => new VcpuRequests(ring))
  /** The vCPU answers its next request. */
  const answer = (vcpu: number, what: 'reply' | 'busy' = 'reply'): void => {
    const port = vcpus[vcpu] as VcpuRequests
    const next = port.peek()
    if (next === null) throw new Error('no request')
    port.answer({ ...next, what })
    port.done()
  }
  return { memory, service, heard, answer }
}

test('answers come in order; the last ones before anybody hears that the vCPUs are gone', async () => {
  const { service, heard, answer } = begin()
  for (const sequence of [1, 2, 3]) expect(service.submit(1, request(sequence))).toBe('accepted')
  answer(1)
  answer(1, 'busy')
  await expect.poll(() => heard).toEqual(['1: reply 5/1', '1: busy 5/2'])
  answer(1)
  service.leave()
  expect([service.isHere(1), service.submit(1, request(4))]).toEqual([false, 'not-here'])
  expect(heard).toHaveLength(2)
  service.left()
  expect(heard.slice(2)).toEqual(['0: gone', '1: reply 5/3', '1: gone'])
  service.left()
  service.close()
  expect(heard).toHaveLength(5)
})

test('many answers leave the event loop its turns', async () => {
  const { service, heard, answer } = begin()
  for (let sequence = 1; sequence <= 5000; sequence++) {
    service.submit(0, request(sequence))
    answer(0)
  }
  let turns = 0
  while (heard.length < 5000) {
    await breathe()
    turns++
  }
  expect(turns).toBeGreaterThan(3)
  service.close()
})

test('a listener may end the service', async () => {
  const { service, heard, answer } = begin()
  for (const sequence of [1, 2]) {
    service.submit(0, request(sequence))
    answer(0)
  }
  service.listen({ onAnswer: () => service.close(), onGone: () => {} })
  await expect.poll(() => heard).toEqual(['0: reply 5/1', '0: gone', '1: gone'])
  expect(service.submit(0, request(3))).toBe('not-here')
})

test('vCPUs serve from their resume to their pause, and on when that fails', async () => {
  const { service, heard } = begin(false)
  let failure: Error | null = null
  const time: HandshakeTime = { ms: 0 }
  const stubs = {
    pause: () => (failure === null ? Promise.resolve(time) : Promise.reject(failure)),
    resume: () => {},
    halt: () => {},
  }
  const vcpus = servingVcpus(stubs as Partial<Vcpus> as Vcpus, service)
  expect(service.submit(0, request(1))).toBe('not-here')
  vcpus.resume()
  expect(service.submit(0, request(1))).toBe('accepted')
  failure = new Error('stuck')
  const failing = vcpus.pause()
  expect(service.isHere(0)).toBe(false)
  await expect(failing).rejects.toBe(failure)
  expect(service.isHere(0)).toBe(true)
  failure = null
  await vcpus.pause()
  vcpus.resume()
  await breathe()
  expect([service.isHere(0), heard]).toEqual([true, []])
  await vcpus.pause()
  await breathe()
  expect(heard).toEqual(['0: gone', '1: gone'])
  vcpus.resume()
  vcpus.halt()
  await breathe()
  vcpus.resume()
  expect(service.submit(0, request(1))).toBe('not-here')
})
