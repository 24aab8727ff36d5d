// A peer that breaks the rules of the exchange: named errors at both ends, bounded memory, and no page or vCPU changes hands.

import { connect, type Socket } from 'node:net'
import { describe, expect, onTestFinished, test } from 'vitest'
import type { GodwitError } from '../../../src/errors.ts'
import { resetAsks } from '../../../src/guest/asks.ts'
import { GuestMemory } from '../../../src/guest/memory.ts'
import { beginSharing, isOurs, presenceOf } from '../../../src/guest/sharing.ts'
import { sealOf, xxh64OfPage } from '../../../src/kernels/twin.ts'
import { EXCHANGE_BACKLOG_BYTES, EXCHANGE_CHANNEL, MAX_NEEDS } from '../../../src/limits.ts'
import { ThreadedExchange } from '../../../src/migration/exchange/threaded-exchange.ts'
import {
  createGiveTable,
  encodeApplied,
  encodeAsk,
  encodeCross,
  encodeGive,
  encodeRuns,
  HOW,
} from '../../../src/wire/exchange-frames.ts'
import { ExchangeReader } from '../../../src/wire/exchange-reader.ts'
import { encodeControl } from '../../../src/wire/message-frame.ts'
import { hashAll, LOOPBACK, newIdentity } from './two-hosts.ts'

const MIB = 1024 * 1024
const state = { steps: 5, registers: new Uint8Array(1024) }

/** A busy machine takes its time to bring a link up; a test has none for longer. */
const patience = (): AbortSignal => AbortSignal.timeout(25_000)

interface Peer {
  readonly exchange: ThreadedExchange
  readonly memory: GuestMemory
  readonly socket: Socket
  /** What the exchange says of the cut. */
  readonly cut: Promise<GodwitError>
  /** What the peer is told. */
  readonly told: Promise<string>
  /** Pages given to the peer so far. */
  readonly got: number[]
  say(...frames: Uint8Array[]): void
  /** Another link, on which it says that it has nothing. */
  dialAgain(generation: number): void
  /** Asks for a page, takes it and says so. */
  take(page: number): Promise<void>
}

/** An exchange at the source, of a guest whose pages hold their numbers, and a hand-made destination. */
async function peerOf(options: { memoryBytes?: number; silent?: boolean; generation?: number } = {}): Promise<Peer> {
  const { memoryBytes = MIB, silent = false } = options
  const memory = GuestMemory.create(memoryBytes, 2)
  for (let page = 0; page < memory.layout.pageCount; page++) memory.bytes.fill(page, page * 4096, page * 4096 + 100)
  hashAll(memory)
  resetAsks(memory)
  beginSharing(memory, true)
  const identity = newIdentity()
  const where = { role: 'listens', host: LOOPBACK, portRange: [0, 0] } as const
  const exchange = await ThreadedExchange.create({ memory, where, ...identity, hash: true, quiet: async () => {} })
  onTestFinished(() => exchange.close())
  const cut = Promise.withResolvers<GodwitError>()
  exchange.onCut((error) => cut.resolve(error))
  const up = exchange.link(1, null, patience())
  up.catch(() => {})
  const socket = connect(exchange.port, LOOPBACK)
  onTestFinished(() => void socket.destroy())
  socket.on('error', () => {})
  const hello = { type: 'hello', version: 1, ...identity, generation: 1, channel: EXCHANGE_CHANNEL } as const
  socket.write(encodeControl({ ...hello, capabilities: [] }))
  const told = Promise.withResolvers<string>()
  const welcomed = Promise.withResolvers<void>()
  const got: number[] = []
  const reader = new ExchangeReader(memory.layout, {
    control: (message) => (message.type === 'abort' ? told.resolve(message.error.code) : welcomed.resolve()),
    give: ({ pages, count }) => got.push(...pages.subarray(0, count)),
    runs: () => {},
    cross: () => {},
    ask: () => {},
    applied: () => {},
  })
  socket.on('data', (bytes) => reader.push(bytes))
  await welcomed.promise
  if (!silent) {
    socket.write(encodeApplied(0))
    await up
  }
  return {
    exchange,
    memory,
    socket,
    cut: cut.promise,
    told: told.promise,
    got,
    say: (...frames) => void socket.write(Buffer.concat(frames)),
    dialAgain(generation) {
      const next = connect(exchange.port, LOOPBACK)
      onTestFinished(() => void next.destroy())
      next.write(encodeControl({ ...hello, generation, capabilities: [] }))
      next.once('data', () => next.write(encodeApplied(0)))
    },
    async take(page) {
      const before = got.length
      socket.write(encodeAsk(Uint32Array.of(page), 1))
      while (got.length === before) await new Promise((resolve) => setTimeout(resolve, 1))
      socket.write(encodeApplied(got.length))
    },
  }
}

/** A page of the peer's, with a right seal unless said otherwise. */
function given(
  memory: GuestMemory,
  page: number,
  changes: { number?: number; generation?: number; seal?: bigint } = {},
) {
  const table = createGiveTable()
  const { number = 1, generation = 3 } = changes
  const words = new BigUint64Array(memory.bytes.buffer)
  Object.assign(table, { number, count: 1 })
  table.pages[0] = page
  table.how[0] = HOW.same
  table.generations[0] = generation
  table.seals[0] = changes.seal ?? sealOf(xxh64OfPage(words, page * 512), page)
  return encodeGive(table)
}
const runsOf = (list: readonly number[], sum = 0n) => encodeRuns({ number: 1, sum, runs: Uint32Array.from(list) })
const ours = (memory: GuestMemory): number => presenceOf(memory).filter(isOurs).length

