// The service port over real sockets, with the store's shards in this process behind it.

import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { KV_MAX_LINE_BYTES } from '../../src/limits.ts'
import { TestFront } from '../support/front.ts'
import { numbers } from '../support/page-shapes.ts'
import { encode, type Value } from '../support/resp-client.ts'

const SEED = Number(process.env.GODWIT_SEED ?? 1)

const served = new TestFront()

describe('commands', () => {
  test('of one key, of several shards, and of all', async () => {
    const client = await served.begin()
    expect(await client.command('SET', 'foo', '1')).toBe('+OK')
    expect(await client.command('set', 'hello', '2')).toBe('+OK')
    expect(await client.command('MGET', 'hello', 'none', 'foo', 'hello')).toEqual(['2', null, '1', '2'])
    expect(await client.command('MSET', 'foo', 'x', 'hello', 'y', 'bar', 'z')).toBe('+OK')
    expect(await client.command('DBSIZE')).toBe(':3')
    expect(await client.command('EXISTS', 'foo', 'hello', 'foo')).toBe(':3')
    expect(await client.command('DEL', 'foo', 'hello', 'none')).toBe(':2')
    expect(await client.command('MSET', 'foo', 'x', 'hello')).toBe("-ERR wrong number of arguments for 'mset' command")
    expect(await client.command('FLUSHALL')).toBe('+OK')
    expect(await client.command('DBSIZE')).toBe(':0')
  })

  test('INFO adds the shards up and knows the port', async () => {
    const client = await served.begin()
    for (const key of ['foo', 'bar', 'hello']) await client.command('SET', key, '1')
    const info = (await client.command('INFO')) as string
    expect(info).toContain('db0:keys=3,expires=0')
    expect(info).toContain('connected_clients:1')
    expect(info).toContain(`tcp_port:${served.front.port}`)
    const one = (await client.command('INFO', 'keyspace')) as string
    expect(one).toBe('# Keyspace\r\ndb0:keys=3,expires=0,avg_ttl=0,subexpiry=0\r\n')
  })

  test('about the connection', async () => {
    const client = await served.begin()
    expect(await client.command('PING')).toBe('+PONG')
    expect(await client.command('PING', 'there')).toBe('there')
    expect(await client.command('ECHO', 'me')).toBe('me')
    expect(await client.command('SELECT', '0')).toBe('+OK')
    expect(await client.command('SELECT', '1')).toBe('-ERR DB index is out of range')
    expect(await client.command('HELLO', '3')).toMatch(/^-NOPROTO/)
    expect(await client.command('HELLO', '2', 'AUTH', 'me', 'secret')).toMatch(/^-WRONGPASS/)
    const hello = (await client.command('HELLO', '2', 'SETNAME', 'me')) as Value[]
    expect(hello.slice(hello.indexOf('id'), hello.indexOf('id') + 2)).toEqual(['id', ':1'])
    expect(await client.command('CLIENT', 'GETNAME')).toBe('me')
    expect(await client.command('CLIENT', 'SETNAME', 'a b')).toMatch(/^-ERR Client names/)
    expect(await client.command('CLIENT', 'SETINFO', 'LIB-NAME', 'test')).toBe('+OK')
    expect(await client.command('CLIENT', 'INFO')).toMatch(/^id=1 addr=127.0.0.1:\d+ name=me .*lib-name=test/)
    expect(await client.command('CLIENT', 'NO-EVICT', 'ON')).toBe('+OK')
    expect(await client.command('RESET')).toBe('+RESET')
    expect(await client.command('CLIENT', 'GETNAME')).toBe(null)
    expect(await client.command('CONFIG', 'GET', 'save')).toEqual(['save', ''])
    expect(await client.command('CONFIG', 'SET', 'save', '')).toMatch(/^-ERR unknown subcommand/)
    expect(await client.command('COMMAND', 'COUNT')).toMatch(/^:\d+/)
    expect(await client.command('CLUSTER', 'KEYSLOT', 'foo')).toBe(':12182')
    for (const words of [['CLUSTER', 'SLOTS'], ['ASKING'], ['READONLY']]) {
      expect(await client.command(...words)).toBe('-ERR This instance has cluster support disabled')
    }
    expect(await client.command('AUTH', 'secret')).toMatch(/^-ERR AUTH/)
    expect(await client.command('QUIT')).toBe('+OK')
    await client.closed
  })

  test('that are none, or not carried', async () => {
    const client = await served.begin()
    expect(await client.command('NOPE', 'a')).toBe("-ERR unknown command 'NOPE', with args beginning with: 'a' ")
    for (const name of ['SUBSCRIBE', 'blpop', 'MULTI', 'eval']) {
      expect(await client.command(name, 'a', '0')).toBe(
        `-ERR '${name.toLowerCase()}' is not carried by Godwit's gateway: it has no pub/sub, blocking commands, transactions or scripts`,
      )
    }
    expect(await client.command('GET')).toBe("-ERR wrong number of arguments for 'get' command")
    expect(await client.command('GET', 'a')).toBe(null)
  })

  test('CLIENT LIST and KILL', async () => {
    const client = await served.begin()
    const victim = await served.another()
    await victim.command('CLIENT', 'SETNAME', 'victim')
    const list = (await client.command('CLIENT', 'LIST')) as string
    expect(list.trim().split('\n')).toHaveLength(2)
    expect(await client.command('CLIENT', 'KILL', 'ID', '2')).toBe(':1')
    await victim.closed
    expect(await client.command('CLIENT', 'KILL', 'ID', '2')).toBe(':0')
    expect(await client.command('CLIENT', 'KILL', 'nowhere:1')).toBe('-ERR No such client')
    // Nobody ends itself by mistake.
    expect(await client.command('CLIENT', 'KILL', 'SKIPME', 'maybe')).toBe('-ERR syntax error')
    expect(await client.command('CLIENT', 'KILL', 'ID', 'x')).toBe('-ERR client-id should be greater than 0')
    expect(await client.command('CLIENT', 'KILL', 'ID', '1')).toBe(':0')
    expect(await client.command('CLIENT', 'KILL', 'ID', '1', 'SKIPME', 'no')).toBe(':1')
    await client.closed
  })
})

