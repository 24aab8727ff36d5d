// The agent with real guest processes that hold a fake guest: start, crash, restart, migrate, refuse, and its HTTP API.

import { existsSync, readdirSync, writeFileSync } from 'node:fs'
import { request } from 'node:http'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import type { AgentOptions } from '../../src/agent/agent.ts'
import { type AgentAddress, type AgentClient, parseAddress } from '../../src/agent/client.ts'
import { isLoopback, serveAgent } from '../../src/agent/http.ts'
import type { GuestView, MigrationView } from '../../src/agent/schemas.ts'
import { isAlive } from '../../src/guest-process/supervise.ts'
import { MAX_BODY_BYTES } from '../../src/limits.ts'
import { readRecord, writeRecord } from '../../src/migration/ownership-record.ts'
import { reportSchema } from '../../src/migration/report.ts'
import { guestConfig, MIB } from '../support/config.ts'
import { Agents, elsewhere, guest, start, until } from './agents.ts'

const agents = new Agents()
const startAgent = (options?: Partial<AgentOptions>) => agents.start(options)
const closeAgents = (stopGuests: boolean) => agents.close(stopGuests)
let root: string

function raw(address: AgentAddress, method: string, path: string, body?: string, headers: object = {}) {
  return new Promise<{ status: number; text: string }>((resolve, reject) => {
    const outgoing = request({ ...address, method, path, headers: { 'content-type': 'application/json', ...headers } })
    outgoing.on('error', reject)
    outgoing.on('response', async (response) => {
      let text = ''
      for await (const piece of response) text += piece
      resolve({ status: response.statusCode ?? 0, text })
    })
    outgoing.end(body)
  })
}

beforeEach(() => {
  root = agents.begin()
})
afterEach(() => agents.end())

describe('guests', () => {
  it('start, pause, go on, and end without a trace', async () => {
    const { client } = await startAgent()
    const started = await start(client, 'a')
    expect(started).toMatchObject({
      name: 'a',
      state: 'running',
      owner: 'here',
      config: { program: 'mutator', vcpus: 1 },
    })
    expect(await client.call('POST', '/v1/guests/a/pause')).toMatchObject({ state: 'paused' })
    expect(await client.call('POST', '/v1/guests/a/resume')).toMatchObject({ state: 'running' })
    expect(await client.call('POST', '/v1/guests/a/oracle')).toEqual({ equal: true, differing: [] })
    const { text } = await client.call<{ text: string }>('GET', '/v1/guests/a/logs')
    expect(text).toMatch(/guest a is ready/)
    expect(await client.call('DELETE', '/v1/guests/a')).toEqual({ stopped: 'a' })
    expect(isAlive(started.pid)).toBe(false)
    expect(readdirSync(join(root, 'one', 'guests'))).toEqual([])
    await expect(guest(client, 'a')).rejects.toMatchObject({ code: 'no-such-guest' })
  })

  it('refuses what it cannot take, by name', async () => {
    const { client } = await startAgent({ memoryLimit: 3 * MIB })
    await start(client, 'a')
    await expect(start(client, 'a')).rejects.toMatchObject({ code: 'guest-exists' })
    await expect(start(client, 'b', { memoryBytes: 4 * MIB })).rejects.toMatchObject({ code: 'memory-limit' })
    await expect(start(client, 'b', { memoryBytes: 100 })).rejects.toMatchObject({ code: 'bad-size' })
    await expect(start(client, 'b', { program: 'mine.ts' })).rejects.toMatchObject({ code: 'program-missing' })
    await expect(start(client, '../b')).rejects.toMatchObject({ code: 'usage' })
    const failing = start(client, 'b', { options: { fail: 'does not want to' } })
    await expect(failing).rejects.toMatchObject({ code: 'program-invalid', message: 'does not want to' })
    expect(await client.call('GET', '/v1/guests')).toHaveLength(1)
    expect(readdirSync(join(root, 'one', 'guests'))).toHaveLength(1)
  })

  it('two starts of one name at once: one of them wins', async () => {
    const { client } = await startAgent()
    const results = await Promise.allSettled([start(client, 'a'), start(client, 'a')])
    expect(results.map(({ status }) => status).sort()).toEqual(['fulfilled', 'rejected'])
  })

  it('a crash is shown with its cause and touches no other guest', async () => {
    const { client } = await startAgent()
    await start(client, 'well')
    await start(client, 'ill', { options: { die: true } })
    // It may fall over before it has answered.
    await client.call('POST', '/v1/guests/ill/pause').catch(() => {})
    const dead = await until(async () => {
      const view = await guest(client, 'ill')
      return view.state === 'crashed' && view
    })
    expect(dead.crash).toMatchObject({ code: 'guest-crashed', message: expect.stringContaining('status 70') })
    const killed = await start(client, 'killed')
    process.kill(killed.pid, 'SIGKILL')
    const gone = await until(async () => {
      const view = await guest(client, 'killed')
      return view.state === 'crashed' && view
    })
    expect(gone.crash?.message).toMatch(/SIGKILL.*guest killed is ready/)
    expect(await guest(client, 'well')).toMatchObject({ state: 'running' })
    await client.call('DELETE', '/v1/guests/ill')
    expect(await client.call('GET', '/v1/guests')).toHaveLength(2)
  })

  it('an agent that comes back finds its guests, and which of them died meanwhile', async () => {
    const first = await startAgent()
    const kept = await start(first.client, 'kept')
    const lost = await start(first.client, 'lost')
    await closeAgents(false)
    expect(isAlive(kept.pid)).toBe(true)
    process.kill(lost.pid, 'SIGKILL')
    await until(() => !isAlive(lost.pid))
    const { agent, client } = await startAgent()
    expect(agent.livingGuests()).toEqual(['kept'])
    expect(await guest(client, 'kept')).toMatchObject({ pid: kept.pid, state: 'running' })
    expect(await guest(client, 'lost')).toMatchObject({ state: 'crashed' })
    await client.call('DELETE', '/v1/guests/kept')
    expect(isAlive(kept.pid)).toBe(false)
  })
})

