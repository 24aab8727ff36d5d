// `godwit gateway` as far as it needs no guest: what it refuses, and how it says so.

import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import { expect, test } from 'vitest'
import { godwit } from './buffer-terminal.ts'

const gateway = (...words: string[]) => godwit('gateway', ...words)

test('it needs a guest, an agent that answers, and a guest that it knows', async () => {
  expect(await gateway()).toMatchObject({ status: 2, errors: expect.stringContaining('--guest NAME') })
  expect(await gateway('--guest', '')).toMatchObject({ status: 2 })
  for (const text of ['6380', ':6380', '']) {
    const listening = await gateway('--guest', 'store', '--listen', text)
    expect(listening).toMatchObject({ status: 2, errors: expect.stringContaining('HOST:PORT') })
  }
  const silent = await gateway('--guest', 'store', '--agent', '127.0.0.1:1')
  expect(silent).toMatchObject({ status: 1, errors: expect.stringContaining('(unreachable)') })
  const open = await gateway('--guest', 'store', '--listen', '0.0.0.0:0')
  expect(open).toMatchObject({ status: 1, errors: expect.stringContaining('(insecure)') })
})

test('it says when no agent knows the guest, whichever of them were named', async () => {
  const asked: string[] = []
  const agent = createServer((request, response) => {
    asked.push(request.url ?? '')
    response.writeHead(404, { 'content-type': 'application/json' })
    response.end(JSON.stringify({ error: { code: 'no-such-guest', message: 'none' } }))
  })
  await new Promise<void>((resolve) => agent.listen(0, '127.0.0.1', resolve))
  const { port } = agent.address() as AddressInfo
  const found = await gateway('--guest', 'store', '--agent', `127.0.0.1:${port}`, '--agent', `localhost:${port}`)
  agent.close()
  expect(found).toMatchObject({ status: 1, errors: expect.stringContaining('(no-such-guest)') })
  expect(asked).toEqual(['/v1/guests/store/service', '/v1/guests/store/service'])
})
