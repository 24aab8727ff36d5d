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

function answer(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body))
}

function respond(line: string, response: ServerResponse): void {
  if (line.endsWith('/events')) {
    response.writeHead(200, { 'content-type': 'text/event-stream' })
    response.write(': godwit\n\nevent: stage\ndata: {"type":"stage","migration":"a","stage":"iterate","at":0}\n\nda')
    if (streamBreaks) setImmediate(() => response.destroy())
    else setImmediate(() => response.end(`ta: ${JSON.stringify({ type: 'report', report: sampleReport() })}\n\n`))
  } else if (line === `GET /v1/migrations/${ID}`) answer(response, 200, { id: ID, report: sampleReport() })
  else if (line.includes('nobody')) {
    answer(response, 404, { error: { code: 'no-such-guest', message: 'there is no nobody', hint: 'see: godwit ps' } })
  } else if (line === 'GET /v1/guests') answer(response, 200, [GUEST])
  else if (line.endsWith('check=true')) answer(response, 200, { ok: true, agent: 'beta' })
  else if (line.endsWith('/migrate')) answer(response, 202, { id: ID })
  else if (line.endsWith('/logs')) answer(response, 200, { text: 'first\nlast\n' })
  else answer(response, 200, GUEST)
}

beforeEach(async () => {
  seen = []
  streamBreaks = false
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
    ['start', ['--name', 'web1'], 'POST /v1/guests'],
  ])('%s, for people and as one JSON document', async (name, words, line) => {
    const plain = await godwit(name, ...words, '--agent', url)
    expect(plain).toMatchObject({ status: 0, errors: '' })
    expect(plain.output).not.toMatch(/undefined|NaN|\[object/)
    const json = await godwit(name, ...words, '--agent', url, '--json')
    expect(json).toMatchObject({ status: 0, errors: '' })
    expect(typeof JSON.parse(json.output)).toBe('object')
    expect(seen.map((request) => request.line)).toEqual([line, line])
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

  it('a broken event stream is no broken migration', async () => {
    streamBreaks = true
    const { status, output } = await godwit('migrate', 'web1', '--agent', url, '--to', 'b', '--json')
    expect(status).toBe(0)
    expect(JSON.parse(output)).toEqual(sampleReport())
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