describe('migrations', () => {
  const move = (client: AgentClient, name: string, settings: object = {}): Promise<{ id: string }> =>
    client.call('POST', `/v1/guests/${name}/migrate`, { to: elsewhere, settings })
  const report = (client: AgentClient, id: string) =>
    until(async () => (await client.call<MigrationView>('GET', `/v1/migrations/${id}`)).report)

  it('answers for those that came to nothing before the last one, also when the guest is gone', async () => {
    const { client } = await startAgent()
    const { config } = await start(client, 'a')
    const [first, second] = ['1'.repeat(32), '2'.repeat(32)]
    const directory = join(root, 'one', 'guests', config.id)
    const record = { version: 1, guest: config.id, epoch: 1, role: 'source', peer: 'beta' } as const
    // What a source that kept its guest leaves, and, as no report is here, no other trace of it.
    writeRecord(directory, { ...record, state: 'aborted', migration: first })
    writeRecord(directory, { ...record, state: 'owner', migration: second })
    const { id } = await move(client, 'a')
    await until(async () => (await client.call<GuestView[]>('GET', '/v1/guests')).length === 0)
    const verdict = (migration: string) => client.call('GET', `/v1/migrations/${migration}/verdict?epoch=1`)
    expect(await verdict(id)).toEqual({ verdict: 'released' })
    expect(await verdict(first)).toEqual({ verdict: 'not-released' })
    expect(await verdict(second)).toEqual({ verdict: 'not-released' })
  })

  it('of a guest that lives and does not say are not answered for by its record, which stays as it is', async () => {
    const { client } = await startAgent()
    const { config } = await start(client, 'a', { options: { mute: true } })
    const directory = join(root, 'one', 'guests', config.id)
    const migration = '1'.repeat(32)
    // Of a dead process it would be the last word: released.
    const record = { version: 1, guest: config.id, epoch: 1, role: 'source', peer: 'beta', state: 'owner' } as const
    writeRecord(directory, { ...record, migration })
    expect(await client.call('GET', `/v1/migrations/${migration}/verdict?epoch=1`)).toEqual({ verdict: 'unknown' })
    expect(readRecord(directory)).toMatchObject({ state: 'owner' })
  })

  it('streams its events and ends with the report; the guest is gone afterwards', async () => {
    const { client } = await startAgent()
    const { pid } = await start(client, 'a', { options: { moveMs: 200 } })
    const { id } = await move(client, 'a')
    const types: string[] = []
    for await (const event of client.events(`/v1/migrations/${id}/events`)) types.push(event.type)
    expect(types.at(-1)).toBe('report')
    expect(reportSchema.parse(await report(client, id))).toMatchObject({ id, outcome: 'completed', source: 'one' })
    await until(async () => (await client.call<GuestView[]>('GET', '/v1/guests')).length === 0)
    expect(isAlive(pid)).toBe(false)
    expect(existsSync(join(root, 'one', 'reports', `${id}.json`))).toBe(true)
    expect(await client.call('GET', `/v1/migrations/${id}/verdict?epoch=1`)).toEqual({ verdict: 'released' })
    const late: string[] = []
    for await (const event of client.events(`/v1/migrations/${id}/events`)) late.push(event.type)
    expect(late).toEqual(['report'])
  })

  it('is cancelled', async () => {
    const { client } = await startAgent()
    await start(client, 'a', { options: { moveMs: 60_000 } })
    const { id } = await move(client, 'a')
    await until(async () => (await guest(client, 'a')).state === 'migrating')
    await expect(move(client, 'a')).rejects.toMatchObject({ code: 'guest-busy' })
    await expect(client.call('DELETE', '/v1/guests/a')).rejects.toMatchObject({ code: 'guest-busy' })
    await client.call('POST', '/v1/guests/a/cancel')
    expect(await report(client, id)).toMatchObject({ outcome: 'cancelled', owner: 'source' })
    expect(await guest(client, 'a')).toMatchObject({ state: 'running' })
  })

  it.each([
    ['POST', '/v1/guests/a/pause', {}],
    ['GET', '/v1/guests/a', null],
    ['GET', '/v1/guests', null],
    ['POST', '/v1/guests/a/migrate', { to: { host: '127.0.0.1', port: 1 } }],
    ['GET', '/v1/guests/a/pages', null],
  ] as const)(
    'is over: whoever asks while its process ends is not told of a crash: %s %s',
    async (method, path, body) => {
      const { client } = await startAgent()
      await start(client, 'a', { options: { moveMs: 100 } })
      await move(client, 'a')
      const code = (error: { code: string }): string => error.code
      const seen: unknown[] = []
      const ask = async (): Promise<void> => {
        for (
          let here: unknown;
          here !== 'no-such-guest';
          here = await client.call('GET', '/v1/guests/a/logs').catch(code)
        ) {
          seen.push(await client.call(method, path, body ?? undefined).catch(code))
        }
      }
      await Promise.all(Array.from({ length: 8 }, ask))
      expect(JSON.stringify(seen)).not.toContain('crashed')
    },
  )

  it('whose guest process dies is reported as lost', async () => {
    const { client } = await startAgent()
    const { pid } = await start(client, 'a', { options: { moveMs: 60_000 } })
    const { id } = await move(client, 'a')
    process.kill(pid, 'SIGKILL')
    const found = await report(client, id)
    expect(found).toMatchObject({ outcome: 'lost', owner: 'nobody', error: { code: 'guest-crashed' } })
  })

  it('goes on without its agent; the next agent has the report', async () => {
    const first = await startAgent()
    const { config } = await start(first.client, 'a', { options: { moveMs: 60_000 } })
    const { id } = await move(first.client, 'a')
    await until(async () => (await guest(first.client, 'a')).state === 'migrating')
    await closeAgents(false)
    // Nothing that the agent guessed while it ended may stand for the report.
    writeFileSync(join(root, 'one', 'guests', config.id, 'arrive'), '')
    await until(() => existsSync(join(root, 'one', 'reports', `${id}.json`)))
    const { client } = await startAgent()
    expect(await report(client, id)).toMatchObject({ outcome: 'completed' })
    await until(async () => (await client.call<GuestView[]>('GET', '/v1/guests')).length === 0)
  })

  it('keeps to its limits of number and bandwidth', async () => {
    const { client } = await startAgent({ maxMigrations: 2, bandwidth: 100_000 })
    for (const name of ['a', 'b', 'c']) await start(client, name, { options: { moveMs: 60_000 } })
    await move(client, 'a', { bandwidth: 60_000 })
    await move(client, 'b', { bandwidth: 1_000_000 })
    await expect(move(client, 'c')).rejects.toMatchObject({ code: 'too-many-migrations' })
    const views = await client.call<MigrationView[]>('GET', '/v1/migrations')
    expect(views.map(({ state }) => state)).toEqual(['running', 'running'])
  })

  it('are refused beforehand as they would be', async () => {
    const { agent, client } = await startAgent()
    await start(client, 'a')
    await start(client, 'locked', { pace: { kind: 'locked', lambda: 1 } })
    const check = (name: string, settings: object): Promise<unknown> =>
      client.call('POST', `/v1/guests/${name}/migrate?check=true`, { to: agent.address, settings })
    const same = { code: 'guest-exists', message: expect.stringContaining('are the same agent') }
    await expect(check('a', {})).rejects.toMatchObject(same)
    await expect(check('locked', { movement: 'soft' })).rejects.toMatchObject({ code: 'usage' })
    await expect(check('locked', {})).rejects.toMatchObject(same)
  })
})

