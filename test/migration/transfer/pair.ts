// A source and a destination of pages over loopback in one process, with the threads of both, for the transfer tests.

import { randomBytes } from 'node:crypto'
import { connect, createServer, type Server, type Socket } from 'node:net'
import type { EncodeMode } from '../../../src/encoding/modes.ts'
import { GuestMemory } from '../../../src/guest/memory.ts'
import { fillAll } from '../../../src/guest/page-set.ts'
import { digestTotal } from '../../../src/kernels/kernels.ts'
import { ThreadedPageDestination } from '../../../src/migration/transfer/destination-transfer.ts'
import { ThreadedPageSource } from '../../../src/migration/transfer/source-transfer.ts'

export const identity = {
  migration: randomBytes(16).toString('hex'),
  token: randomBytes(16).toString('hex'),
  generation: 3,
}
export const LOOPBACK = '127.0.0.1'
export const ANY_PORT = [0, 0] as const

/** Random content by page: a third each of zero, random and alternating short runs. */
export function fillMixed(memory: GuestMemory, seed: number): void {
  let state = (seed >>> 0) | 1
  const next = (): number => {
    state ^= state << 13
    state ^= state >>> 17
    state ^= state << 5
    return state >>> 0
  }
  const words = new Uint32Array(memory.bytes.buffer)
  for (let page = 0; page < memory.layout.pageCount; page++) {
    const third = Math.floor((page * 3) / memory.layout.pageCount)
    const filled = third === 1 || (third === 2 && next() % 3 !== 0)
    for (let word = page * 1024; word < (page + 1) * 1024; word++) words[word] = filled ? next() : 0
  }
}

export const same = (a: GuestMemory, b: GuestMemory): boolean =>
  Buffer.from(a.bytes.buffer).equals(Buffer.from(b.bytes.buffer))
export const digests = (a: GuestMemory, b: GuestMemory): [bigint, bigint] => [digestTotal(a), digestTotal(b)]

export interface Pair {
  from: GuestMemory
  to: GuestMemory
  source: ThreadedPageSource
  destination: ThreadedPageDestination
  close(): Promise<void>
}

/** Listens and dials; `through` may put relays before the ports. */
export async function openPair(options: {
  memoryBytes: number
  channels: number
  hash?: boolean
  encode?: EncodeMode
  through?: (ports: readonly number[]) => Promise<readonly number[]>
}): Promise<Pair> {
  const from = GuestMemory.create(options.memoryBytes, 1)
  const to = GuestMemory.create(options.memoryBytes, 1)
  const { channels, hash = true, encode = 'zero' } = options
  const where = { host: LOOPBACK, portRange: ANY_PORT }
  const source = await ThreadedPageSource.listen({
    memory: from,
    channels,
    encode,
    ...where,
    ...identity,
    locked: null,
  })
  const ports = (await options.through?.(source.ports)) ?? source.ports
  try {
    const destination = await ThreadedPageDestination.dial({ memory: to, host: LOOPBACK, ports, ...identity, hash })
    await source.connected(AbortSignal.timeout(10_000))
    fillAll(from, from.layout.toSend)
    const close = async (): Promise<void> => {
      await Promise.all([source.close(), destination.close()])
    }
    return { from, to, source, destination, close }
  } catch (thrown) {
    await source.close()
    throw thrown
  }
}

/** A relay in front of one port whose bytes towards the dialler pass through `forward`. */
export async function relay(port: number, forward: (bytes: Buffer, to: Socket, from: Socket) => void) {
  const sockets = new Set<Socket>()
  const server: Server = createServer((near) => {
    const far = connect(port, LOOPBACK)
    for (const socket of [near, far]) {
      sockets.add(socket)
      socket.on('error', () => {})
    }
    near.pipe(far)
    far.on('data', (bytes) => forward(bytes, near, far))
    far.on('end', () => near.end())
    far.on('close', () => near.destroySoon())
  })
  await new Promise<void>((resolve) => server.listen(0, LOOPBACK, resolve))
  const close = (): void => {
    server.close()
    for (const socket of sockets) socket.destroy()
  }
  return { port: (server.address() as { port: number }).port, close }
}
