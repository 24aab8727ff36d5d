// The same commands to a real Redis server and to a service port over the store: the same bytes come back. What differs on
// purpose is not in the list; docs/service.md has it ("Other than Redis").

import { spawn, spawnSync } from 'node:child_process'
import { mkdtempSync, rmSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
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

  /** At a port, or at the path of a socket. */
  constructor(place: number | string) {
    this.socket =
      typeof place === 'string' ? connect(place) : connect({ port: place, host: '127.0.0.1', noDelay: true })
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

function wordsOf(line: string): string[] {
  return [...line.matchAll(/"(?:[^"\\]|\\.)*"|\S+/g)].map(([word]) => (word.startsWith('"') ? JSON.parse(word) : word))
}

describe.skipIf(!HAS_SERVER)('as Redis answers', () => {
  let front: Front
  let places: [number, string]
  let askers: Asker[] = []
  let stop: () => void

  beforeEach(async () => {
    // Not at a port: a free one that it is told may be another's before it has it.
    const directory = mkdtempSync(join(tmpdir(), 'godwit-redis-'))
    const path = join(directory, 'redis.sock')
    const words = ['--port', '0', '--unixsocket', path, '--save', '', '--appendonly', 'no', '--databases', '1']
    const redis = spawn('redis-server', words, { stdio: 'ignore' })
    stop = () => {
      redis.kill('SIGKILL')
      rmSync(directory, { recursive: true })
    }
    front = new Front({ backend: new KvBackend(2) })
    await front.listen('127.0.0.1', [0, 0])
    places = [front.port, path]
    await expect.poll(async () => await open(path).ask(encode('PING'))).toBe('+PONG\r\n')
  })

  afterEach(async () => {
    for (const { socket } of askers) socket.destroy()
    askers = []
    await front.close()
    stop()
  })

  function open(place: number | string): Asker {
    const asker = new Asker(place)
    askers.push(asker)
    return asker
  }

  test('commands, right and wrong', async () => {
    const lines = COMMANDS.trim().split('\n')
    const requests = lines.map((line) => wordsOf(line.trim()))
    const binary = 'bin\0\r\nkey\xff'
    requests.push(['SET', binary, 'v\0\r\n\xfe'], ['GET', binary], ['X'.repeat(300), 'y'.repeat(300)])
    requests.push(['foo\r\nbar', 'x\0y'], ['foo\0bar', 'z'])
    const both = places.map(open)
    for (const words of requests) {
      // Both at once: what they say of times is the same, however late it is asked for.
      const [answer, wanted] = await Promise.all(both.map((asker) => asker.ask(encode(...words))))
      expect(`${words.join(' ')}: ${answer}`).toBe(`${words.join(' ')}: ${wanted}`)
    }
  }, 30_000)

  test('bytes that are no command, or hardly one', async () => {
    for (const raw of RAW) {
      const [answer, wanted] = await Promise.all(places.map((place) => open(place).ask(Buffer.from(raw, 'latin1'))))
      expect(JSON.stringify(raw) + answer).toBe(JSON.stringify(raw) + wanted)
    }
  }, 30_000)
})
