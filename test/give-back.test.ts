// Memory given back at once: a socket's portion is gone, a piece of something larger is not.

import { once } from 'node:events'
import { type AddressInfo, connect, createServer, type Socket } from 'node:net'
import { expect, onTestFinished, test } from 'vitest'
import { giveBack } from '../src/give-back.ts'

test('what an accepted socket read goes', async () => {
  const server = createServer().listen(0, '127.0.0.1')
  onTestFinished(() => void server.close())
  await once(server, 'listening')
  const accepted = once(server, 'connection')
  const client = connect((server.address() as AddressInfo).port, '127.0.0.1')
  client.end(Buffer.alloc(1024 * 1024))
  const [socket] = (await accepted) as [Socket]
  onTestFinished(() => void socket.destroy())
  onTestFinished(() => void client.destroy())
  let gone = 0
  // The kernel says how much a portion has; one of more than half of what Node.js makes room for is given back on every version.
  for await (const portion of socket as AsyncIterable<Buffer>) {
    const worth = portion.length > 32 * 1024
    giveBack(portion)
    if (!worth) continue
    gone++
    expect(portion.length).toBe(0)
  }
  expect(socket.bytesRead).toBe(1024 * 1024)
  expect(gone).toBeGreaterThan(0)
})

test('a piece of something larger stays, and so do small ones and shared memory', () => {
  const large = new Uint8Array(64 * 1024).fill(7)
  const kept = [
    large.subarray(0, 32 * 1024),
    large.subarray(1),
    new Uint8Array(100).fill(7),
    new Uint8Array(new SharedArrayBuffer(65536)),
  ]
  for (const bytes of kept) {
    const { length } = bytes
    giveBack(bytes)
    expect(bytes.length).toBe(length)
  }
  expect(large[0]).toBe(7)
})
