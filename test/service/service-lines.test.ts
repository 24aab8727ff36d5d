// The guest's end of lines, with vCPUs that are played by the test: who is let in, who hears what, and what ends a line.

import { connect, type Socket } from 'node:net'
import { afterEach, expect, test } from 'vitest'
import { GuestMemory } from '../../src/guest/memory.ts'
import { newServiceRings, VcpuRequests } from '../../src/guest/service-ports.ts'
import { MAX_STRANGERS } from '../../src/limits.ts'
import { GuestService } from '../../src/service/guest-service.ts'
import { ServiceLines } from '../../src/service/service-lines.ts'
import { FRAME_TYPE } from '../../src/wire/frame.ts'
import { FrameBatch } from '../../src/wire/frame-batch.ts'
import { decodeLine, encodeLine, type LineMessage } from '../../src/wire/line-messages.ts'
import { LineReader } from '../../src/wire/line-reader.ts'
import { AnswerCursor, requestSize, writeRequestHead } from '../../src/wire/service-frames.ts'

const GUEST = { id: 'a'.repeat(32), name: 'kv', vcpus: 2, program: 'kv', memoryBytes: 65_536 }
const peers: Peer[] = []
const closing: (() => Promise<void>)[] = []

afterEach(async () => {
  for (const peer of peers.splice(0)) peer.socket.destroy()
  for (const close of closing.splice(0)) await close()
})

async function begin(here = true) {
  const memory = GuestMemory.create(65_536, 2)
  const rings = [newServiceRings(), newServiceRings()]
  const service = new GuestService(memory, rings, here)
  const lines = await ServiceLines.listen({ host: '127.0.0.1', portRange: [0, 0], guest: GUEST }, service)
  closing.push(async () => {
    service.close()
    await lines.close()
  })
  const ports = rings.map((ring) => new VcpuRequests(ring))
  /** A request is there for the vCPU. */
  const isAsked = (vcpu: number): boolean => (ports[vcpu] as VcpuRequests).peek() !== null
  /** The vCPU answers what it has with the request's bytes; how many they were. */
  const work = (vcpu: number): number => {
    const port = ports[vcpu] as VcpuRequests
    let count = 0
    for (let next = port.peek(); next !== null; next = port.peek(), count++) {
      if (next.sequence > 0) port.answer({ ...next, what: 'reply' })
      port.done()
    }
    return count
  }
  return { service, lines, isAsked, work, port: lines.port }
}

/** Whoever dials, and everything it hears; that the guest is alive, which it says by the clock, stands apart. */
class Peer {
  readonly socket: Socket
  readonly heard: LineMessage[] = []
  readonly answers: string[] = []
  alive = 0
  closed = false
  readonly #batch: FrameBatch

  constructor(port: number) {
    this.socket = connect(port, '127.0.0.1')
    this.#batch = new FrameBatch(FRAME_TYPE.requests, (frame, sent) => this.socket.write(frame, sent))
    const reader = new LineReader(FRAME_TYPE.answers)
    reader.greeted = true
    const cursor = new AnswerCursor()
    this.socket.on('error', () => {})
    this.socket.on('close', () => {
      this.closed = true
    })
    this.socket.on('data', (bytes) => {
      reader.push(bytes)
      while (reader.next()) {
        if (reader.type === FRAME_TYPE.line) this.#hear(decodeLine(reader.payload))
        else for (cursor.begin(reader.payload); cursor.next(); ) this.answers.push(`${cursor.vcpu}/${cursor.sequence}`)
      }
    })
    peers.push(this)
  }

  hello(gateway: number, over: object = {}): this {
    const hello = { type: 'hello', version: 1, gateway, guest: 'kv', ...over } as const
    this.socket.write(encodeLine(hello))
    return this
  }

  request(vcpu: number, sequence: number, length = 8): this {
    const at = this.#batch.reserve(requestSize(length))
    writeRequestHead(this.#batch.view, at, length, vcpu, sequence, 0, 0)
    this.#batch.flush()
    return this
  }

  get types(): string[] {
    return this.heard.map(({ type }) => type)
  }

  async expectEnd(code: string): Promise<void> {
    await expect.poll(() => [this.heard.at(-1), this.closed]).toMatchObject([{ type: 'end', error: { code } }, true])
  }

  #hear(message: LineMessage): void {
    if (message.type === 'alive') this.alive++
    else this.heard.push(message)
  }
}

test('a gateway is welcomed with what the guest is, and gets the answers of its own number alone', async () => {
  const { work, port, lines } = await begin()
  lines.elsewhere({ host: '10.0.0.9', port: 7500 })
  const one = new Peer(port).hello(1)
  const two = new Peer(port).hello(2, { guest: GUEST.id })
  await expect
    .poll(() => two.heard)
    .toEqual([
      { type: 'welcome', guest: GUEST, here: [0, 1] },
      { type: 'elsewhere', host: '10.0.0.9', port: 7500 },
    ])
  one.request(0, 1).request(1, 1).request(0, 2)
  two.request(0, 1)
  await expect.poll(() => work(0) + work(1)).toBeGreaterThan(0)
  await expect.poll(() => work(0) + work(1) >= 0 && [one.answers.length, two.answers.length]).toEqual([3, 1])
  expect(one.answers.filter((answer) => answer.startsWith('0'))).toEqual(['0/1', '0/2'])
})

