// Copies that guests leave behind at an agent: shown apart, within a quota, gone when a guest needs the room, and given to
// the guest that comes back. The guests are fake.

import { existsSync, readdirSync } from 'node:fs'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { AgentClient } from '../../src/agent/client.ts'
import type { AgentInfo, CopyView, GuestView } from '../../src/agent/schemas.ts'
import { isAlive } from '../../src/guest-process/supervise.ts'
import { CAPABILITIES } from '../../src/wire/protocol.ts'
import { MIB } from '../support/config.ts'
import { Agents, elsewhere, guest, start, until } from './agents.ts'

const agents = new Agents()
let root: string

beforeEach(() => {
  root = agents.begin()
})
afterEach(() => agents.end())

const guests = (client: AgentClient): Promise<GuestView[]> => client.call('GET', '/v1/guests')
const copies = (client: AgentClient): Promise<CopyView[]> => client.call('GET', '/v1/copies')
const names = async (client: AgentClient): Promise<string[]> => (await copies(client)).map(({ name }) => name)
const directories = (): string[] => readdirSync(join(root, 'one', 'guests'))

/** Starts a guest and lets it leave with a copy behind; what it was. */
async function leave(client: AgentClient, name: string, more: object = {}): Promise<GuestView> {
  const left = await start(client, name, more)
  await client.call('POST', `/v1/guests/${name}/migrate`, { to: elsewhere, settings: { keepCopy: true } })
  await until(async () => (await guests(client)).every((each) => each.name !== name))
  return left
}

let migrations = 0
const comeBack = (client: AgentClient, left: GuestView, over: object = {}): Promise<{ guestPid: number }> =>
  client.call('POST', '/v1/reservations', {
    migration: (++migrations).toString(16).padStart(32, 'd'),
    token: 'e'.repeat(32),
    generation: 0,
    epoch: 3,
    guest: left.config,
    source: { agent: 'far', agentPort: 7400, host: null, controlPort: 1, dataPorts: [1] },
    settings: {},
    protocol: 1,
    capabilities: [...CAPABILITIES],
    ...over,
  })

describe('a copy', () => {
  it('is no guest: not shown, moved or in the way as one, and ended by stop', async () => {
    const { client } = await agents.start({ memoryLimit: 8 * MIB })
    const left = await leave(client, 'a')
    expect(await copies(client)).toMatchObject([{ name: 'a', id: left.id, memoryBytes: MIB, pid: left.pid }])
    const info = await client.call<AgentInfo>('GET', '/v1/agent')
    expect(info).toMatchObject({ guests: 0, memory: { used: 0 }, copies: { limit: 4 * MIB, used: MIB, count: 1 } })
    for (const verb of ['pause', 'resume', 'cancel']) {
      await expect(client.call('POST', `/v1/guests/a/${verb}`)).rejects.toMatchObject({ code: 'no-such-guest' })
    }
    const other = await start(client, 'a')
    // The name is the guest's now; the copy still goes by its id.
    await client.call('DELETE', '/v1/guests/a')
    expect(isAlive(other.pid)).toBe(false)
    expect(isAlive(left.pid)).toBe(true)
    await client.call('DELETE', `/v1/guests/${left.id}`)
    expect(isAlive(left.pid)).toBe(false)
    expect(await copies(client)).toEqual([])
    expect(directories()).toEqual([])
    await expect(client.call('DELETE', '/v1/guests/a')).rejects.toMatchObject({ code: 'no-such-guest' })
  })

  it('answers for the migration with which its guest left', async () => {
    const { client } = await agents.start()
    await start(client, 'a')
    const body = { to: elsewhere, settings: { keepCopy: true } }
    const { id } = await client.call<{ id: string }>('POST', '/v1/guests/a/migrate', body)
    await until(async () => (await copies(client)).length === 1)
    const path = `/v1/migrations/${id}/verdict?epoch=1`
    expect(await client.call('GET', path)).toEqual({ verdict: 'released' })
    await client.call('DELETE', '/v1/guests/a')
    expect(await client.call('GET', path)).toEqual({ verdict: 'released' })
  })

  it('that dies leaves nothing behind', async () => {
    const { client } = await agents.start()
    const { pid } = await leave(client, 'a')
    process.kill(pid, 'SIGKILL')
    await until(async () => (await copies(client)).length === 0)
    await until(() => directories().length === 0)
  })

  it('is found again by the next agent, and ends with one that ends its guests', async () => {
    const { client } = await agents.start()
    const { pid } = await leave(client, 'a')
    await agents.close(false)
    expect(isAlive(pid)).toBe(true)
    const again = await agents.start()
    expect(await names(again.client)).toEqual(['a'])
    expect(again.agent.livingGuests()).toEqual([])
    await agents.close(true)
    expect(isAlive(pid)).toBe(false)
  })
})

