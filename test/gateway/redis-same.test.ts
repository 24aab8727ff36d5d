// The same commands to a real Redis server and to a service port over the store: the same bytes come back. What differs on
// purpose is not in the list; docs/service.md has it ("Other than Redis").

import { spawn, spawnSync } from 'node:child_process'
import { connect, createServer, type Socket } from 'node:net'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { Front } from '../../src/gateway/front.ts'
import { KvBackend } from '../support/kv-backend.ts'
import { encode } from '../support/resp-client.ts'

const HAS_SERVER = spawnSync('redis-server', ['--version']).status === 0
if (!HAS_SERVER) console.log('skipped: redis-server is not installed (Debian: redis-server)')

/** One a line, one behind the other on one connection; what has spaces or escapes is in quotes, as JSON. */
const COMMANDS = String.raw`
  PING
  PING hi
  PING a b
  ECHO
  ECHO a
  ECHO a b
  SET a 1
  GET a
  SET a 1 EX 10 PX 10
  SET a 1 NX XX
  SET a 1 EX 0
  SET a 1 EX -1
  SET a 1 EX 9223372036854775807
  SET a 1 EX 9223372036854775
  SET a 1 EX 9223372036854774
  SET a 1 PX 9223372036854775807
  SET a 1 EX abc
  SET a 1 EX
  SET a 1 NX NX
  TTL a
  SET a 1 KEEPTTL EX 10
  SET a 1 foo
  SET a
  SET a 1 ex 100
  TTL a
  SET a 2
  TTL a
  SET b 1 XX
  SET b 1 NX
  SET b 1 NX
  SET b 2 NX EX 10
  GETSET b 3
  GETSET nob 3
  DEL nob
  SETNX a 1
  SETNX new 1
  SETNX new 1
  DEL new
  HSET h f v
  HSET h f v g w
  HSET h f v g w x
  HSET h f
  HSET h a 1 a 2
  HGET h a
  HGET h none
  HGET none x
  HGETALL none
  HLEN h
  HLEN none
  HDEL h a a none
  HDEL none a
  HDEL h
  GETSET h x
  GET h
  STRLEN h
  APPEND h x
  INCR h
  SETNX h x
  MGET h a none
  TYPE h
  TYPE a
  TYPE none
  HSET a f v
  HGET a f
  HGETALL a
  HDEL a f
  HLEN a
  HMSET h x y
  HMSET h x
  HSET h "" ""
  HGET h ""
  SET h str
  TYPE h
  DEL h
  SET c 9223372036854775807
  INCR c
  INCRBY c 1
  DECR c
  SET c -9223372036854775808
  DECR c
  INCR c
  DECRBY c -9223372036854775808
  DECRBY c 9223372036854775807
  SET c 0
  INCRBY c 9223372036854775808
  INCRBY c -9223372036854775808
  SET c 1
  DECRBY c -9223372036854775808
  INCRBY c " 1"
  INCRBY c +1
  INCRBY c 01
  INCRBY c 1.0
  INCRBY c ""
  INCRBY c -0
  INCRBY c -
  SET c " 1"
  INCR c
  SET c "1 "
  INCR c
  SET c "+1"
  INCR c
  SET c "01"
  INCR c
  SET c "-0"
  INCR c
  SET c ""
  INCR c
  SET c 1e3
  INCR c
  SET c "00000000000000000000000000000000000000000000000000001"
  INCR c
  SET c -1
  INCR c
  GET c
  INCR
  INCR c d
  INCRBY c
  DECRBY c x
  DEL a a b none
  SET a 1
  EXISTS a a a none
  EXISTS
  DEL
  APPEND ap hello
  APPEND ap ""
  APPEND ap " world"
  GET ap
  STRLEN ap
  STRLEN none
  EXPIRE a 100
  TTL a
  PTTL none
  TTL none
  PERSIST a
  PERSIST a
  PERSIST none
  TTL a
  EXPIRE a 10 foo
  EXPIRE a abc
  EXPIRE none 10
  EXPIRE none abc
  EXPIRE a 9223372036854775807
  EXPIRE a -9223372036854775808
  EXPIRE a 9223372036854775
  PEXPIRE a 9223372036854775807
  EXPIRE a
  TTL
  EXPIRE a -1
  GET a
  SET a 1
  EXPIRE a 0
  EXISTS a
  SET a 1
  PEXPIRE a 1
  MSET a 1 b 2 c 3 d 4 e 5
  MGET a b c d e none
  MGET
  MSET a
  MSET a 1 b
  MSET
  MGET a a a
  MSET a 1 a 2
  GET a
  DBSIZE
  DBSIZE x
  FLUSHALL x
  FLUSHALL ASYNC SYNC
  FLUSHALL ASYNC
  FLUSHALL SYNC
  FLUSHDB
  FLUSHDB x
  FLUSHDB ASYNC
  DBSIZE
  SET "" empty
  GET ""
  EXISTS ""
  DEL ""
  SELECT 0
  SELECT 1
  SELECT -1
  SELECT a
  SELECT
  SELECT 0 0
  SELECT 99999999999999999999
  AUTH
  AUTH x
  AUTH x y
  AUTH x y z
  QUITT
  foo
  foo bar baz
  foo "a b" "c\\nd"
  CONFIG GET save
  CONFIG GET appendonly
  CONFIG GET databases
  CONFIG GET nothing
  CONFIG GET
  CONFIG GET s?ve
  CONFIG GET save save
  CONFIG FOO
  CONFIG
  CLIENT
  CLIENT GETNAME
  CLIENT SETNAME foo
  CLIENT GETNAME
  CLIENT SETNAME "a b"
  CLIENT SETNAME ""
  CLIENT GETNAME
  CLIENT FOO
  CLIENT NO-EVICT on
  CLIENT NO-EVICT foo
  CLIENT KILL
  CLIENT KILL 1.2.3.4:5
  CLIENT KILL ID 99999
  CLIENT KILL ID abc
  CLIENT KILL ADDR 1.2.3.4:5
  CLIENT KILL FOO x
  CLIENT KILL ID 1 ADDR
  CLIENT KILL SKIPME foo
  CLIENT ID x
  COMMAND COUNT x
  COMMAND FOO
  COMMAND INFO foo
  COMMAND INFO foo bar
  COMMAND DOCS foo
  HELLO 1
  HELLO x
  HELLO 2 SETNAME
  HELLO 2 FOO
  HELLO 2 AUTH a
  HELLO 2 AUTH a b
  HELLO 2 SETNAME "a b"
  RESET
  RESET x
  READONLY
  READWRITE
  ASKING
  CLUSTER INFO
  CLUSTER
`

