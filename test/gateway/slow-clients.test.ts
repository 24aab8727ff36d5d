// Clients that read slowly, or not at all, or ask for more than their share, at a service port over real sockets.

import { afterEach, describe, expect, test } from 'vitest'
import { Front, type FrontOptions } from '../../src/gateway/front.ts'
import { GATEWAY_CLOSE_BYTES, GATEWAY_WINDOW_COMMANDS } from '../../src/limits.ts'
import { KvBackend } from '../support/kv-backend.ts'
import { encode, RespClient } from '../support/resp-client.ts'

let front: Front | undefined
let backend: KvBackend
let clients: RespClient[] = []

afterEach(async () => {
  for (const client of clients) client.close()
  clients = []
  await front?.close()
  front = undefined
})

async function begin(vcpus = 2, options: Partial<FrontOptions> = {}): Promise<RespClient> {
  backend = new KvBackend(vcpus)
  front = new Front({ backend, ...options })
  await front.listen('127.0.0.1', [0, 0])
  return await another()
}

async function another(): Promise<RespClient> {
  const client = await RespClient.connect((front as Front).port)
  clients.push(client)
  return client
}

const turn = (ms = 0): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

describe('slow readers', () => {
  const VALUE = 400 * 1024

  test('one that reads nothing is read from no more, and gets everything once it reads', async () => {
    const client = await begin(1)
    await client.command('SET', 'big', Buffer.alloc(VALUE, 'x'))
    const slow = await another()
    slow.socket.pause()
    for (let index = 0; index < 400; index++) slow.send('GET', 'big')
    await turn(300)
    const seen = front?.commands ?? 0
    // 160 MB of replies were asked for.
    expect(seen).toBeLessThan(150)
    await turn(100)
    expect(front?.commands).toBe(seen)
    expect(await client.command('PING')).toBe('+PONG')
    slow.socket.resume()
    for (let index = 0; index < 400; index++) expect(await slow.next()).toHaveLength(VALUE)
  })

  test('one whose replies come faster than anybody could have known is sent away at 64 MiB', async () => {
    const client = await begin(1)
    await client.command('SET', 'big', Buffer.alloc(VALUE, 'x'))
    const slow = await another()
    slow.socket.pause()
    // Replies to these are short, so that many are allowed under way.
    for (let index = 0; index < 200; index++) slow.send('SET', 'small', '1')
    await expect.poll(() => backend.waiting).toBe(0)
    await turn(50)
    backend.held = true
    for (let index = 0; index < 1000; index++) slow.send('GET', 'big')
    await expect.poll(() => backend.waiting).toBeGreaterThan((2 * GATEWAY_CLOSE_BYTES) / VALUE)
    backend.held = false
    backend.answerAll()
    await expect.poll(() => front?.clients.size).toBe(1)
    expect(await client.command('PING')).toBe('+PONG')
  })

  test('a client that sends without end has no more than a window of commands under way', async () => {
    const client = await begin(1)
    backend.held = true
    const one = encode('INCR', 'n')
    const count = 3 * GATEWAY_WINDOW_COMMANDS
    client.socket.write(Buffer.concat(Array.from({ length: count }, () => one)))
    await turn(100)
    expect(backend.waiting).toBeLessThanOrEqual(GATEWAY_WINDOW_COMMANDS)
    backend.held = false
    backend.answerAll()
    for (let index = 1; index <= count; index++) expect(await client.next()).toBe(`:${index}`)
  })

  test('when the backend is full, clients wait and lose nothing', async () => {
    const first = await begin(1)
    backend.room = 8
    backend.held = true
    const all = [first, await another(), await another()]
    const one = encode('INCR', 'n')
    for (const client of all) client.socket.write(Buffer.concat(Array.from({ length: 100 }, () => one)))
    await turn(50)
    expect(backend.waiting).toBe(8)
    const counts = all.map(async (client) => {
      const seen: number[] = []
      while (seen.length < 100) seen.push(Number(((await client.next()) as string).slice(1)))
      expect(seen).toEqual([...seen].sort((a, b) => a - b))
      return seen
    })
    const answering = setInterval(() => backend.answer(0), 0)
    const seen = (await Promise.all(counts)).flat()
    clearInterval(answering)
    expect(seen.sort((a, b) => a - b)).toEqual(Array.from({ length: 300 }, (_, index) => index + 1))
  })

  test('when one client alone would keep the backend full, the others have their turns', async () => {
    const greedy = await begin(1)
    backend.room = 8
    backend.held = true
    const one = encode('INCR', 'greedy')
    greedy.socket.write(Buffer.concat(Array.from({ length: 1000 }, () => one)))
    await expect.poll(() => backend.waiting).toBe(8)
    const others = await Promise.all([another(), another()])
    const replies = others.map((client) => client.command('INCR', 'modest'))
    await turn(50)
    let answered = false
    void Promise.all(replies).then(() => {
      answered = true
    })
    let count = 0
    for (; !answered && count < 500; count++) {
      backend.answer(0)
      await turn()
    }
    expect(count).toBeLessThan(50)
    backend.held = false
    backend.answerAll()
  })
})