describe('reservations', () => {
  const reservation = (over: object = {}): object => ({
    migration: 'd'.repeat(32),
    token: 'e'.repeat(32),
    generation: 0,
    epoch: 2,
    guest: guestConfig({ memoryBytes: MIB }),
    source: { agent: 'far', agentPort: 7400, host: null, controlPort: 1, dataPorts: [1] },
    settings: {},
    protocol: 1,
    capabilities: ['pre-copy'],
    ...over,
  })

  it('are checked without a trace, then taken once', async () => {
    const { client } = await startAgent()
    const checked = await client.call('POST', '/v1/reservations?check=true', reservation())
    expect(checked).toMatchObject({ agent: 'one', guestPid: null })
    expect(await client.call('GET', '/v1/guests')).toEqual([])
    const taken = await client.call<{ guestPid: number }>('POST', '/v1/reservations', reservation())
    expect(isAlive(taken.guestPid)).toBe(true)
    expect(await guest(client, 'guest')).toMatchObject({ state: 'incoming', owner: 'elsewhere' })
    // Nobody is told to end the guest that is being moved.
    const again = { code: 'guest-exists', hint: expect.not.stringContaining('stop') }
    await expect(client.call('POST', '/v1/reservations', reservation())).rejects.toMatchObject(again)
    await client.call('DELETE', '/v1/guests/guest?force=true')
  })

  it.each([
    ['wrong-version', { protocol: 2 }],
    ['missing-capability', { capabilities: ['telepathy'] }],
    ['memory-limit', { guest: guestConfig({ memoryBytes: 64 * MIB }) }],
    ['program-missing', { guest: guestConfig({ program: 'mine.ts', programHash: 'a'.repeat(64) }) }],
    ['usage', { token: 'short' }],
    ['usage', { extra: true }],
    ['usage', { guest: guestConfig({ id: '../../etc' }) }],
  ])('are refused: %s', async (code, over) => {
    const { client } = await startAgent({ memoryLimit: 32 * MIB })
    await expect(client.call('POST', '/v1/reservations', reservation(over))).rejects.toMatchObject({ code })
    expect(await client.call('GET', '/v1/guests')).toEqual([])
  })
})

