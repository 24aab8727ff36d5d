// The commands against a small HTTP server that answers like an agent: paths, bodies, errors, events, --json.

import { once } from 'node:events'
import { createServer, type Server, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { AgentClient } from '../../src/cli/agent-client.ts'
import { godwit } from './buffer-terminal.ts'
import { sampleReport } from './sample-report.ts'

const ID = 'ab'.repeat(16)
const GUEST = {
  name: 'web1',
  id: ID,
  state: 'running',
  owner: 'here',
  epoch: 1,
  config: {
    name: 'web1',
    id: ID,
    memoryBytes: 65_536,
    vcpus: 1,
    program: 'mutator',
    options: { workload: 'web' },
    seed: 1,
  },
  steps: [42],
  stepsPerSecond: 20_000,
  residentBytes: 1e6,
  pid: 4242,
  migration: null,
}

let server: Server
let url = ''
let seen: { line: string; body: unknown }[] = []
let streamBreaks = false
let shown: object = GUEST
let refused: string | null = null

const COPY = { name: 'web2', id: ID, memoryBytes: 64 * 1024 ** 2, epoch: 2, keptSince: Date.now() - 5000, pid: 7 }

function answer(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
}

function respond(line: string, response: ServerResponse): void {
  if (refused !== null) answer(response, 400, { error: { code: 'usage', message: refused } })
  else if (line.endsWith('/events')) {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.write(': godwit\n\nevent: stage\ndata: {"type":"stage","migration":"a","stage":"iterate","at":0}\n\nda')
    if (streamBreaks) setImmediate(() => response.destroy())
    else setImmediate(() => response.end(`ta: ${JSON.stringify({ type: 'report', report: sampleReport() })}\n\n`))
  } else if (line === `GET /v1/migrations/${ID}`) answer(response, 200, { id: ID, report: sampleReport() })
  else if (line.includes('nobody')) {
    answer(response, 404, { error: { code: 'no-such-guest', message: 'there is no nobody', hint: 'see: godwit ps' } })
  } else if (line === 'GET /v1/guests') answer(response, 200, [shown])
  else if (line === 'GET /v1/copies') answer(response, 200, [COPY])
  else if (line === 'GET /v1/guests/web2') answer(response, 200, { ...GUEST, name: 'web2', id: 'cd'.repeat(16) })
  else if (line.endsWith('check=true')) answer(response, 200, { ok: true, agent: 'beta' })
  else if (line.endsWith('/migrate')) answer(response, 202, { id: ID })
  else if (line.endsWith('/logs')) answer(response, 200, { text: 'first\nlast\n' })
  else answer(response, 200, shown)
}

beforeEach(async () => {
  seen = []
  streamBreaks = false
  shown = GUEST
  refused = null
  server = createServer(async (request, response) => {
    let text = ''
    for await (const piece of request) text += piece
    const line = `${request.method} ${request.url}`
    seen.push({ line, body: text === '' ? null : JSON.parse(text) })
    respond(line, response)
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`
})

afterEach(async () => {
  server.closeAllConnections()
  await new Promise((resolve) => server.close(resolve))
})

describe('commands and the API', () => {
  it.each([
    ['ps', [], 'GET /v1/guests'],
    ['show', ['web1'], 'GET /v1/guests/web1'],
    ['logs', ['web1'], 'GET /v1/guests/web1/logs'],
    ['pause', ['web1'], 'POST /v1/guests/web1/pause'],
    ['resume', ['web1'], 'POST /v1/guests/web1/resume'],
    ['cancel', ['web1'], 'POST /v1/guests/web1/cancel'],
    ['resolve', ['web1'], 'POST /v1/guests/web1/resolve'],
    ['stop', ['web1'], 'DELETE /v1/guests/web1'],
    ['resolve', ['web1', '--abandon'], 'POST /v1/guests/web1/resolve'],
    ['resolve', ['web1', '--take-stale', '--peer-is-dead'], 'POST /v1/guests/web1/resolve'],
    ['recover', [ID], `POST /v1/migrations/${ID}/recover`],
    ['start', ['--name', 'web1'], 'POST /v1/guests'],
  ])('%s, for people and as one JSON document', async (name, words, line) => {
    const plain = await godwit(name, ...words, '--agent', url)
    expect(plain).toMatchObject({ status: 0, errors: '' })
    expect(plain.output).not.toMatch(/undefined|NaN|\[object/)
    const json = await godwit(name, ...words, '--agent', url, '--json')
    expect(json).toMatchObject({ status: 0, errors: '' })
    expect(typeof JSON.parse(json.output)).toBe('object')
    const asked = seen.map((request) => request.line).filter((each) => each !== 'GET /v1/copies')
    expect(asked).toEqual([line, line])
  })

  it('ps lists copies apart from guests', async () => {
    const { output } = await godwit('ps', '--agent', url)
    expect(output).toMatch(/^copy of web2: 64 MiB, left behind \d.*godwit stop web2$/m)
    const { output: json } = await godwit('ps', '--agent', url, '--json')
    expect(JSON.parse(json)).toEqual({ guests: [shown], copies: [COPY] })
  })

  it('migrate sends every setting, follows, and prints the report', async () => {
    const words = [
      '--to',
      'b.example:7500',
      '--channels',
      '2',
      '--bandwidth',
      '40MB/s',
      '--no-verify',
      '--timeout',
      '9s',
    ]
    const { status, output, errors } = await godwit('migrate', 'web1', '--agent', url, ...words)
    expect(status).toBe(0)
    expect(output).toContain('Guest web1 moved from alpha to beta')
    expect(errors).toContain('sending memory while the guest runs')
    expect(seen[0]?.body).toMatchObject({
      to: { host: 'b.example', port: 7500 },
      settings: {
        channels: 2,
        bandwidth: 4e7,
        verify: 'none',
        timeout: 9000,
        movement: 'pre-copy',
        downtimeTarget: 50,
      },
    })
  })

  it('migrate --check only asks', async () => {
    const { status, output } = await godwit('migrate', 'web1', '--agent', url, '--to', 'b', '--check')
    expect({ status, lines: seen.map(({ line }) => line) }).toEqual({
      status: 0,
      lines: ['POST /v1/guests/web1/migrate?check=true'],
    })
    expect(output).toContain('nothing was changed')
  })

  it('migrate moves several guests as a gang, when all are there', async () => {
    const to = ['--agent', url, '--to', 'b', '--json']
    const { status, output, errors } = await godwit('migrate', 'web1', 'web2', ...to)
    expect({ status, errors }).toEqual({ status: 0, errors: '' })
    const { gang, reports } = JSON.parse(output) as { gang: string; reports: unknown[] }
    expect(reports).toEqual([sampleReport(), sampleReport()])
    const begun = seen.filter(({ line }) => line.endsWith('/migrate'))
    expect(begun.map(({ line }) => line)).toEqual(['POST /v1/guests/web1/migrate', 'POST /v1/guests/web2/migrate'])
    for (const { body } of begun) expect(body).toMatchObject({ settings: { gang } })
    seen = []
    expect(await godwit('migrate', 'web1', 'nobody', ...to)).toMatchObject({ status: 1, output: '' })
    const twice = await godwit('migrate', 'web1', ID, ...to)
    expect(twice).toMatchObject({ status: 2, output: '' })
    expect(twice.errors).toContain(`web1 and ${ID} are the same guest (usage)`)
    expect(seen.some(({ line }) => line.endsWith('/migrate'))).toBe(false)
  })

  it('migrate --check asks about each', async () => {
    const { status, output } = await godwit('migrate', 'web1', 'web2', '--agent', url, '--to', 'b', '--check', '--json')
    const asked = seen.map(({ line }) => line).filter((line) => line.startsWith('POST'))
    expect(asked).toEqual([1, 2].map((n) => `POST /v1/guests/web${n}/migrate?check=true`))
    expect([status, JSON.parse(output)]).toMatchObject([0, [{ agent: 'beta' }, { agent: 'beta' }]])
  })

  it('a broken event stream is no broken migration', async () => {
    streamBreaks = true
    const { status, output } = await godwit('migrate', 'web1', '--agent', url, '--to', 'b', '--json')
    expect(status).toBe(0)
    expect(JSON.parse(output)).toEqual(sampleReport())
  })

  it('recover and resolve say what was chosen', async () => {
    await godwit('recover', ID, '--agent', url)
    await godwit('recover', ID, '--via', 'b.example', '--agent', url)
    for (const words of [[], ['--take', '--peer-is-dead'], ['--abandon', '--peer-is-dead'], ['--take-stale']]) {
      await godwit('resolve', 'web1', ...words, '--agent', url)
    }
    expect(seen.map(({ body }) => body)).toEqual([
      { via: null },
      { via: 'b.example' },
      { what: 'status', peerIsDead: false },
      { what: 'take', peerIsDead: true },
      { what: 'abandon', peerIsDead: true },
      { what: 'take-stale', peerIsDead: false },
    ])
  })

  it('ps and show tell of a pull, why it is paused and what to do about it', async () => {
    const progress = { stage: 'pull', totalPages: 16, missingPages: 12, cleanPages: 4, bytesPerSecond: 0, reason: '' }
    const migration = { id: ID, role: 'destination', peer: 'alpha:7400', progress, paused: 'the connection was lost' }
    shown = { ...GUEST, state: 'pulling', migration }
    const ps = await godwit('ps', '--agent', url)
    expect(ps.output).toContain('from alpha:7400, 12 pages missing, paused')
    const show = await godwit('show', 'web1', '--agent', url)
    expect(show.output).toContain('its memory is still coming')
    expect(show.output).toContain('12 pages missing')
    for (const { output } of [ps, show]) {
      expect(output).toContain('the connection was lost')
      expect(output).toContain(`godwit recover ${ID}`)
    }
    const recover = await godwit('recover', ID, '--agent', url)
    expect(recover).toMatchObject({
      status: 1,
      output: expect.stringContaining('still paused: the connection was lost'),
    })
    shown = { ...GUEST, state: 'lost' }
    for (const words of [['ps'], ['show', 'web1'], ['resolve', 'web1']]) {
      const { output } = await godwit(...words, '--agent', url)
      expect(output).toContain('godwit resolve web1 --abandon')
    }
    expect((await godwit('resolve', 'web1', '--agent', url)).status).toBe(4)
    // Its host knows what is left to do: not everything helps in every movement.
    const hint = 'only this helps: godwit resolve web1 --abandon'
    shown = { ...GUEST, state: 'lost', crash: { code: 'lost', message: 'it is gone', hint } }
    for (const words of [['ps'], ['show', 'web1'], ['resolve', 'web1']]) {
      const { output } = await godwit(...words, '--agent', url)
      expect(output.split(hint)).toHaveLength(2)
      expect(output).not.toContain('take-stale')
    }
  })

  it('names the option that an agent refuses, not the field of its schema', async () => {
    const words = ['--agent', url, '--to', 'b']
    refused = 'settings.downtimeTarget: Too big'
    expect((await godwit('migrate', 'web1', ...words)).errors).toBe(
      'godwit: --downtime-target: Too big (usage)\n  hint: see: godwit migrate --help\n',
    )
    refused = 'memoryBytes: Too small'
    expect((await godwit('start', '--agent', url)).errors).toContain('--memory: Too small')
    refused = 'settings: Unrecognized key'
    expect((await godwit('migrate', 'web1', ...words)).errors).toContain('settings: Unrecognized key (usage)')
  })

  it("prints the agent's own error", async () => {
    expect(await godwit('show', 'nobody', '--agent', url)).toEqual({
      status: 1,
      output: '',
      errors: 'godwit: there is no nobody (no-such-guest)\n  hint: see: godwit ps\n',
    })
  })

  it('escapes what people type', async () => {
    await new AgentClient(url).guest('../agent?x')
    expect(seen[0]?.line).toBe('GET /v1/guests/..%2Fagent%3Fx')
  })
})