describe('a hostile peer', () => {
  type Claim = [string, string, (peer: Peer) => Promise<Uint8Array> | Uint8Array]
  const claims: Claim[] = [
    ['gives a page that is ours', 'not-owner', ({ memory }) => given(memory, 3)],
    ['gives runs of pages that are ours', 'not-owner', () => runsOf([3, 2, 3, 0])],
    ['lets a vCPU come that is here', 'not-owner', () => encodeCross({ number: 1, vcpu: 1, generation: 9, state })],
    [
      'gives a page back that it has not acknowledged',
      'not-owner',
      async (peer) => {
        peer.say(encodeAsk(Uint32Array.of(7), 1))
        while (peer.got.length === 0) await new Promise((resolve) => setTimeout(resolve, 1))
        return given(peer.memory, 7)
      },
    ],
    ...[2, 5, 2 ** 31].flatMap((generation): Claim[] => [
      [
        `gives a page in generation ${generation} behind 2`,
        'not-owner',
        async (peer) => {
          await peer.take(7)
          return given(peer.memory, 7, { generation })
        },
      ],
      [
        `gives a run in generation ${generation} behind 2`,
        'not-owner',
        async (peer) => {
          await peer.take(7)
          return runsOf([7, 1, generation, 0])
        },
      ],
    ]),
    [
      'gives a page with a wrong seal',
      'bad-page',
      async (peer) => {
        await peer.take(7)
        return given(peer.memory, 7, { seal: 1n })
      },
    ],
    [
      'gives runs that are not what is here',
      'bad-page',
      async (peer) => {
        await peer.take(7)
        return runsOf([7, 1, 3, 0], 1n)
      },
    ],
    [
      'leaves an ownership frame out',
      'bad-frame',
      async (peer) => {
        await peer.take(7)
        return given(peer.memory, 7, { number: 2 })
      },
    ],
    ['has more than it was given', 'bad-frame', () => encodeApplied(1)],
    ['gives runs outside the guest', 'bad-run', () => runsOf([255, 2, 3, 0])],
    ['asks for a page outside the guest', 'bad-run', () => encodeAsk(Uint32Array.of(256), 1)],
    ['says hello once more', 'unexpected-message', () => encodeControl({ type: 'welcome', capabilities: [] })],
  ]

  test.each(claims)('%s: %s', async (_, code, claim) => {
    const peer = await peerOf()
    const frame = await claim(peer)
    const before = ours(peer.memory)
    peer.say(frame)
    expect((await peer.cut).code).toBe(code)
    expect(await peer.told).toBe(code)
    expect(ours(peer.memory)).toBe(before)
  })

  test('speaks of ownership before it has said what it has', async () => {
    const peer = await peerOf({ silent: true })
    peer.say(given(peer.memory, 3))
    expect(await peer.told).toBe('unexpected-message')
  })

  test('what it did not acknowledge comes back when it is replaced', async () => {
    const peer = await peerOf()
    peer.say(encodeAsk(Uint32Array.of(7, 9), 2))
    while (peer.got.length < 2) await new Promise((resolve) => setTimeout(resolve, 1))
    expect(ours(peer.memory)).toBe(254)
    peer.socket.destroy()
    expect((await peer.cut).code).toBe('link-lost')
    expect(ours(peer.memory)).toBe(254)
    const up = peer.exchange.link(2, null, patience())
    peer.dialAgain(2)
    await up
    expect(ours(peer.memory)).toBe(256)
  })

  test('takes a page and never says so: the link ends, and the page is not lost', { timeout: 30_000 }, async () => {
    const peer = await peerOf()
    peer.say(encodeAsk(Uint32Array.of(7), 1))
    const error = await peer.cut
    expect(error).toMatchObject({ code: 'link-lost', message: expect.stringContaining('confirm') })
    const up = peer.exchange.link(2, null, patience())
    peer.dialAgain(2)
    await up
    expect(ours(peer.memory)).toBe(256)
  })

  test('an exchange that is closed lets nobody cross, and does not say that he stays', async () => {
    const { exchange } = await peerOf()
    await exchange.close()
    await expect(exchange.cross(0, state)).rejects.toMatchObject({ code: 'guest-not-running' })
  })

  test('asks for everything and reads nothing: little waits for it, and then it is told', async () => {
    const peer = await peerOf({ memoryBytes: 128 * MIB })
    const pages = peer.memory.layout.pageCount
    // Each page was written: it goes with its data.
    peer.memory.controlBytes.fill(1, peer.memory.layout.cards[0], peer.memory.layout.cards[0] + pages)
    peer.socket.pause()
    const asking = (async () => {
      for (let page = 0; page < pages && !peer.socket.destroyed; page += MAX_NEEDS) {
        peer.say(
          encodeAsk(
            Uint32Array.from({ length: MAX_NEEDS }, (_, index) => page + index),
            MAX_NEEDS,
          ),
        )
        await new Promise((resolve) => setTimeout(resolve, 5))
      }
    })()
    expect((await peer.cut).code).toBe('unexpected-message')
    // In the socket's buffers of both ends some megabytes more.
    expect((pages - ours(peer.memory)) * 4096).toBeLessThan(EXCHANGE_BACKLOG_BYTES + 32 * MIB)
    peer.socket.destroy()
    await asking
  })
})
