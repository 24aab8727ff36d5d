// A transfer thread of the source: listens on a port of its own, takes the one connection that shows the migration's
// token (R14), and then sends its share of every round: select → scan → frame → socket. In the pull phase it is a push lane
// or, if started as such, the urgent lane. Started by source-transfer.ts.

import { createServer, type Socket } from 'node:net'
import { performance } from 'node:perf_hooks'
import { parentPort, workerData } from 'node:worker_threads'
import { createBatchEncoding } from '../../encoding/batch-encoding.ts'
import { ForeignIndex } from '../../encoding/foreign-index.ts'
import { seedOf } from '../../encoding/seed.ts'
import { GodwitError } from '../../errors.ts'
import { grantSteps, grantsUsed } from '../../guest/grants.ts'
import { GuestMemory } from '../../guest/memory.ts'
import { loadKernels } from '../../kernels/kernels.ts'
import { BATCHES_IN_FLIGHT } from '../../limits.ts'
import { decodeChannel } from '../../wire/channel-codec.ts'
import { encodeHeader, FRAME_HEADER_BYTES, FRAME_TYPE } from '../../wire/frame.ts'
import { ControlFrameReader } from '../../wire/frame-reader.ts'
import { greet } from '../../wire/greeting.ts'
import { listenInRange } from '../../wire/listen.ts'
import { admitStranger } from '../../wire/strangers.ts'
import type { RoundOrder } from '../ports.ts'
import { type Batch, BatchSender } from './batch.ts'
import type { Lane } from './lane.ts'
import { charge, pay, pieceBytes } from './pacer.ts'
import { PushLane } from './push-lane.ts'
import { acquireSelectLock, releaseSelectLock, throwIfAborted } from './select-lock.ts'
import { count } from './thread-counters.ts'
import type { ChannelRound, FromSourceThread, SourceThreadData, ToSourceThread } from './thread-messages.ts'
import { UrgentLane } from './urgent-lane.ts'

/** An idle data channel is normal; the kernel looks whether its peer is still there. */
const KEEP_ALIVE_MS = 1000
/** A thread that waited for less than this share of a write's time may have been busy when it ended. */
const HEARD_SHARE = 1 / 16

const data = workerData as SourceThreadData
const memory = new GuestMemory(data.memory)
const kernels = loadKernels(memory)
const seed = seedOf(data.token)
const encoding = await createBatchEncoding({
  memory,
  kernels,
  channel: data.channel,
  // The urgent lane takes no part in rounds.
  mode: data.urgent ? 'zero' : data.encode,
  lz4: data.lz4,
  bytesPerSecond: data.bytesPerSecond,
  seed,
  versions: data.versions,
  notice: (text) => tell({ type: 'notice', text }),
})
const elideZero = data.encode !== 'raw'
const sender = new BatchSender({ memory, kernels, channel: data.channel, encoding, elideZero, seed })
const lane: Lane = { memory, kernels, channel: data.channel, send: sendBatch, fail }
const urgentLane = data.urgent ? new UrgentLane(lane) : null
let pushLane: PushLane | null = null
const server = createServer()
const strangers = new Set<Socket>()
let socket: Socket | null = null
let closing = false
let failure: GodwitError | null = null

function tell(message: FromSourceThread): void {
  parentPort?.postMessage(message)
}

function fail(thrown: unknown): void {
  if (closing || failure !== null) return
  failure = GodwitError.from(thrown)
  tell({ type: 'failed', error: failure.toJSON() })
}

