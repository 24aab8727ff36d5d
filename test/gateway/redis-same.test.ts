// The same commands to a real Redis server and to a service port over the store: the same bytes come back. What differs on
// purpose is not in the list; docs/service.md has it ("Other than Redis").

import { spawn, spawnSync } from 'node:child_process'
import { connect, createServer, type Socket } from 'node:net'
import { afterEach, beforeEach, describe, expect, test } from 'vitest'
import { Front } from '../../src/gateway/front.ts'
import { KvBackend } from '../support/kv-backend.ts'
import { COMMANDS, RAW } from '../support/redis-commands.ts'
import { encode } from '../support/resp-client.ts'

const HAS_SERVER = spawnSync('redis-server', ['--version']).status === 0
if (!HAS_SERVER) console.log('skipped: redis-server is not installed (Debian: redis-server)')

/** What stands behind a command to see where its reply ends. */
const END = encode('ECHO', '@@end@@')
const END_REPLY = '$7\r\n@@end@@\r\n'

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