/** What stands behind a command to see where its reply ends. */
const END = encode('ECHO', '@@end@@')
const END_REPLY = '$7\r\n@@end@@\r\n'

/** Bytes that break the protocol, or nearly. */
const RAW: readonly string[] = [
  '\r\n',
  '\n',
  'PING\n',
  'PING\r\n',
  '  PING  \r\n',
  '*0\r\n',
  '*-1\r\n',
  '*-10\r\n',
  '*\r\n',
  '*a\r\n',
  '*1a\r\n',
  '*9999999999999\r\n',
  '*1\r\n$-1\r\n',
  '*1\r\n$a\r\n',
  '*1\r\n$\r\n',
  '*1\r\nPING\r\n',
  '*1\r\n:1\r\n',
  '*1\r\n*1\r\n$4\r\nPING\r\n',
  '*1\r\n$536870913\r\n',
  '*1\r\n$0\r\n\r\n',
  '*2\r\n$0\r\n\r\n$1\r\na\r\n',
  '"PING\r\n',
  "'PING'\r\n",
  '"PI\\x4eG"\r\n',
  '"PING"x\r\n',
  'SET a "b c"\r\n',
  'GET a\r\n',
  '*+1\r\n$4\r\nPING\r\n',
  '*01\r\n$4\r\nPING\r\n',
  '* 1\r\n$4\r\nPING\r\n',
  '*1\r\n$+4\r\nPING\r\n',
  '*1\r\n$04\r\nPING\r\n',
  '*1\r\n$4\r\nQUIT\r\n*1\r\n$4\r\nPING\r\n',
  'POST / HTTP/1.1\r\n\r\n',
  'GET / HTTP/1.1\r\nHost: x\r\n\r\n',
  'Host: abc\r\n',
  '*1\r\n$10000000000000000000\r\n',
  '-ERR\r\n',
  '+OK\r\n',
  '$4\r\nPING\r\n',
  '*1\r\n$4\r\nPING\r\n\r\n\r\n*1\r\n$4\r\nPING\r\n',
  'PING\r\r\n',
  'PING\tx\r\n',
  '*1\r\n\r\n',
]

