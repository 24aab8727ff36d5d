// Clients that read slowly, or not at all, or ask for more than their share, at a service port over real sockets.

import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { GATEWAY_CLOSE_BYTES, GATEWAY_WINDOW_COMMANDS } from '../../src/limits.ts'
import { TestFront } from '../support/front.ts'
import { encode, type RespClient } from '../support/resp-client.ts'

const served = new TestFront()

/**
 * Waits until the port takes in no more of what others have sent: none while this client has many commands answered. Returns how
 * many it has taken in.
 */
async function settled(client: RespClient): Promise<number> {
  for (let own = 0, before = -1; ; ) {
    for (const until = own + 20; own < until; own++) expect(await client.command('PING')).toBe('+PONG')
    const others = served.front.commands - own
    if (others === before) return others
    before = others
  }
}

describe('slow readers', () => {
  const VALUE = 400 * 1024

  test('one that reads nothing is read from no more, and gets everything once it reads', async () => {
    const client = await served.begin(1)
    await client.command('SET', 'big', Buffer.alloc(VALUE, 'x'))
    const slow = await served.another()
    slow.socket.pause()
    for (let index = 0; index < 400; index++) slow.send('GET', 'big')
    // 160 MB of replies were asked for.
    await expect.poll(() => served.front.commands).toBeGreaterThan(1)
    expect(await settled(client)).toBeLessThan(150)
    slow.socket.resume()
    for (let index = 0; index < 400; index++) expect(await slow.next()).toHaveLength(VALUE)
  })

  test('one whose replies come faster than anybody could have known is sent away at 64 MiB', async () => {
    const client = await served.begin(1)
    await client.command('SET', 'big', Buffer.alloc(VALUE, 'x'))
    const slow = await served.another()
    slow.socket.pause()
    // Replies to these are short, so that many are allowed under way.
    for (let index = 0; index < 200; index++) slow.send('SET', 'small', '1')
    await expect.poll(() => [served.front.commands, served.backend.waiting]).toEqual([201, 0])
    served.backend.held = true
    for (let index = 0; index < 1000; index++) slow.send('GET', 'big')
    await expect.poll(() => served.backend.waiting).toBeGreaterThan((2 * GATEWAY_CLOSE_BYTES) / VALUE)
    served.backend.held = false
    served.backend.answerAll()
    await expect.poll(() => served.front.clients.size).toBe(1)
    expect(await client.command('PING')).toBe('+PONG')
  })

  test('one that is behind at the moment in which its vCPU has room again goes on afterwards', async () => {
    const client = await served.begin(1)
    await client.command('SET', 'big', Buffer.alloc(VALUE, 'x'))
    const one = await served.another()
    for (let index = 0; index < 200; index++) expect(await one.command('SET', 'small', '1')).toBe('+OK')
    const { backend } = served
    backend.held = true
    backend.room = 200
    one.send('GET', 'big')
    for (let index = 1; index <= 200; index++) one.send('GET', 'small')
    // The last one has come and found no room.
    await expect.poll(() => [served.front.commands, backend.waiting]).toEqual([402, 200])
    // By its length so many others are too much; and now there is room.
    backend.answer(0)
    backend.held = false
    backend.answerAll()
    expect(await one.next()).toHaveLength(VALUE)
    for (let index = 1; index <= 200; index++) expect(await one.next()).toBe('1')
  })

  test('a client that sends without end has no more than a window of commands under way', async () => {
    const client = await served.begin(1)
    served.backend.held = true
    const one = encode('INCR', 'n')
    const count = 3 * GATEWAY_WINDOW_COMMANDS
    client.socket.write(Buffer.concat(Array.from({ length: count }, () => one)))
    await expect.poll(() => served.backend.waiting).toBeGreaterThan(0)
    await settled(await served.another())
    expect(served.backend.waiting).toBeLessThanOrEqual(GATEWAY_WINDOW_COMMANDS)
    served.backend.held = false
    served.backend.answerAll()
    for (let index = 1; index <= count; index++) expect(await client.next()).toBe(`:${index}`)
  })

  test('when the backend is full, clients wait and lose nothing', async () => {
    const first = await served.begin(1)
    served.backend.room = 8
    served.backend.held = true
    const all = [first, await served.another(), await served.another()]
    const one = encode('INCR', 'n')
    for (const client of all) client.socket.write(Buffer.concat(Array.from({ length: 100 }, () => one)))
    await expect.poll(() => served.backend.waiting).toBe(8)
    await settled(await served.another())
    expect(served.backend.waiting).toBe(8)
    const counts = all.map(async (client) => {
      const seen: number[] = []
      while (seen.length < 100) seen.push(Number(((await client.next()) as string).slice(1)))
      expect(seen).toEqual([...seen].sort((a, b) => a - b))
      return seen
    })
    const answering = setInterval(() => served.backend.answer(0), 0)
    const seen = (await Promise.all(counts)).flat()
    clearInterval(answering)
    expect(seen.sort((a, b) => a - b)).toEqual(Array.from({ length: 300 }, (_, index) => index + 1))
  })

  test('when one client alone would keep the backend full, the others have their turns', async () => {
    const greedy = await served.begin(1)
    served.backend.room = 8
    served.backend.held = true
    const one = encode('INCR', 'greedy')
    greedy.socket.write(Buffer.concat(Array.from({ length: 1000 }, () => one)))
    await expect.poll(() => served.backend.waiting).toBe(8)
    const others = await Promise.all([served.another(), served.another()])
    const replies = others.map((client) => client.command('INCR', 'modest'))
    // One more of the greedy client, and theirs, have come and found no room.
    await expect.poll(() => served.front.commands).toBe(8 + 1 + 2)
    let answered = false
    void Promise.all(replies).then(() => {
      answered = true
    })
    let count = 0
    for (; !answered && count < 500; count++) {
      served.backend.answer(0)
      await sleep()
    }
    expect(count).toBeLessThan(50)
    served.backend.held = false
    served.backend.answerAll()
  })
})
