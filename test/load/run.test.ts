// Loads against servers that do what servers do: stand still, lose or double an increment, break connections, mix up
// replies, refuse. What the load says must name it, and nothing else.

import type { AddressInfo } from 'node:net'
import { createServer, type Server, type Socket } from 'node:net'
import { setTimeout as sleep } from 'node:timers/promises'
import { afterEach, describe, expect, test } from 'vitest'
import { type Load, startLoad } from '../../src/load/load.ts'
import type { LoadOptions } from '../../src/load/options.ts'
import { type LoadResult, loadResultSchema } from '../../src/load/result.ts'
import { BareServer } from '../support/bare-server.ts'

const SEED = Number(process.env.GODWIT_SEED ?? 1)
const closing: (() => unknown)[] = []
afterEach(async () => {
  for (const close of closing.splice(0).reverse()) await close()
})

async function serve<T extends BareServer>(server: T): Promise<T> {
  await server.listen()
  closing.push(() => server.close())
  return server
}

function load(server: { port: number }, options: Partial<LoadOptions> = {}, window = 'before'): Load {
  const targets = [{ host: '127.0.0.1', port: server.port }]
  const common = {
    targets,
    rate: 2000,
    connections: 4,
    keys: 200,
    warmUpMs: 100,
    durationMs: 20_000,
    seed: SEED,
  }
  const started = startLoad({ ...common, ...options }, { window })
  closing.push(() => started.kill())
  return started
}
/** Waits for what is not a matter of time; fails by the test's time limit. */
async function until(probe: () => boolean): Promise<void> {
  while (!probe()) await sleep(5)
}
const windowOf = (result: LoadResult, name: string) => {
  const found = result.windows.find((window) => window.name === name)
  if (found === undefined) throw new Error(`no window ${name}`)
  return found
}

describe('a load', () => {
  test('at a server that does its work: everything answered, exact, at the rate, and no key left behind', async () => {
    const server = await serve(new BareServer())
    const result = await load(server, { durationMs: 1000 }).done
    expect(loadResultSchema.parse(result)).toEqual(result)
    expect(result).toMatchObject({ failed: 0, disconnects: 0, errors: {}, exact: true })
    expect(result.counters).toMatchObject({ ok: true, unanswered: 0, lost: 0, doubled: 0, wrongReplies: 0 })
    expect(result.counters.read).toBe(result.counters.acknowledged)
    expect(result.counters.increments).toBeGreaterThan(300)
    // Not the rate itself: a machine that stands still at the end makes the end later, not the operations fewer.
    expect(result.durationMs).toBeGreaterThanOrEqual(1000)
    const answered = (result.operationsPerSecond * result.durationMs) / 1000
    expect(answered).toBeGreaterThan(1700)
    expect(answered).toBeLessThan(2300)
    expect(result.timeline.operations.reduce((sum, each) => sum + each, 0)).toBeGreaterThan(1700)
    expect(server.values.size).toBe(0)
  })

  test('sends the same from the same seed', async () => {
    const sent = async (seed: number): Promise<string> => {
      const server = await serve(new BareServer())
      // Reads alone in between, so that what is left depends on what is sent, not on when it ends.
      const options = { seed, prefix: 'p', keep: true, writes: 0, keys: 50, durationMs: 50 }
      await load(server, options).done
      return JSON.stringify([...server.values])
    }
    expect(await sent(3)).toBe(await sent(3))
    expect(await sent(3)).not.toBe(await sent(4))
  })

  test('counts operations from when they were due: a server that stands still for 500 ms', async () => {
    const server = await serve(new BareServer())
    const running = load(server)
    await running.ready
    await sleep(700)
    running.mark('during')
    await sleep(50)
    server.pause()
    await sleep(500)
    server.resume()
    await sleep(450)
    running.mark('after')
    await sleep(300)
    const result = await running.stop()
    const [before, during] = [windowOf(result, 'before'), windowOf(result, 'during')]
    expect(result).toMatchObject({ failed: 0, disconnects: 0, exact: true })
    // Whoever waits for replies before it sends on would have seen one slow operation a connection.
    const stalled = 500 / during.ms
    expect(during.requests).toBeGreaterThan(2 * during.ms * 0.8)
    expect(during.latencyMs.p99).toBeGreaterThan(440)
    expect(during.latencyMs.max).toBeGreaterThan(480)
    // Those that were due in the pause waited evenly from 500 ms down to nothing.
    expect(during.latencyMs.p90).toBeGreaterThan(0.8 * 500 * (1 - 0.1 / stalled))
    for (const gap of [during.longestGapMs, during.longestSilenceMs]) {
      expect(gap).toBeGreaterThan(470)
      // It began and ended in this window, however long a busy machine made it.
      expect(gap).toBeLessThan(during.ms)
    }
    expect(before.longestGapMs).toBeLessThan(during.longestGapMs)
    expect(Math.max(...result.timeline.longestGapMs)).toBeCloseTo(result.longestGapMs, 2)
  })

  test('counts from when they were due also what could not be sent: a service that is away for 500 ms', async () => {
    const server = await serve(new BareServer())
    const { port } = server
    const running = load(server)
    await running.ready
    await sleep(300)
    running.mark('during')
    await server.close()
    await sleep(500)
    await server.listen(port)
    await sleep(600)
    running.mark('after')
    const result = await running.stop()
    const during = windowOf(result, 'during')
    expect(result).toMatchObject({ exact: true, disconnects: 4 })
    expect(result.generator.heldBack).toBeGreaterThan(600)
    const away = 500 / during.ms
    expect(during.latencyMs.p90).toBeGreaterThan(0.8 * 500 * (1 - 0.1 / away))
    // The load was not late: the service was.
    expect(result.generator.latenessMs.p99).toBeLessThan(during.latencyMs.p90)
    expect(during.longestGapMs).toBeGreaterThan(480)
    expect(during.longestSilenceMs).toBeGreaterThan(480)
  })

  test('without marks that are not allowed', async () => {
    const running = load(await serve(new BareServer()))
    await running.ready
    running.mark('warm-up')
    await expect(running.done).rejects.toMatchObject({ code: 'usage' })
  })
})

