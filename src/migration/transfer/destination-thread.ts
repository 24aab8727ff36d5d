// A transfer thread of the destination: dials one of the source's ports and reads page frames straight into guest
// memory with `onread`. At a round's end it stops reading until every channel has ended the round (R12). In the pull phase
// it acknowledges frames or, as the urgent lane, asks for pages. Started by destination-transfer.ts.

import { connect, type Socket } from 'node:net'
import { parentPort, workerData } from 'node:worker_threads'
import { Arrivals } from '../../encoding/arrivals.ts'
import { seedOf } from '../../encoding/seed.ts'
import { GodwitError } from '../../errors.ts'
import { GuestMemory } from '../../guest/memory.ts'
import { loadKernels } from '../../kernels/kernels.ts'
import { HELLO_TIMEOUT_MS } from '../../limits.ts'
import { encodeAbort, encodeControl } from '../../wire/message-frame.ts'
import { CAPABILITIES, PROTOCOL_VERSION } from '../../wire/protocol.ts'
import { StreamReader } from '../../wire/stream-reader.ts'
import { ForeignPages } from './foreign-pages.ts'
import { LaneFeedback } from './lane-feedback.ts'
import { count } from './thread-counters.ts'
import type { DestinationThreadData, FromDestinationThread, ToDestinationThread } from './thread-messages.ts'

/** How long a source that broke a rule may take to read why. */
const DRAIN_MS = 1000
const OPEN = "the destination dials the source: open the source's data ports, or set --advertise"

const data = workerData as DestinationThreadData
const { channel, host, port, migration, token, generation } = data
const memory = new GuestMemory(data.memory)
const arrivals = data.versions && new Arrivals(memory, data.versions)
const reader = new StreamReader({
  memory,
  kernels: loadKernels(memory),
  channel,
  hash: data.hash,
  urgent: data.urgent,
  awaitWelcome: true,
  onSpoilt: (page) => tell({ type: 'spoilt', page }),
  onLast: () => tell({ type: 'pulled' }),
  ...(arrivals && { onPlaced: (table, round) => arrivals.keep(table, round) }),
  session: { seed: seedOf(token), missing: (page) => missing.add(page) },
})
/** Pages of this round that could not be made from what is here: a set, for a faulty source may name one for ever. */
const missing = new Set<number>()
const foreign = new ForeignPages(reader)
let closing = false
let failed = false
let connected = false
let pageBytesTold = 0

const tell = (message: FromDestinationThread): void => parentPort?.postMessage(message)

/** The first failure is told to the main thread and, if the stream broke a rule, to the source. */
function fail(thrown: unknown): void {
  if (closing || failed) return
  failed = true
  clearTimeout(tooLate)
  const error = GodwitError.from(thrown)
  const { code } = error
  tell({ type: 'failed', error: { ...error.toJSON(), side: error.side ?? 'destination' } })
  if (code === 'link-lost' || code === 'unreachable' || error.side === 'source') {
    socket.destroy()
    return
  }
  // What the source still sends is read and dropped for a while: closing on unread bytes resets the connection, and a
  // reset could overtake the reason.
  socket.end(encodeAbort(error, 'destination'))
  setTimeout(() => socket.destroy(), DRAIN_MS).unref()
}

/** Takes note of bytes that lie where `reader.next()` said. False pauses the socket. */
function take(bytes: number): boolean {
  count(memory, channel, 'receivedBytes', bytes)
  if (failed) return true
  try {
    const result = reader.advance(bytes)
    if (!connected && reader.welcomed) {
      connected = true
      clearTimeout(tooLate)
      // The first round begins when every lane is connected.
      if (data.copyParts !== null) arrivals?.keepCopy(memory.layout.pageCount, channel, data.copyParts)
      if (data.urgent) feedback.askForever()
      tell({ type: 'connected' })
    }
    if (result === 'more') return true
    if (result === 'fetch') {
      void fetch()
      return false
    }
    if (result === 'pulled') return feedback.pulled(reader.pull)
    tell({
      type: 'ended',
      round: reader.round - 1,
      bytes: reader.pageFrameBytes - pageBytesTold,
      missing: [...missing],
    })
    missing.clear()
    pageBytesTold = reader.pageFrameBytes
    // R12: nothing of the next round is read before every channel has ended this one.
    return false
  } catch (thrown) {
    fail(thrown)
    return true
  }
}

/** Nothing is read before the pages that the last frame wants of other guests are placed, or known to be missing. */
async function fetch(): Promise<void> {
  try {
    await foreign.fetch()
    if (!closing && !failed) socket.resume()
  } catch (thrown) {
    fail(thrown)
  }
}

const tooLate = setTimeout(
  () =>
    fail(new GodwitError('unreachable', `no welcome from ${host}:${port} in ${HELLO_TIMEOUT_MS} ms`, { hint: OPEN })),
  HELLO_TIMEOUT_MS,
)
const socket: Socket = connect({
  host,
  port,
  noDelay: true,
  keepAlive: true,
  onread: { buffer: () => reader.next(), callback: take },
})
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
})
socket.on('error', (cause) => {
  const lost = connected ? 'link-lost' : 'unreachable'
  fail(new GodwitError(lost, `data channel to ${host}:${port}: ${cause.message}`, { cause, hint: OPEN }))
})
socket.on('close', () => fail(new GodwitError('link-lost', 'the source closed a data channel')))

const feedback = new LaneFeedback({ memory, channel, locked: data.locked, urgent: data.urgent, socket, fail })

parentPort?.on('message', (message: ToDestinationThread) => {
  if (message.type === 'again') {
    feedback.again(message.page)
    return
  }
  if (message.type === 'share') {
    foreign.share(message.neighbours)
    return
  }
  if (message.type === 'proceed') {
    socket.resume()
    return
  }
  closing = true
  feedback.close()
  foreign.close()
  clearTimeout(tooLate)
  socket.destroy()
  parentPort?.close()
})