test('replies come in the order of commands, whatever order the shards answer in', async () => {
  const client = await served.begin(4)
  const next = numbers(SEED)
  console.log(`seed ${SEED}`)
  for (let index = 0; index < 50; index++) await client.command('SET', `key:${index}`, `value ${index}`)
  served.backend.held = true
  for (let round = 0; round < 20; round++) {
    const expected: Value[] = []
    const bytes: Buffer[] = []
    for (let count = 1 + (next() % 60); count > 0; count--) {
      const key = next() % 60
      const value = key < 50 ? `value ${key}` : null
      const kind = next() % 5
      if (kind === 0) {
        bytes.push(encode('PING'))
        expected.push('+PONG')
      } else if (kind === 1) {
        bytes.push(encode('MGET', `key:${key}`, 'key:1', 'key:2', 'none'))
        expected.push([value, 'value 1', 'value 2', null])
      } else {
        bytes.push(encode('GET', `key:${key}`))
        expected.push(value)
      }
    }
    // Cut anywhere.
    const all = Buffer.concat(bytes)
    const at = next() % all.length
    client.socket.write(all.subarray(0, at))
    await sleep()
    client.socket.write(all.subarray(at))
    const replies: Value[] = []
    const reading = (async () => {
      while (replies.length < expected.length) replies.push(await client.next())
    })()
    while (replies.length < expected.length) {
      for (let times = next() % 20; times > 0; times--) served.backend.answer(next() % 4)
      await sleep()
    }
    await reading
    expect(replies).toEqual(expected)
  }
})

test('errors of the backend reach the client whose command it was, in their place', async () => {
  const client = await served.begin(1)
  served.backend.held = true
  for (const key of ['a', 'b', 'c']) client.send('INCR', key)
  await expect.poll(() => served.backend.waiting).toBe(3)
  served.backend.answer(0, 'unreachable')
  served.backend.answer(0)
  served.backend.answer(0, 'unknown')
  expect(await client.next()).toMatch(/^-UNREACHABLE .*not executed/)
  expect(await client.next()).toBe(':1')
  expect(await client.next()).toMatch(/^-UNKNOWN /)
})

