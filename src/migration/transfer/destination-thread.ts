// A transfer thread of the destination: dials one of the source's ports and reads page frames straight into guest
// memory with `onread`. At a round's end it stops reading until every channel has ended the round (R12). Started by
// destination-transfer.ts.

import { connect, type Socket } from 'node:net'
import { parentPort, workerData } from 'node:worker_threads'
import { GodwitError } from '../../errors.ts'
import { GuestMemory } from '../../guest/memory.ts'
import { loadKernels } from '../../kernels/kernels.ts'
import { encodeControl } from '../../wire/control-codec.ts'
import { CAPABILITIES, PROTOCOL_VERSION } from '../../wire/messages.ts'
import { StreamReader } from '../../wire/stream-reader.ts'
import { count } from './thread-counters.ts'
import type { DestinationThreadData, FromDestinationThread, ToDestinationThread } from './thread-messages.ts'

const data = workerData as DestinationThreadData
const { channel, host, port, migration, token, generation } = data
const memory = new GuestMemory(data.memory)
const reader = new StreamReader({ memory, kernels: loadKernels(memory), channel, hash: data.hash })
let received = 0
let closing = false
let failed = false

const tell = (message: FromDestinationThread): void => parentPort?.postMessage(message)

/** The first failure is told to the main thread and, if the stream broke a rule, to the source. */
function fail(thrown: unknown): void {
  if (closing || failed) return
  failed = true
  const error = GodwitError.from(thrown)
  const { code, message } = error
  if (code !== 'link-lost' && code !== 'unreachable' && error.side !== 'source') {
    socket.write(
      encodeControl({ type: 'abort', error: { code, message: message.slice(0, 1000), side: 'destination' } }),
    )
  }
  socket.destroySoon()
  tell({ type: 'failed', error: { ...error.toJSON(), side: error.side ?? 'destination' } })
}

/** Takes note of bytes that lie where `reader.next()` said. False pauses the socket. */
function take(bytes: number): boolean {
  if (failed) return false
  received += bytes
  count(memory, channel, 'receivedBytes', bytes)
  try {
    if (reader.advance(bytes) === 'more') return true
    tell({ type: 'ended', round: reader.round - 1, bytes: received })
    return false
  } catch (thrown) {
    fail(thrown)
    return false
  }
}

const socket: Socket = connect({ host, port, noDelay: true, onread: { buffer: () => reader.next(), callback: take } })
socket.on('connect', () => {
  const capabilities = [...CAPABILITIES]
  const hello = {
    type: 'hello',
    version: PROTOCOL_VERSION,
    migration,
    token,
    generation,
    channel,
    capabilities,
  } as const
  const frame = encodeControl(hello)
  count(memory, channel, 'controlBytes', frame.length)
  socket.write(frame)
  tell({ type: 'connected' })
})
socket.on('error', (cause) => {
  const lost = (cause as NodeJS.ErrnoException).code === 'ECONNREFUSED' ? 'unreachable' : 'link-lost'
  fail(new GodwitError(lost, `data channel to ${host}:${port}: ${cause.message}`, { cause }))
})
socket.on('close', () => fail(new GodwitError('link-lost', 'the source closed a data channel')))

parentPort?.on('message', (message: ToDestinationThread) => {
  if (message.type === 'proceed') {
    socket.resume()
    return
  }
  closing = true
  socket.destroy()
  parentPort?.close()
})
