// The source's control port: a redial is never lost to a waiter that has given up.

import { connect, type Socket } from 'node:net'
import { afterEach, expect, test } from 'vitest'
import { ControlListener } from '../../src/guest-process/control-listener.ts'
import { SocketControlLink } from '../../src/wire/control-link.ts'
import { encodeControl } from '../../src/wire/message-frame.ts'
import { CAPABILITIES, PROTOCOL_VERSION } from '../../src/wire/protocol.ts'

const identity = { migration: 'a'.repeat(32), token: 'b'.repeat(32), generation: 0 }
const sockets: Socket[] = []
let listener: ControlListener | undefined

afterEach(() => {
  for (const socket of sockets.splice(0)) socket.destroy()
  listener?.close()
})

async function listen(): Promise<ControlListener> {
  listener = await ControlListener.listen({ host: '127.0.0.1', portRange: [0, 0], ...identity })
  return listener
}

function dial(port: number): Socket {
  const socket = connect(port, '127.0.0.1')
  sockets.push(socket)
  socket.on('error', () => {}) // a reset is as good as an end
  const capabilities = [...CAPABILITIES]
  socket.write(
    encodeControl({ type: 'hello', version: PROTOCOL_VERSION, ...identity, channel: 'control', capabilities }),
  )
  return socket
}

test('a link that arrives between two waits is for the next one', async () => {
  const at = await listen()
  const tired = new AbortController()
  const first = at.next(tired.signal)
  tired.abort(new Error('waited long enough'))
  await expect(first).rejects.toThrow('waited long enough')
  const welcomed = new Promise((resolve) => dial(at.port).once('data', resolve))
  await welcomed
  const link = await at.next(AbortSignal.timeout(2000))
  expect(link).toBeInstanceOf(SocketControlLink)
  link.close()
})

test('a link that arrives after the listener was closed is closed', async () => {
  const at = await listen()
  const socket = dial(at.port)
  await new Promise((resolve) => socket.once('connect', resolve))
  at.close()
  await new Promise((resolve) => socket.once('close', resolve))
})

test('of several links that wait the newest is taken and the others are closed', async () => {
  const at = await listen()
  const older = dial(at.port)
  await new Promise((resolve) => older.once('data', resolve))
  const closed = new Promise((resolve) => older.once('close', resolve))
  const newer = dial(at.port)
  await new Promise((resolve) => newer.once('data', resolve))
  const link = await at.next(AbortSignal.timeout(2000))
  await closed
  newer.write(encodeControl({ type: 'ready' }))
  expect(await link.receive()).toEqual({ type: 'ready' })
  link.close()
})
