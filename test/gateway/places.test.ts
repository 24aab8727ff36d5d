// What a gateway makes of addresses: one process under two names is one place, and the line to it stays.

import { createServer, type Server, type Socket } from 'node:net'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { GodwitError } from '../../src/errors.ts'
import { GuestBackend } from '../../src/gateway/guest-backend.ts'
import { FRAME_TYPE } from '../../src/wire/frame.ts'
import { decodeLine, encodeLine, type LineMessage, lineEnd } from '../../src/wire/line-messages.ts'
import { LineReader } from '../../src/wire/line-reader.ts'

const GUEST = { id: 'a'.repeat(32), name: 'kv', vcpus: 1, program: 'kv', memoryBytes: 65_536 }

let server: Server | undefined
let backend: GuestBackend | undefined
let sockets: Socket[] = []

// The gateway's clock stands still: no line is silent, and no name is dialled once more, because the machine was slow.
beforeEach(() => {
  const now = performance.now()
  vi.spyOn(performance, 'now').mockReturnValue(now)
})
afterEach(async () => {
  vi.restoreAllMocks()
  await backend?.close()
  for (const socket of sockets) socket.destroy()
  sockets = []
  await new Promise((resolve) => server?.close(resolve))
})

/** A guest process as far as its greeting; the newer line of a gateway takes the place of the older one. */
async function listen(host: string, greeting: readonly LineMessage[]): Promise<{ port: number; lines: () => number }> {
  let lines = 0
  server = createServer((socket) => {
    const reader = new LineReader(FRAME_TYPE.requests)
    sockets.push(socket)
    socket.on('error', () => {})
    socket.on('data', (bytes) => {
      reader.push(bytes)
      while (reader.next()) {
        if (decodeLine(reader.payload).type !== 'hello') continue
        lines++
        for (const other of sockets) if (other !== socket) other.end(lineEnd(new GodwitError('line-replaced', 'again')))
        for (const message of greeting) socket.write(encodeLine(message))
      }
    })
  })
  const { promise, resolve } = Promise.withResolvers<void>()
  server.listen(0, host, resolve)
  await promise
  return { port: (server.address() as { port: number }).port, lines: () => lines }
}

const wait = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))
const welcome: LineMessage = { type: 'welcome', guest: GUEST, here: [0] }

test('localhost and 127.0.0.1 are one place', async () => {
  const { port, lines } = await listen('127.0.0.1', [welcome])
  backend = new GuestBackend({ guest: 'kv', vcpus: 1, locate: async () => [{ host: 'localhost', port }] })
  await expect.poll(() => backend?.place(0)).not.toBe(null)
  for (const host of ['127.0.0.1', 'localhost', '::ffff:127.0.0.1', 'LOCALHOST']) backend.name({ host, port })
  await wait(200)
  expect(lines()).toBe(1)
})

test('two names that nobody knows to be one do not take each other’s line for ever', async () => {
  const { port, lines } = await listen('0.0.0.0', [welcome])
  const other = '127.0.0.2'
  backend = new GuestBackend({ guest: 'kv', vcpus: 1, locate: async () => [{ host: '127.0.0.1', port }] })
  await expect.poll(() => backend?.place(0)).not.toBe(null)
  backend.name({ host: other, port })
  await expect.poll(() => backend?.place(0)).toEqual({ host: other, port })
  for (let times = 0; times < 5; times++) {
    backend.name({ host: '127.0.0.1', port })
    await wait(50)
    backend.name({ host: other, port })
    await wait(50)
  }
  expect(lines()).toBe(2)
  expect(backend.place(0)).toEqual({ host: other, port })
})
