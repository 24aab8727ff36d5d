// The relay with a long way: all bytes in their order, late by the delay, not slower, and few of them held for whoever
// does not read.

import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Server, type Socket } from 'node:net'
import { PassThrough } from 'node:stream'
import { afterEach, describe, expect, it, vi } from 'vitest'
import { ChaosRelay, RELAY_HOST } from '../../src/cli/chaos-relay.ts'
import { DelayLine, MAX_BYTES_UNDER_WAY } from '../../src/cli/delay-line.ts'

const MIB = 1024 ** 2
const DELAY_MS = 20

describe('a relay with a delay', () => {
  let relay: ChaosRelay
  let server: Server
  const sockets = new Set<Socket>()
  afterEach(async () => {
    await relay.close()
    for (const socket of sockets) socket.destroy()
    await new Promise((resolve) => server.close(resolve))
  })

  /** A connection through the relay to a server that does `serve`. */
  async function open(serve: (socket: Socket) => void): Promise<Socket> {
    server = createServer({ allowHalfOpen: true }, (socket) => {
      sockets.add(socket)
      socket.on('error', () => {})
      serve(socket)
    }).listen(0, '127.0.0.1')
    await once(server, 'listening')
    const { port } = server.address() as AddressInfo
    relay = await ChaosRelay.open(0, DELAY_MS)
    await relay.add(port)
    const socket = connect({ port, host: RELAY_HOST, noDelay: true, allowHalfOpen: true })
    sockets.add(socket)
    await once(socket, 'connect')
    return socket
  }

  it('answers after a round trip', async () => {
    const socket = await open((peer) => peer.on('data', (piece) => peer.write(piece)))
    const times: number[] = []
    for (let turn = 0; turn < 10; turn++) {
      const askedAt = performance.now()
      socket.write('?')
      await once(socket, 'data')
      times.push(performance.now() - askedAt)
    }
    // What is due within half a millisecond goes at once, in both directions. How late it is at most says the line below.
    expect(Math.min(...times)).toBeGreaterThanOrEqual(2 * DELAY_MS - 1)
  })

  it('carries all bytes in order, and the end of the stream behind them', async () => {
    const sent = Buffer.alloc(24 * MIB)
    for (let at = 0; at < sent.length; at += 4) sent.writeUInt32LE(at, at)
    const socket = await open((peer) => peer.end(sent))
    socket.end()
    const pieces: Buffer[] = []
    for await (const piece of socket) pieces.push(piece as Buffer)
    expect(Buffer.concat(pieces).equals(sent)).toBe(true)
  })

  it('holds back who sends more than is read, and goes on when it is', async () => {
    const bytes = 3 * MAX_BYTES_UNDER_WAY
    const socket = await open((peer) => peer.end(Buffer.alloc(bytes)))
    let forwarded = 0
    relay.onForwarded = (count) => {
      forwarded += count
    }
    let before = -1
    while (before !== forwarded) {
      before = forwarded
      await new Promise((resolve) => setTimeout(resolve, 10 * DELAY_MS))
    }
    // The rest lies in the buffers of the sockets.
    expect(forwarded).toBeLessThan(MAX_BYTES_UNDER_WAY + 16 * MIB)
    let received = 0
    for await (const piece of socket) received += (piece as Buffer).length
    expect(received).toBe(bytes)
  })
})

describe('a line', () => {
  afterEach(() => {
    vi.useRealTimers()
  })

  it('passes each piece on when its delay is over, and the end behind the last', () => {
    vi.useFakeTimers({ toFake: ['setTimeout', 'clearTimeout', 'performance'] })
    const [from, to] = [new PassThrough(), new PassThrough()]
    const line = new DelayLine(from as unknown as Socket, to as unknown as Socket, DELAY_MS)
    let ended = false
    line.take(Buffer.from('a'))
    vi.advanceTimersByTime(5)
    line.take(Buffer.from('b'))
    line.after(() => {
      ended = true
    })
    vi.advanceTimersByTime(DELAY_MS - 6)
    expect(to.read()).toBe(null)
    vi.advanceTimersByTime(1)
    expect(String(to.read())).toBe('a')
    vi.advanceTimersByTime(4)
    expect([to.read(), ended]).toEqual([null, false])
    vi.advanceTimersByTime(1)
    expect([String(to.read()), ended]).toEqual(['b', true])
  })

  it('forgets what is under way to a socket that is closed', async () => {
    const [from, to] = [new PassThrough(), new PassThrough()]
    const line = new DelayLine(from as unknown as Socket, to as unknown as Socket, DELAY_MS)
    let ended = false
    line.take(Buffer.alloc(100))
    line.after(() => {
      ended = true
    })
    expect(line.bytesUnderWay).toBe(100)
    to.destroy()
    await once(to, 'close')
    expect(line.bytesUnderWay).toBe(0)
    await new Promise((resolve) => setTimeout(resolve, 2 * DELAY_MS))
    expect(ended).toBe(false)
  })
})