/** A connection that says what came for what it sent. */
class Asker {
  readonly socket: Socket
  closed = false
  #text = ''
  #wake: () => void = () => {}

  constructor(port: number) {
    this.socket = connect({ port, host: '127.0.0.1', noDelay: true })
    this.socket.on('error', () => {})
    this.socket.on('data', (bytes) => {
      this.#text += bytes.toString('latin1')
      this.#wake()
    })
    this.socket.on('close', () => {
      this.closed = true
      this.#wake()
    })
  }

  async ask(bytes: Buffer): Promise<string> {
    this.#text = ''
    this.socket.write(Buffer.concat([bytes, END]))
    while (!this.closed && !this.#text.endsWith(END_REPLY)) {
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
    return this.closed ? `${this.#text} and the end of the connection` : this.#text.slice(0, -END_REPLY.length)
  }
}

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1')
  await new Promise((resolve) => server.once('listening', resolve))
  const { port } = server.address() as { port: number }
  await new Promise((resolve) => server.close(resolve))
  return port
}

function wordsOf(line: string): string[] {
  return [...line.matchAll(/"(?:[^"\\]|\\.)*"|\S+/g)].map(([word]) => (word.startsWith('"') ? JSON.parse(word) : word))
}

describe.skipIf(!HAS_SERVER)('as Redis answers', () => {
  let front: Front
  let ports: [number, number]
  let askers: Asker[] = []
  let stop: () => void

  beforeEach(async () => {
    const port = await freePort()
    const words = ['--port', `${port}`, '--bind', '127.0.0.1', '--save', '', '--appendonly', 'no', '--databases', '1']
    const redis = spawn('redis-server', words, { stdio: 'ignore' })
    stop = () => redis.kill()
    front = new Front({ backend: new KvBackend(2) })
    await front.listen('127.0.0.1', [0, 0])
    ports = [front.port, port]
    await expect.poll(async () => await open(port).ask(encode('PING')), { timeout: 10_000 }).toBe('+PONG\r\n')
  })

  afterEach(async () => {
    for (const { socket } of askers) socket.destroy()
    askers = []
    await front.close()
    stop()
  })

  function open(port: number): Asker {
    const asker = new Asker(port)
    askers.push(asker)
    return asker
  }

  test('commands, right and wrong', async () => {
    const lines = COMMANDS.trim().split('\n')
    const requests = lines.map((line) => wordsOf(line.trim()))
    const binary = 'bin\0\r\nkey\xff'
    requests.push(['SET', binary, 'v\0\r\n\xfe'], ['GET', binary], ['X'.repeat(300), 'y'.repeat(300)])
    requests.push(['foo\r\nbar', 'x\0y'], ['foo\0bar', 'z'])
    const [ours, theirs] = ports.map(open) as [Asker, Asker]
    for (const words of requests) {
      const [answer, wanted] = [await ours.ask(encode(...words)), await theirs.ask(encode(...words))]
      expect(`${words.join(' ')}: ${answer}`).toBe(`${words.join(' ')}: ${wanted}`)
    }
  }, 30_000)

  test('bytes that are no command, or hardly one', async () => {
    for (const raw of RAW) {
      const [answer, wanted] = await Promise.all(ports.map((port) => open(port).ask(Buffer.from(raw, 'latin1'))))
      expect(JSON.stringify(raw) + answer).toBe(JSON.stringify(raw) + wanted)
    }
  }, 30_000)
})
