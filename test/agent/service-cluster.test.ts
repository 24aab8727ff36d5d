// Cluster mode of a service port: what it makes of where a vCPU's line leads and of what the agents have said.

import { expect, test } from 'vitest'
import { ServiceCluster } from '../../src/agent/service-cluster.ts'
import type { Backend } from '../../src/gateway/backend.ts'

const HERE = { host: '127.0.0.1', port: 7500 }
const THERE = { host: '10.0.0.2', port: 7501 }
const PEER = { host: '10.0.0.2', port: 6000 }

function begin() {
  const facts = { place: HERE as typeof HERE | null, departing: false, known: true }
  const listeners: (() => void)[] = []
  const backend = { place: () => facts.place, onPlaces: (listener: () => void) => listeners.push(listener) }
  const cluster = new ServiceCluster({
    backend: backend as unknown as Backend,
    self: () => ({ host: 'localhost', port: 6001 }),
    peerAt: (line) => (line.port === THERE.port && facts.known ? PEER : null),
    departing: () => facts.departing,
  })
  const set = (over: Partial<typeof facts>): void => {
    Object.assign(facts, over)
    for (const listener of listeners) listener()
  }
  return { cluster, set }
}

test('a vCPU on its way: served, then asked for at the other agent, then moved there', () => {
  const { cluster, set } = begin()
  expect(cluster.whereIs(0).how).toBe('here')
  set({ departing: true })
  expect(cluster.whereIs(0).how).toBe('here')
  set({ place: null })
  expect(cluster.whereIs(0).how).toBe('here')
  set({ place: THERE })
  expect(cluster.whereIs(0)).toMatchObject({ how: 'ask', node: PEER })
  // Clients that ask for the slots are not sent there before it is there for good.
  expect(cluster.ownerOf(0)).toBe(cluster.self)
  set({ departing: false })
  expect(cluster.whereIs(0)).toMatchObject({ how: 'moved', node: PEER })
  expect(cluster.ownerOf(0)).toMatchObject(PEER)
})

test('what is not known for sure is served', () => {
  const { cluster, set } = begin()
  set({ place: THERE, known: false })
  expect(cluster.whereIs(0).how).toBe('here')
})

test('a port that its agent knows as localhost is the node that others know by its address', () => {
  const { cluster } = begin()
  expect(cluster.self).toMatchObject({ host: '127.0.0.1', port: 6001 })
  expect(cluster.self.id).toMatch(/^[0-9a-f]{40}$/)
})
