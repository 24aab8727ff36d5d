// A transfer thread of the source: listens on a port of its own, takes the one connection that shows the migration's
// token (R14), and then sends its share of every round: select → scan → frame → socket. Started by source-transfer.ts.

import { createServer, type Socket } from 'node:net'
import { parentPort, workerData } from 'node:worker_threads'
import { GodwitError } from '../../errors.ts'
import { grantSteps, grantsUsed } from '../../guest/grants.ts'
import { GuestMemory } from '../../guest/memory.ts'
import { loadKernels } from '../../kernels/kernels.ts'
import { encodeControl } from '../../wire/control-codec.ts'
import { encodeHeader, FRAME_HEADER_BYTES, FRAME_TYPE } from '../../wire/frame.ts'
import { ControlFrameReader } from '../../wire/frame-reader.ts'
import { greet } from '../../wire/greeting.ts'
import { listenInRange } from '../../wire/listen.ts'
import type { RoundOrder } from '../ports.ts'
import { type Batch, BatchSender } from './batch.ts'
import { pay, pieceBytes } from './pacer.ts'
import { acquireSelectLock, releaseSelectLock, throwIfAborted } from './select-lock.ts'
import { count } from './thread-counters.ts'
import type { ChannelRound, FromSourceThread, SourceThreadData, ToSourceThread } from './thread-messages.ts'

const data = workerData as SourceThreadData
const memory = new GuestMemory(data.memory)
const sender = new BatchSender({ memory, kernels: loadKernels(memory), channel: data.channel })
const server = createServer()
let socket: Socket | null = null
let closing = false
let failure: GodwitError | null = null

const tell = (message: FromSourceThread): void => parentPort?.postMessage(message)

function fail(thrown: unknown): void {
  if (closing || failure !== null) return
  failure = GodwitError.from(thrown)
  tell({ type: 'failed', error: failure.toJSON() })
}

function adopt(accepted: Socket): void {
  socket = accepted
  server.close()
  const reader = new ControlFrameReader()
  accepted.on('data', (bytes) => {
    count(memory, data.channel, 'receivedBytes', bytes.length)
    try {
      reader.push(bytes, (message) => {
        if (message.type !== 'abort') throw new GodwitError('unexpected-message', `'${message.type}' on a data channel`)
        throw GodwitError.from({ ...message.error, side: message.error.side ?? 'destination' })
      })
    } catch (thrown) {
      fail(thrown)
    }
  })
  accepted.on('error', (cause) => fail(new GodwitError('link-lost', `data channel lost: ${cause.message}`, { cause })))
  accepted.on('close', () => fail(new GodwitError('link-lost', 'the destination closed a data channel')))
  tell({ type: 'connected' })
}

/** Resolves when the kernel has taken the bytes. */
function write(bytes: Uint8Array): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const to = socket
  if (to === null || to.destroyed)
    return Promise.reject(failure ?? new GodwitError('link-lost', 'the data channel is closed'))
  to.write(bytes, (error) =>
    error ? reject(new GodwitError('link-lost', error.message, { cause: error })) : resolve(),
  )
  return promise
}

async function sendBatch(batch: Batch): Promise<void> {
  const piece = pieceBytes(memory)
  if (piece === null) {
    socket?.cork()
    const written = batch.buffers.map(write)
    socket?.uncork()
    await Promise.all(written)
  } else {
    for (const buffer of batch.buffers) {
      for (let at = 0; at < buffer.length; at += piece) {
        const bytes = buffer.subarray(at, at + piece)
        await pay(memory, bytes.length)
        await write(bytes)
      }
    }
  }
  count(memory, data.channel, 'pageFrameBytes', batch.bytes)
}

/** Takes the next batch and lays out its frame; null when it was empty. */
async function nextBatch(order: RoundOrder, slot: number): Promise<{ batch: Batch | null; last: boolean }> {
  await acquireSelectLock(memory)
  let held = true
  const release = (): void => {
    if (held) releaseSelectLock(memory)
    held = false
  }
  try {
    const { count: pages, last } = sender.select(order.skip)
    if (pages === 0) return { batch: null, last }
    const locked = order.final ? null : data.locked
    // A locked guest steps between two batches and at no other time: the lock is kept until it has.
    if (locked === null) release()
    const batch = sender.prepare(pages, slot, order)
    if (locked !== null && locked.lambda > 0) {
      grantSteps(memory, locked.lambda * pages)
      await grantsUsed(memory)
    }
    return { batch, last }
  } finally {
    release()
  }
}

async function sendRound(order: RoundOrder): Promise<ChannelRound> {
  const share: ChannelRound = { sent: 0, bytes: 0, zeroPages: 0, rawPages: 0 }
  // Two staging halves: one is in the socket while the other is filled.
  const inFlight: Promise<void>[] = [Promise.resolve(), Promise.resolve()]
  let tail: Promise<void> = Promise.resolve()
  for (let slot = 0; ; slot = 1 - slot) {
    await inFlight[slot]
    throwIfAborted(memory)
    const { batch, last } = await nextBatch(order, slot)
    if (batch !== null) {
      share.sent += batch.pages
      share.bytes += batch.bytes
      share.zeroPages += batch.zeroPages
      share.rawPages += batch.rawPages
      count(memory, data.channel, 'workPages', batch.pages)
      tail = tail.then(() => sendBatch(batch))
      tail.catch(() => {})
      inFlight[slot] = tail
    }
    if (last) break
  }
  await tail
  const end = Buffer.alloc(FRAME_HEADER_BYTES)
  encodeHeader(end, 0, { type: FRAME_TYPE.roundEnd, length: 0, round: order.round })
  count(memory, data.channel, 'controlBytes', end.length)
  await write(end)
  return share
}

parentPort?.on('message', (message: ToSourceThread) => {
  if (message.type === 'close') {
    closing = true
    server.close()
    socket?.destroySoon()
    socket?.unref()
    parentPort?.close()
    return
  }
  sendRound(message.order).then((share) => tell({ type: 'sent', round: message.order.round, share }), fail)
})

server.on('connection', (stranger) => {
  if (socket !== null) stranger.destroy()
  else
    greet(stranger, { ...data, channel: data.channel }).then(
      (welcome) => {
        if (socket !== null) {
          stranger.destroy()
          return
        }
        stranger.setNoDelay(true)
        stranger.write(welcome)
        count(memory, data.channel, 'controlBytes', welcome.length)
        adopt(stranger)
      },
      () => {},
    )
})

try {
  tell({ type: 'listening', port: await listenInRange(server, data.host, data.portRange) })
} catch (thrown) {
  fail(thrown)
}