describe('bad input', () => {
  test.each([
    ['a bulk string of 512 MiB and a byte', `*2\r\n$3\r\nGET\r\n$${512 * 1024 * 1024 + 1}\r\n`, 'invalid bulk length'],
    ['one of 512 MiB', `*2\r\n$3\r\nGET\r\n$${512 * 1024 * 1024}\r\n`, 'invalid bulk length'],
    ['a negative length', '*2\r\n$3\r\nGET\r\n$-5\r\n', 'invalid bulk length'],
    ['too many arguments', '*2000000\r\n', 'invalid multibulk length'],
    ['no length', '*1\r\n!3\r\n', "expected '$', got '!'"],
    ['a line without an end', 'x'.repeat(KV_MAX_LINE_BYTES + 1), 'too big inline request'],
    ['an open quote', 'GET "a\r\n', 'unbalanced quotes in request'],
  ])('%s ends the connection, behind the replies to what came before', async (_what, text, error) => {
    const client = await served.begin()
    client.socket.write(Buffer.concat([encode('SET', 'a', '1'), encode('GET', 'a'), Buffer.from(text, 'latin1')]))
    expect(await client.next()).toBe('+OK')
    expect(await client.next()).toBe('1')
    expect(await client.next()).toBe(`-ERR Protocol error: ${error}`)
    await client.closed
    expect(await (await served.another()).command('GET', 'a')).toBe('1')
  })

  test('a request that no ring carries gets an error, and the connection goes on', async () => {
    const client = await served.begin()
    expect(await client.command('SET', 'a', Buffer.alloc(600 * 1024, 'x'))).toBe(
      '-ERR the request is longer than a guest takes',
    )
    expect(await client.command('SET', 'a', Buffer.alloc(500 * 1024, 'x'))).toBe('+OK')
    expect(await client.command('STRLEN', 'a')).toBe(`:${500 * 1024}`)
  })

  test.each(['POST / HTTP/1.1', 'GET / HTTP/1.1\r\nHost: 127.0.0.1:6380'])(
    'what a browser was made to send executes nothing: %s',
    async (head) => {
      const client = await served.begin()
      await client.command('SET', 'a', '1')
      const browser = await served.another()
      browser.socket.write(`${head}\r\nContent-Length: 9\r\n\r\nFLUSHALL\r\n`)
      await browser.closed
      expect(await client.command('GET', 'a')).toBe('1')
    },
  )

  test('inline commands, as typed', async () => {
    const client = await served.begin()
    client.socket.write('SET a "b c"\r\n\r\nGET a\r\n')
    expect([await client.next(), await client.next()]).toEqual(['+OK', 'b c'])
  })

  test('clients that vanish in the middle of a command, or before its reply', async () => {
    const client = await served.begin()
    served.backend.held = true
    for (let index = 0; index < 20; index++) {
      const other = await served.another()
      other.send('SET', `gone:${index}`, '1')
      other.socket.write('*3\r\n$3\r\nSET\r\n$6\r\nnobody\r\n$100\r\nhalf')
      await expect.poll(() => served.backend.waiting).toBe(index + 1)
      if (index % 2 === 0) other.socket.resetAndDestroy()
      else other.socket.destroy()
    }
    served.backend.held = false
    served.backend.answerAll()
    await expect.poll(() => served.front.clients.size).toBe(1)
    expect(await client.command('DBSIZE')).toBe(':20')
    expect(await client.command('EXISTS', 'nobody')).toBe(':0')
  })

  test('one that ends its half of the connection still gets its replies', async () => {
    const client = await served.begin()
    served.backend.held = true
    client.socket.end(Buffer.concat([encode('SET', 'a', '1'), encode('GET', 'a')]))
    await expect.poll(() => served.backend.waiting).toBe(2)
    served.backend.held = false
    served.backend.answerAll()
    expect([await client.next(), await client.next(), await client.next()]).toEqual(['+OK', '1', 'closed'])
  })

  test('one client too many is told so', async () => {
    const client = await served.begin(1, { maxClients: 2 })
    await served.another()
    await expect.poll(() => served.front.clients.size).toBe(2)
    const third = await served.another()
    expect(await third.next()).toBe('-ERR max number of clients reached')
    await third.closed
    client.close()
    await expect.poll(() => served.front.clients.size).toBe(1)
    expect(await (await served.another()).command('PING')).toBe('+PONG')
  })
})

/** Connects COUNT times to PORT, a few hundred at a time, and stays: both ends in one process are more files than it may have. */
const IDLERS = `
  const { connect } = require('node:net')
  const [port, count] = process.argv.slice(1).map(Number)
  const open = () => new Promise((resolve) => {
    const socket = connect(port, '127.0.0.1', resolve)
    socket.on('error', () => {})
  })
  ;(async () => {
    for (let done = 0; done < count; done += 200) await Promise.all(Array.from({ length: 200 }, open))
    process.stdout.write('ready')
  })()
  process.stdin.resume().on('end', () => process.exit())
`

test('10,000 idle clients cost little memory, and no time', async () => {
  const count = 10_000
  const client = await served.begin(1)
  await client.command('PING')
  const timers = (): number => process.getActiveResourcesInfo().filter((what) => what === 'Timeout').length
  const before = process.memoryUsage().rss
  const idlers = spawn(process.execPath, ['-e', IDLERS, `${served.front.port}`, `${count}`], {
    stdio: ['pipe', 'pipe', 'inherit'],
  })
  try {
    await once(idlers.stdout, 'data')
    await expect.poll(() => served.front.clients.size, { timeout: 10_000 }).toBe(count + 1)
    const each = (process.memoryUsage().rss - before) / count
    console.log(`${count} idle clients: ${(each / 1024).toFixed(1)} KiB each`)
    expect(each).toBeLessThan(16 * 1024)
    // Nobody looks after each of them; and what else the process does, collecting garbage above all, is not in every interval.
    expect(timers()).toBeLessThan(10)
    const busyMs: number[] = []
    for (let interval = 0; interval < 5; interval++) {
      const cpu = process.cpuUsage()
      await sleep(100)
      const { user, system } = process.cpuUsage(cpu)
      busyMs.push((user + system) / 1000)
    }
    expect(Math.min(...busyMs)).toBeLessThan(50)
    expect(await client.command('PING')).toBe('+PONG')
  } finally {
    idlers.stdin.end()
    await once(idlers, 'exit')
  }
  await expect.poll(() => served.front.clients.size, { timeout: 10_000 }).toBe(1)
}, 30_000)