function adopt(accepted: Socket): void {
  socket = accepted
  server.close()
  const unexpected = (what: string): never => {
    throw new GodwitError('unexpected-message', `${what} on this lane`, { side: 'destination' })
  }
  const reader = new ControlFrameReader(decodeChannel, undefined, {
    need: (entries) => (urgentLane === null ? unexpected('a need') : urgentLane.onNeed(entries)),
    got: () => (pushLane === null ? unexpected('an acknowledgement') : pushLane.onGot()),
  })
  accepted.on('data', (bytes) => {
    count(memory, data.channel, 'receivedBytes', bytes.length)
    // A peer that broke a rule is not heard any more: what it goes on to ask for must not pile up.
    if (failure !== null) return
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

async function sendBatch(batch: Batch, paced = true): Promise<void> {
  const began = performance.now()
  const used = performance.eventLoopUtilization()
  let copyingMs = 0
  const piece = paced ? pieceBytes(memory) : null
  if (!paced) charge(memory, batch.bytes)
  if (piece === null) {
    socket?.cork()
    const written = batch.buffers.map(write)
    socket?.uncork()
    copyingMs = performance.now() - began
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
  if (encoding === null) return
  const ms = performance.now() - began
  // While the next batch is prepared the end of a write goes unheard: who never waited only knows that it was sooner.
  const unheard = performance.eventLoopUtilization(used).idle < HEARD_SHARE * ms
  // The policy knows a limit from the start.
  if (unheard && piece !== null) return
  encoding.policy.noteLink(batch.bytes, unheard ? copyingMs : ms, unheard)
  if (piece === null) encoding.policy.noteCopying(batch.bytes, copyingMs)
}

/** Takes the next batch and lays out its frame; null when there is nothing of it to send. */
async function nextBatch(order: RoundOrder, slot: number): Promise<{ batch: Batch | null; last: boolean }> {
  await acquireSelectLock(memory)
  let held = true
  const release = (): void => {
    if (held) releaseSelectLock(memory)
    held = false
  }
  try {
    const { count: pages, last } = sender.select(order)
    if (pages === 0) return { batch: null, last }
    const locked = order.final ? null : data.locked
    // A locked guest steps between two batches and at no other time: the lock is kept until it has.
    if (locked === null) release()
    const batch = sender.prepare(pages, slot, order)
    count(memory, data.channel, 'workPages', pages)
    if (batch.pages === 0) return { batch: null, last }
    if (locked !== null && locked.lambda > 0) {
      grantSteps(memory, locked.lambda * batch.pages)
      await grantsUsed(memory)
    }
    return { batch, last }
  } finally {
    release()
  }
}

async function sendRound(order: RoundOrder): Promise<ChannelRound> {
  const share: ChannelRound = { sent: 0, bytes: 0, encodings: {}, verdict: null }
  // A staging half each: one is in the socket while the other is filled. This is the back-pressure.
  const inFlight: Promise<void>[] = Array.from({ length: BATCHES_IN_FLIGHT }, () => Promise.resolve())
  let tail: Promise<void> = Promise.resolve()
  for (let slot = 0; ; slot = (slot + 1) % BATCHES_IN_FLIGHT) {
    await inFlight[slot]
    throwIfAborted(memory)
    const { batch, last } = await nextBatch(order, slot)
    if (batch !== null) {
      share.sent += batch.pages
      share.bytes += batch.bytes
      tail = tail.then(() => sendBatch(batch))
      tail.catch(() => {})
      inFlight[slot] = tail
    }
    if (last) break
  }
  // R12: every channel says that it has no more of this round; the source does not wait for the others.
  await tail
  const end = Buffer.alloc(FRAME_HEADER_BYTES)
  encodeHeader(end, 0, { type: FRAME_TYPE.roundEnd, length: 0, round: order.round })
  count(memory, data.channel, 'controlBytes', end.length)
  await pay(memory, end.length)
  await write(end)
  share.encodings = sender.tally.take()
  share.verdict = encoding?.policy.verdict() ?? null
  return share
}

parentPort?.on('message', (message: ToSourceThread) => {
  if (message.type === 'close') {
    closing = true
    server.close()
    for (const stranger of strangers) stranger.destroy()
    socket?.destroySoon()
    socket?.unref()
    parentPort?.close()
    return
  }
  if (message.type === 'share') {
    if (encoding?.references) encoding.references.foreign = new ForeignIndex(message.index)
    return
  }
  if (message.type === 'answer') return urgentLane?.start()
  if (message.type === 'pull') {
    pushLane = new PushLane(lane, data.locked !== null)
    pushLane.start(message.order)
    return
  }
  sendRound(message.order).then((share) => tell({ type: 'sent', round: message.order.round, share }), fail)
})

/** R14: few may wait, and none costs more than a hello's worth of memory before it has shown the token. */
async function meet(stranger: Socket): Promise<void> {
  if (socket !== null) {
    stranger.destroy()
    return
  }
  admitStranger(strangers, stranger)
  try {
    const welcome = await greet(stranger, data)
    if (socket !== null) {
      stranger.destroy()
      return
    }
    stranger.setNoDelay(true)
    stranger.setKeepAlive(true, KEEP_ALIVE_MS)
    stranger.write(welcome)
    count(memory, data.channel, 'controlBytes', welcome.length)
    adopt(stranger)
  } catch {
    // A stranger has been told the name of its mistake.
  } finally {
    strangers.delete(stranger)
  }
}

server.on('connection', (stranger) => void meet(stranger))

try {
  tell({ type: 'listening', port: await listenInRange(server, data.host, data.portRange) })
} catch (thrown) {
  fail(thrown)
}
