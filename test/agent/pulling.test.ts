// The agent and guests that run before all their memory is there: shown, recovered, lost, given up. The guests are fake.

import { readdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { AgentClient } from '../../src/agent/client.ts'
import type { GuestView, MigrationView } from '../../src/agent/schemas.ts'
import { guestConfig, MIB } from '../support/config.ts'
import { Agents, elsewhere, guest, start, until } from './agents.ts'

const agents = new Agents()
let root: string

beforeEach(() => {
  root = agents.begin()
})
afterEach(() => agents.end())

describe('guests that pull their memory', () => {
  const ID = 'd'.repeat(32)
  const receive = async (client: AgentClient, arrives: string): Promise<GuestView> => {
    await client.call('POST', '/v1/reservations', {
      migration: ID,
      token: 'e'.repeat(32),
      generation: 0,
      epoch: 2,
      guest: guestConfig({ memoryBytes: MIB, options: { arrives } }),
      source: { agent: 'far', agentPort: 7400, host: null, controlPort: 1, dataPorts: [1] },
      settings: { movement: 'post-copy' },
      protocol: 1,
      capabilities: [],
    })
    return await guest(client, 'guest')
  }
  const recover = (client: AgentClient, id: string, body: object = {}): Promise<GuestView> =>
    client.call('POST', `/v1/migrations/${id}/recover`, body)
  const resolve = (client: AgentClient, what: string): Promise<GuestView> =>
    client.call('POST', '/v1/guests/guest/resolve', { what })

  it('say why they are paused, and are recovered at the destination', async () => {
    const { client } = await agents.start()
    const paused = await receive(client, 'pulling')
    expect(paused).toMatchObject({ state: 'pulling', migration: { id: ID, paused: 'the connection was lost' } })
    expect(await client.call('GET', `/v1/migrations/${ID}`)).toMatchObject({ role: 'destination', state: 'running' })
    await expect(recover(client, ID, { via: 'nowhere' })).rejects.toMatchObject({ code: 'unreachable' })
    for (const via of ['a b', '', '127.0.0.1:7400', '[::1]:7400'])
      await expect(recover(client, ID, { via })).rejects.toMatchObject({ code: 'usage' })
    expect(await recover(client, ID, { via: '::1' })).toMatchObject({
      state: 'pulling',
      migration: { paused: null },
    })
    await expect(recover(client, 'a'.repeat(32))).rejects.toMatchObject({ code: 'no-such-migration' })
  })

  it('are not moved on, and ended only by force', async () => {
    const { client } = await agents.start()
    await receive(client, 'pulling')
    const moved = client.call('POST', '/v1/guests/guest/migrate', { to: elsewhere })
    await expect(moved).rejects.toMatchObject({ code: 'guest-busy' })
    await expect(client.call('DELETE', '/v1/guests/guest')).rejects.toMatchObject({ code: 'guest-busy' })
    await client.call('DELETE', '/v1/guests/guest?force=true')
    expect(await client.call('GET', '/v1/guests')).toEqual([])
  })

  it('are not recovered at the source, which says where', async () => {
    const { client } = await agents.start()
    await start(client, 'a', { options: { moveMs: 60_000 } })
    const { id } = await client.call<{ id: string }>('POST', '/v1/guests/a/migrate', { to: elsewhere })
    await until(async () => (await guest(client, 'a')).state === 'migrating')
    await expect(recover(client, id)).rejects.toMatchObject({
      code: 'usage',
      hint: `run it at the destination's agent: godwit recover ${id} --agent http://127.0.0.1:9`,
    })
    await client.call('POST', '/v1/guests/a/cancel')
    await until(async () => (await client.call<MigrationView>('GET', `/v1/migrations/${id}`)).report)
    await expect(recover(client, id)).rejects.toMatchObject({ code: 'guest-not-running' })
  })

  it('are lost with their process, and stay so through a restart until they are given up', async () => {
    const first = await agents.start()
    const { pid } = await receive(first.client, 'pulling')
    process.kill(pid, 'SIGKILL')
    const lost = await until(async () => {
      const view = await guest(first.client, 'guest')
      return view.state === 'lost' && view
    })
    expect(await first.client.call('GET', `/v1/migrations/${ID}/verdict?epoch=2`)).toEqual({ verdict: 'lost' })
    expect(lost.crash).toMatchObject({ code: 'lost', hint: expect.stringContaining('--abandon') })
    await agents.close(false)
    const { client } = await agents.start()
    expect(await guest(client, 'guest')).toMatchObject({ state: 'lost' })
    await expect(resolve(client, 'take-stale')).rejects.toMatchObject({ code: 'guest-not-running' })
    expect(await resolve(client, 'status')).toMatchObject({ state: 'lost' })
    expect(await resolve(client, 'abandon')).toMatchObject({ state: 'lost' })
    expect(await client.call('GET', '/v1/guests')).toEqual([])
    expect(readdirSync(join(root, 'one', 'guests'))).toEqual([])
  })

  it('that are lost while their process lives can be given up or stopped, too', async () => {
    const { client } = await agents.start()
    expect(await receive(client, 'lost')).toMatchObject({ state: 'lost' })
    expect(await resolve(client, 'abandon')).toMatchObject({ state: 'lost' })
    await until(async () => (await client.call<GuestView[]>('GET', '/v1/guests')).length === 0)
    await receive(client, 'lost')
    expect(await client.call('DELETE', '/v1/guests/guest')).toEqual({ stopped: 'guest' })
    expect(await client.call('GET', '/v1/guests')).toEqual([])
  })
})