test('everybody hears where the vCPUs are; what comes back is said once', async () => {
  const { service, port } = await begin()
  const peer = new Peer(port).hello(1)
  await expect.poll(() => peer.types).toEqual(['welcome'])
  service.leave(1)
  peer.request(1, 1).request(1, 2).request(1, 3)
  await expect.poll(() => peer.heard.slice(1)).toEqual([{ type: 'not-here', vcpu: 1 }])
  service.left(1)
  await expect.poll(() => peer.heard.slice(2)).toEqual([{ type: 'gone', vcpu: 1 }])
  service.arrive(1)
  await expect.poll(() => peer.heard.slice(3)).toEqual([{ type: 'here', vcpu: 1 }])
  service.leave(1)
  peer.request(1, 1)
  await expect.poll(() => peer.types.slice(4)).toEqual(['not-here'])
  expect(service.isHere(0)).toBe(true)
  service.close()
  await expect.poll(() => peer.heard.filter(({ type }) => type === 'gone')).toHaveLength(3)
})

test('a full ring stops the reading, and nothing is lost', async () => {
  const { work, port } = await begin()
  const peer = new Peer(port).hello(1)
  await expect.poll(() => peer.types).toEqual(['welcome'])
  const count = 60
  for (let sequence = 1; sequence <= count; sequence++) peer.request(0, sequence, 100_000)
  await new Promise((resolve) => setTimeout(resolve, 100))
  expect(peer.answers).toEqual([])
  await expect.poll(() => work(0) >= 0 && peer.answers.length, { interval: 2 }).toBe(count)
  expect(peer.answers).toEqual(Array.from({ length: count }, (_, index) => `0/${index + 1}`))
})

test('the newer line of a gateway takes the place of the older one', async () => {
  const { work, port, isAsked } = await begin()
  const older = new Peer(port).hello(7)
  await expect.poll(() => older.types).toEqual(['welcome'])
  older.request(0, 1)
  await expect.poll(() => isAsked(0)).toBe(true)
  const newer = new Peer(port).hello(7)
  await older.expectEnd('line-replaced')
  await expect.poll(() => newer.types).toEqual(['welcome'])
  work(0)
  await expect.poll(() => newer.answers).toEqual(['0/1'])
  expect(older.answers).toEqual([])
})

test('a gateway whose session was forgotten has another number for that vCPU', async () => {
  const { work, port, isAsked } = await begin()
  const peer = new Peer(port).hello(1)
  await expect.poll(() => peer.types).toEqual(['welcome'])
  peer.request(0, 1)
  await expect.poll(() => isAsked(0)).toBe(true)
  peer.socket.write(encodeLine({ type: 'number', vcpu: 0, gateway: 9 }))
  await expect.poll(() => peer.heard.at(-1)).toEqual({ type: 'numbered', vcpu: 0, gateway: 9 })
  // The answer to the old number is nobody's.
  work(0)
  peer.request(0, 5).request(1, 2)
  await expect.poll(() => work(0) + work(1) >= 0 && [...peer.answers].sort()).toEqual(['0/5', '1/2'])
})

test.each<[string, string, (peer: Peer) => void]>([
  ['another guest', 'no-such-guest', (peer) => peer.hello(1, { guest: 'other' })],
  ['another version', 'wrong-version', (peer) => peer.hello(1, { version: 2 })],
  ['no number', 'bad-message', (peer) => peer.hello(0)],
  ['requests before a hello', 'unexpected-message', (peer) => peer.request(0, 1)],
  ['two hellos', 'unexpected-message', (peer) => peer.hello(1).hello(1)],
  ['what a guest says', 'unexpected-message', (peer) => peer.hello(1).socket.write(encodeLine({ type: 'alive' }))],
  ['a vCPU that is not there', 'bad-frame', (peer) => peer.hello(1).request(2, 1)],
  ['a sequence beyond 2^53', 'bad-frame', (peer) => peer.hello(1).request(0, 2 ** 53)],
  ['something else', 'bad-magic', (peer) => peer.socket.write('GET / HTTP/1.1\r\nHost: guest\r\n\r\n')],
])('whoever comes with %s is told %s, and others are served on', async (_, code, speak) => {
  const { work, port } = await begin()
  const good = new Peer(port).hello(55)
  const peer = new Peer(port)
  speak(peer)
  await peer.expectEnd(code)
  good.request(0, 1)
  await expect.poll(() => work(0) >= 0 && good.answers).toEqual(['0/1'])
})

test('strangers keep nobody out, and do not stay', async () => {
  const { port } = await begin()
  const strangers = Array.from({ length: MAX_STRANGERS + 3 }, () => new Peer(port))
  await expect.poll(() => strangers.filter(({ closed }) => closed)).toHaveLength(3)
  const peer = new Peer(port).hello(1)
  await expect.poll(() => peer.types).toEqual(['welcome'])
  await expect.poll(() => strangers.every(({ closed }) => closed)).toBe(true)
  expect(peer.closed).toBe(false)
  await expect.poll(() => peer.alive).toBeGreaterThan(0)
})
