// The control link over TCP: order, pings, silence, faults told to the peer, and nothing left behind.

import { connect, createServer, type Server, type Socket } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import type { ControlLink } from '../../src/migration/ports.ts'
import { decodeControl } from '../../src/wire/control-codec.ts'
import { type ControlLinkOptions, SocketControlLink } from '../../src/wire/control-link.ts'
import { ControlFrameReader } from '../../src/wire/frame-reader.ts'
import { encodeControl } from '../../src/wire/message-frame.ts'
import type { ControlMessage } from '../../src/wire/messages.ts'
import { recheck } from './streams.ts'

const endings: (() => void)[] = []
afterEach(() => {
  for (const end of endings.splice(0)) end()
})

async function sockets(): Promise<[Socket, Socket]> {
  const server: Server = createServer()
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve))
  const accepted = new Promise<Socket>((resolve) => server.once('connection', resolve))
  const dialled = connect((server.address() as { port: number }).port, '127.0.0.1')
  const pair: [Socket, Socket] = [await accepted, dialled]
  server.close()
  // Whoever is left with unread bytes resets the connection; a link hears of it by itself.
  for (const socket of pair) socket.on('error', () => {})
  endings.push(() => pair.forEach((socket) => void socket.destroy()))
  return pair
}
const fast = { pingIntervalMs: 10, peerSilentMs: 5000 }
async function links(options: Partial<ControlLinkOptions> = fast): Promise<[SocketControlLink, SocketControlLink]> {
  const [source, destination] = await sockets()
  return [
    new SocketControlLink(source, { side: 'source', ...options }),
    new SocketControlLink(destination, { side: 'destination', ...options }),
  ]
}
/** A peer made by hand. */
async function linkAndSocket(options: Partial<ControlLinkOptions> = fast): Promise<[SocketControlLink, Socket]> {
  const [source, destination] = await sockets()
  return [new SocketControlLink(source, { side: 'source', ...options }), destination]
}
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await new Promise((resolve) => setTimeout(resolve, 2))
}

describe('a control link', () => {
  it('keeps the order of messages, both ways, and is a ControlLink', async () => {
    const [source, destination]: [ControlLink, ControlLink] = await links()
    for (let epoch = 0; epoch < 500; epoch++) {
      source.send({ type: 'commit', epoch })
      destination.send({ type: 'ask', epoch })
    }
    for (let epoch = 0; epoch < 500; epoch++) {
      expect(await destination.receive()).toEqual({ type: 'commit', epoch })
      expect(await source.receive()).toEqual({ type: 'ask', epoch })
    }
    expect(source.bytes.sent).toBeGreaterThan(500 * 16)
    expect(source.bytes.received).toBeGreaterThan(500 * 16)
    source.close()
    await expect(destination.receive()).rejects.toMatchObject({ code: 'link-lost' })
  })

  it('measures round trip and clock without showing pings', async () => {
    const [source, destination] = await links()
    await until(() => source.roundTripMs > 0 && destination.roundTripMs > 0)
    // Both clocks are one here: the error is at most half the round trip.
    expect(Math.abs(Number(source.clockOffsetNs))).toBeLessThanOrEqual(source.roundTripMs * 1e6)
    source.send({ type: 'done', epoch: 1 })
    expect(await destination.receive()).toEqual({ type: 'done', epoch: 1 })
    source.close()
    destination.close()
  })

  it('sends what is queued before it closes; what came before can be taken after', async () => {
    const [source, destination] = await links()
    for (let epoch = 0; epoch < 100; epoch++) source.send({ type: 'commit', epoch })
    source.close()
    source.close()
    source.send({ type: 'commit', epoch: 100 })
    for (let epoch = 0; epoch < 100; epoch++) expect(await destination.receive()).toEqual({ type: 'commit', epoch })
    await expect(destination.receive()).rejects.toMatchObject({ code: 'link-lost' })
    await expect(destination.receive()).rejects.toMatchObject({ code: 'link-lost' })
    await expect(source.receive()).rejects.toMatchObject({ code: 'link-lost' })
  })

  it('notices a peer that falls silent', async () => {
    const [link, peer] = await linkAndSocket({ pingIntervalMs: 10, peerSilentMs: 60 })
    peer.resume()
    await expect(link.receive()).rejects.toMatchObject({ code: 'peer-silent', side: 'source' })
    await expect(link.receive()).rejects.toMatchObject({ code: 'peer-silent' })
  })

  it('a cut is link-lost on both sides', async () => {
    const [source, destination] = await sockets()
    const link = new SocketControlLink(source, { side: 'source' })
    destination.resetAndDestroy()
    await expect(link.receive()).rejects.toMatchObject({ code: 'link-lost' })
  })

  const wrong: [string, Uint8Array][] = [
    ['bad-magic', Buffer.from('GET / HTTP/1.1\r\n\r\n')],
    ['wrong-version', encodeControl({ type: 'done', epoch: 1 }).fill(9, 4, 5)],
    ['unknown-frame', encodeControl({ type: 'done', epoch: 1 }).fill(15, 5, 6)],
    ['bad-frame', encodeControl({ type: 'done', epoch: 1 }).fill(9, 6, 7)],
    ['frame-too-long', encodeControl({ type: 'done', epoch: 1 }).fill(255, 8, 12)],
    ['bad-message', recheck(encodeControl({ type: 'done', epoch: 1 }).fill(0, 16))],
    ['bad-frame', encodeControl({ type: 'done', epoch: 1 }).fill(0, 20)],
    ['unexpected-message', encodeControl({ type: 'done', epoch: 1 }).fill(3, 5, 6).fill(0, 8, 12)],
    ['bad-message', encodeControl({ type: 'pong', sentAt: 2n ** 62n, clock: 0n })],
  ]
  it.each(wrong)('%s is told to the peer and ends the link', async (code, bytes) => {
    const [link, peer] = await linkAndSocket()
    const heard: ControlMessage[] = []
    const reader = new ControlFrameReader(decodeControl)
    peer.on('data', (piece) => reader.push(piece, (message) => heard.push(message)))
    peer.write(bytes)
    await expect(link.receive()).rejects.toMatchObject({ code, side: 'source' })
    await new Promise((resolve) => peer.once('close', resolve))
    expect(heard.at(-1)).toMatchObject({ type: 'abort', error: { code, side: 'source' } })
  })

  it('a received abort is a message like any other', async () => {
    const [link, peer] = await linkAndSocket()
    peer.write(encodeControl({ type: 'abort', error: { code: 'memory-limit', message: 'no room' } }))
    expect(await link.receive()).toMatchObject({ type: 'abort', error: { code: 'memory-limit' } })
    link.close()
  })

  it('a flood that nobody takes ends the link', async () => {
    const [link, peer] = await linkAndSocket()
    peer.resume()
    const frame = encodeControl({ type: 'done', epoch: 1 })
    peer.write(Buffer.concat(Array.from({ length: 1500 }, () => frame)))
    await new Promise((resolve) => peer.once('close', resolve))
    for (let taken = 0; taken < 1025; taken++) await link.receive().catch(() => {})
    await expect(link.receive()).rejects.toMatchObject({ code: 'unexpected-message' })
  })
})