describe('the HTTP API', () => {
  it('describes itself', async () => {
    const { client } = await startAgent()
    const document = await client.call<{ openapi: string; paths: object }>('GET', '/v1/openapi.json')
    expect(document.openapi).toBe('3.1.0')
    expect(Object.keys(document.paths)).toEqual(
      expect.arrayContaining([
        '/v1/agent',
        '/v1/guests',
        '/v1/guests/{name}/migrate',
        '/v1/reservations',
        '/v1/migrations/{id}/recover',
        '/v1/events',
        '/v1/migrations/{id}/events',
      ]),
    )
    expect(await client.call('GET', '/v1/agent')).toMatchObject({ name: 'one', protocol: 1, guests: 0 })
  })

  it('answers bad requests with a code, a message and a fitting status', async () => {
    const { client } = await startAgent()
    const at = client.address
    expect(await raw(at, 'POST', '/v1/guests', '{')).toMatchObject({ status: 400 })
    expect(await raw(at, 'POST', '/v1/guests', '[]')).toMatchObject({ status: 400 })
    expect(await raw(at, 'GET', '/v1/nothing')).toMatchObject({ status: 404 })
    expect(await raw(at, 'GET', '/v1/guests/none')).toMatchObject({ status: 404 })
    expect(await raw(at, 'GET', '/v1/migrations/zz')).toMatchObject({ status: 400 })
    expect(await raw(at, 'GET', `/v1/migrations/${'a'.repeat(32)}`)).toMatchObject({ status: 404 })
    expect(await raw(at, 'GET', `/v1/migrations/${'a'.repeat(32)}/events`)).toMatchObject({ status: 404 })
    expect(await raw(at, 'POST', '/v1/guests', ' '.repeat(MAX_BODY_BYTES + 1))).toMatchObject({ status: 413 })
    const page = await raw(at, 'POST', '/v1/guests', '{"name":"a"}', { origin: 'http://evil.example' })
    expect(page.status).toBe(400)
    for (const { text } of [page, await raw(at, 'POST', '/v1/guests', '{')]) {
      expect(JSON.parse(text)).toMatchObject({ error: { code: 'usage', message: expect.any(String) } })
    }
  })

  it('listens beyond loopback only when told, and names a busy port', async () => {
    const { agent, client } = await startAgent()
    await expect(serveAgent(agent, { host: '0.0.0.0', port: 0 }, false)).rejects.toMatchObject({ code: 'insecure' })
    await expect(serveAgent(agent, client.address, false)).rejects.toMatchObject({ code: 'port-busy' })
    expect(['127.0.0.1', '127.9.9.9', '::1', 'localhost'].every(isLoopback)).toBe(true)
    expect(['0.0.0.0', '::', '10.0.0.1', '1127.0.0.1'].some(isLoopback)).toBe(false)
  })

  it('drops nobody else when a listener leaves', async () => {
    const { client } = await startAgent()
    const leaving = new AbortController()
    const left = (async () => {
      for await (const _ of client.events('/v1/events', leaving.signal)) leaving.abort()
    })()
    const seen = (async () => {
      for await (const event of client.events('/v1/events')) if (event.what === 'stopped') return event
    })()
    await new Promise((resolve) => setTimeout(resolve, 50))
    await start(client, 'a')
    await left
    await client.call('DELETE', '/v1/guests/a')
    expect(await seen).toMatchObject({ type: 'guest', guest: 'a' })
  })
})

describe('parseAddress', () => {
  it.each([
    ['host', 'host', 7400],
    ['host:1', 'host', 1],
    ['http://10.0.0.1:7400/', '10.0.0.1', 7400],
    ['[::1]:80', '::1', 80],
    ['::1', '::1', 7400],
  ])('%s', (text, host, port) => expect(parseAddress(text)).toEqual({ host, port }))
  it.each(['', 'a b', 'host:0', 'host:99999', 'https://host', 'host/path', 'a:b:c:d:'])('refuses %j', (text) =>
    expect(() => parseAddress(text)).toThrow(),
  )
})