describe('the room for copies', () => {
  it('is a quota: the oldest ends', async () => {
    const { client } = await agents.start({ copyMemory: 2 * MIB })
    const first = await leave(client, 'a')
    await leave(client, 'b')
    expect(await names(client)).toEqual(['a', 'b'])
    await leave(client, 'c')
    await until(async () => (await names(client)).join() === 'b,c')
    await until(() => !isAlive(first.pid))
    await leave(client, 'large', { memoryBytes: 3 * MIB })
    await until(async () => (await names(client)).length === 0)
    await until(() => directories().length === 0)
  })

  it('is none with 0', async () => {
    const { client } = await agents.start({ copyMemory: 0 })
    const { pid } = await leave(client, 'a')
    await until(() => !isAlive(pid))
    expect(await copies(client)).toEqual([])
  })

  it("is the guests': whoever needs it gets it", async () => {
    const { client } = await agents.start({ memoryLimit: 4 * MIB, copyMemory: 3 * MIB })
    for (const name of ['a', 'b', 'c']) await leave(client, name)
    await start(client, 'guest', { memoryBytes: 2 * MIB })
    expect(await names(client)).toEqual(['b', 'c'])
    await start(client, 'other', { memoryBytes: 2 * MIB })
    expect(await names(client)).toEqual([])
    await expect(start(client, 'third')).rejects.toMatchObject({ code: 'memory-limit' })
  })
})

describe('a guest that comes back', () => {
  it('gets its copy, and is still there after a restart of the agent', async () => {
    const { client } = await agents.start()
    const left = await leave(client, 'a')
    expect((await comeBack(client, left)).guestPid).toBe(left.pid)
    expect(await copies(client)).toEqual([])
    expect(await guest(client, 'a')).toMatchObject({ state: 'incoming', pid: left.pid, id: left.id })
    await expect(comeBack(client, left)).rejects.toMatchObject({ code: 'guest-exists' })
    await agents.close(false)
    const again = await agents.start()
    expect(await guest(again.client, 'a')).toMatchObject({ state: 'incoming', pid: left.pid })
    expect(await copies(again.client)).toEqual([])
    await again.client.call('DELETE', '/v1/guests/a?force=true')
  })

  it.each([
    ['to pull its memory', { settings: { movement: 'post-copy' } }],
    ['of an epoch that cannot be', { epoch: 1 }],
    ['from a source that knows of no copies', { capabilities: ['pre-copy'] }],
  ])('%s begins with empty memory, and its copy ends', async (_, over) => {
    const { client } = await agents.start()
    const left = await leave(client, 'a')
    const { guestPid } = await comeBack(client, left, over)
    expect(guestPid).not.toBe(left.pid)
    expect(isAlive(left.pid)).toBe(false)
    expect(isAlive(guestPid)).toBe(true)
    expect(existsSync(join(root, 'one', 'guests', left.id, 'guest.json'))).toBe(true)
    expect(await copies(client)).toEqual([])
  })

  it('as another guest gets nothing, nor does one whose copy fails', async () => {
    const { client } = await agents.start()
    const left = await leave(client, 'a')
    const { guestPid } = await comeBack(client, { ...left, config: { ...left.config, seed: 77 } })
    expect(guestPid).not.toBe(left.pid)
    const spoilt = await leave(client, 'b', { options: { spoilt: true } })
    const second = await comeBack(client, spoilt)
    expect(second.guestPid).not.toBe(spoilt.pid)
    expect(isAlive(spoilt.pid)).toBe(false)
    expect(await guest(client, 'b')).toMatchObject({ state: 'incoming', pid: second.guestPid })
  })
})
