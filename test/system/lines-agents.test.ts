// A gateway and a key-value guest in real guest processes at real agents: it finds the guest by asking the agents once, and
// from then on by what the guest's processes tell it; an agent may go meanwhile.

import { setTimeout as wait } from 'node:timers/promises'
import { afterEach, expect, test } from 'vitest'
import { parseAddress } from '../../src/cli/agent-client.ts'
import { GuestBackend } from '../../src/gateway/guest-backend.ts'
import type { MigrationReport } from '../../src/migration/report.ts'
import type { MigrationOptions } from '../../src/migration/settings.ts'
import { AgentProcess } from '../support/agent-process.ts'
import { CountingClient } from '../support/clients.ts'
import { MIB } from '../support/config.ts'

let agents: AgentProcess[] = []
let backend: GuestBackend | undefined

afterEach(async () => {
  await backend?.close()
  for (const agent of agents) await agent.close()
  agents = []
})

async function move(from: AgentProcess, to: AgentProcess, settings: MigrationOptions): Promise<MigrationReport> {
  const id = await from.client.migrate('store', { to: parseAddress(to.client.url), settings })
  for (;;) {
    const { report } = await from.client.migration(id)
    if (report !== null) return report
    await wait(20)
  }
}

test('clients are served on through four movements, in and out of kept copies', { timeout: 120_000 }, async () => {
  let [here, there] = await Promise.all([AgentProcess.start('alpha'), AgentProcess.start('beta')])
  agents = [here, there]
  const pace = { kind: 'free', perSecond: null } as const
  await here.client.startGuest({ name: 'store', memoryBytes: 16 * MIB, vcpus: 2, program: 'kv', options: {}, pace })
  const { service } = await here.client.guest('store')
  let asked = 0
  const locate = async () => {
    asked++
    return [{ host: '127.0.0.1', port: service?.port as number }]
  }
  backend = new GuestBackend({ guest: 'store', vcpus: 2, locate })
  const gateway = backend
  const clients = [0, 1].map((vcpu) => new CountingClient(gateway, vcpu, 'c'))
  const running = clients.map((client) => client.run(16, 1))
  const movements = ['pre-copy', 'pre-copy', 'post-copy', 'stop-and-copy'] as const
  for (const [hop, movement] of movements.entries()) {
    const done = clients.map((client) => client.done)
    await expect.poll(() => clients.every((client, at) => client.done > (done[at] ?? 0) + 100)).toBe(true)
    const report = await move(here, there, { movement, keepCopy: hop < 2 })
    expect(report.error).toBeUndefined()
    expect(report).toMatchObject({ outcome: 'completed', owner: 'destination' })
    ;[here, there] = [there, here]
    const port = (await here.client.guest('store')).service?.port
    await expect.poll(() => [0, 1].map((vcpu) => gateway.place(vcpu)?.port)).toEqual([port, port])
    // Back in the process that it left, at the port that its gateways know.
    if (hop === 1) expect(port).toBe(service?.port)
  }
  for (const client of clients) client.stop()
  await Promise.all(running)
  for (const client of clients) await client.check()
  expect(clients.flatMap(({ errors }) => errors)).toEqual([])
  expect(asked).toBe(1)
})