describe('exactness', () => {
  class Forgetful extends BareServer {
    #left = 100
    protected override add(key: string, amount: number): number {
      if (--this.#left !== 0) return super.add(key, amount)
      // It answers as if it had.
      return Number(this.values.get(key) ?? 0) + amount
    }
  }
  class Eager extends BareServer {
    #left = 100
    protected override add(key: string, amount: number): number {
      const value = super.add(key, amount)
      // Done twice, and answered once: nobody sees it before the counter is read.
      if (--this.#left === 0) super.add(key, amount)
      return value
    }
  }

  test.each([
    ['loses', Forgetful, 'lost'],
    ['doubles', Eager, 'doubled'],
  ] as const)('a server that %s one increment is caught', async (_, Kind, field) => {
    // So many counters that the one is likely not met again: the end alone shows it.
    const result = await load(await serve(new Kind()), { counters: 5000, durationMs: 600 }).done
    expect(result).toMatchObject({ exact: false, disconnects: 0 })
    const { counters } = result
    expect(counters[field] + counters.wrongReplies).toBeGreaterThan(0)
    expect(counters.examples.length + counters.wrongReplies).toBeGreaterThan(0)
  })

  test('a server whose replies are another key’s is caught', async () => {
    class Mixed extends BareServer {
      mixing = false
      mixed = 0
      protected override send(socket: Socket, replies: Uint8Array): void {
        const [other] = [...this.sockets].filter((each) => each !== socket)
        if (!this.mixing || other === undefined) return super.send(socket, replies)
        this.mixed++
        super.send(other, replies)
      }
    }
    const server = await serve(new Mixed())
    const running = load(server, { connections: 2, rate: 500, patienceMs: 500 })
    await running.ready
    await sleep(200)
    server.mixing = true
    await until(() => server.mixed > 20)
    server.mixing = false
    await sleep(100)
    const result = await running.stop()
    expect(result.failed).toBeGreaterThan(0)
    expect(Object.keys(result.errors).some((text) => /^wrong reply|nothing asked for/.test(text))).toBe(true)
  })

  test('a value that is gone is an error', async () => {
    const server = await serve(new BareServer())
    const running = load(server, { writes: 0 })
    await running.ready
    server.values.clear()
    await sleep(100)
    const result = await running.stop()
    expect(result.errors['wrong reply: a value is gone']).toBeGreaterThan(10)
    expect(result.exact).toBe(false)
  })
})

describe('connections', () => {
  class Silent extends BareServer {
    silent = false
    swallowed = 0
    readonly answered = new Set<Socket>()
    protected override send(socket: Socket, replies: Uint8Array): void {
      if (this.silent) this.swallowed++
      else {
        this.answered.add(socket)
        super.send(socket, replies)
      }
    }
  }

  test('that break are named, dialled again, and what was out may have been done', async () => {
    const server = await serve(new Silent())
    const running = load(server)
    await running.ready
    for (let cut = 0; cut < 3; cut++) {
      // All four are up again; a connection that is still dialled could not break.
      await until(() => [...server.sockets].filter((socket) => server.answered.has(socket)).length === 4)
      // Requests are out when it breaks: some were done and not answered, some taken in by the system and not by the server.
      const { swallowed } = server
      server.silent = true
      await until(() => server.swallowed > swallowed + 10)
      server.pause()
      await sleep(30)
      server.disconnect()
      server.answered.clear()
      server.silent = false
      server.resume()
    }
    await sleep(200)
    const result = await running.stop()
    expect(result.disconnects).toBe(12)
    expect(result.exact).toBe(true)
    expect(result.failed).toBe(result.errors['no reply: the connection was lost'])
    expect(result.failed).toBeGreaterThan(10)
    expect(result.counters.unanswered).toBeGreaterThan(0)
    expect(result.counters.read).toBeLessThanOrEqual(result.counters.acknowledged + result.counters.unanswered)
    expect(result.errors['disconnected: ECONNRESET']).toBe(12)
    expect(result.longestGapMs).toBeGreaterThan(25)
  })

  test('a service that is away for good: nothing is exact that nobody can read', async () => {
    const server = await serve(new BareServer())
    const running = load(server, { patienceMs: 500 })
    await running.ready
    await server.close()
    await sleep(300)
    const result = await running.stop()
    expect(result.exact).toBe(false)
    expect(result.counters.unread).toBe(1024)
    expect(result.errors['not sent: the connection took no more']).toBeGreaterThan(100)
    expect(result.longestGapMs).toBeGreaterThan(500)
  })

  test('to nobody: unreachable, with a hint', async () => {
    const server = await serve(new BareServer())
    const { port } = server
    await server.close()
    const running = load({ port })
    await expect(running.ready).rejects.toMatchObject({ code: 'unreachable', hint: expect.stringContaining('start') })
    await expect(running.done).rejects.toMatchObject({ code: 'unreachable' })
  })

  /** A server that answers everything with the same bytes. */
  async function answering(bytes: string): Promise<{ port: number }> {
    const server: Server = createServer((socket) => {
      socket.on('error', () => {})
      socket.on('data', () => socket.write(bytes))
      closing.push(() => socket.destroy())
    })
    await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
    closing.push(() => new Promise((resolve) => server.close(resolve)))
    return { port: (server.address() as AddressInfo).port }
  }

  test('to a server that refuses the keys', async () => {
    const running = load(await answering('-OOM command not allowed\r\n'))
    await expect(running.ready).rejects.toMatchObject({ code: 'load-refused', hint: expect.stringContaining('--keys') })
  })

  test('to a server of another protocol', async () => {
    const running = load(await answering('HTTP/1.1 400 Bad Request\r\n\r\n'))
    await expect(running.ready).rejects.toMatchObject({ code: 'bad-reply', message: expect.stringContaining('0x48') })
  })
})
