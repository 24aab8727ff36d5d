// The exchange thread at either side of a soft migration: one connection at a time, over which pages and vCPUs change their
// owner, and nothing else. Started by threaded-exchange.ts; what it does is decided by core.ts. It lives as long as the
// migration: a cut takes its socket, not what it knows.

import type { Socket } from 'node:net'
import { parentPort, workerData } from 'node:worker_threads'
import { GodwitError } from '../../errors.ts'
import { asksSeen } from '../../guest/asks.ts'
import { HEADER } from '../../guest/layout.ts'
import { GuestMemory } from '../../guest/memory.ts'
import { loadKernels } from '../../kernels/kernels.ts'
import {
  EXCHANGE_CHANNEL,
  EXCHANGE_TICK_MS,
  HELLO_TIMEOUT_MS,
  PEER_SILENT_MS,
  REHEARSAL_REST_MS,
} from '../../limits.ts'
import type { ChannelMessage } from '../../wire/channel-codec.ts'
import { ExchangeReader, type ExchangeSink } from '../../wire/exchange-reader.ts'
import { encodeAbort } from '../../wire/message-frame.ts'
import { isPaid } from '../transfer/pacer.ts'
import { PushWindow } from '../transfer/push-window.ts'
import { wordChanged } from '../transfer/select-lock.ts'
import { type Counter, count } from '../transfer/thread-counters.ts'
import { dialExchange, ExchangeListener, noAnswer } from './connections.ts'
import { ExchangeCore } from './core.ts'
import { freshCore } from './core-state.ts'
import { hearing } from './core-wire.ts'
import type { ExchangeThreadData, FromExchangeThread, ToExchangeThread } from './messages.ts'
import { rehearsal } from './rehearsal.ts'
import { SharedPages } from './shared-pages.ts'
import type { ExchangeCounter, ExchangeHost } from './sides.ts'
import { SocketLink } from './socket-link.ts'

/** How long a peer that broke a rule may take to read why. */
const DRAIN_MS = 1000
/** What of a link is known: being made, and in force once both sides have said what they have. */
interface Link {
  readonly generation: number
  readonly tooLate: NodeJS.Timeout
  socket: Socket | null
  up: boolean
}

const COUNTER: Readonly<Record<ExchangeCounter, Counter>> = {
  pushed: 'exchangePushed',
  asked: 'exchangeAsked',
  withoutData: 'exchangeWithoutData',
  received: 'exchangeReceived',
  returned: 'exchangeReturned',
  pingPong: 'exchangePingPong',
  asks: 'exchangeAsks',
  again: 'exchangeAgain',
}

const data = workerData as ExchangeThreadData
const { where } = data
const memory = new GuestMemory(data.memory)
const pages = new SharedPages(memory, loadKernels(memory), data.hash)
const out = new SocketLink(memory)
const identity = { migration: data.migration, token: data.token }
const listener = where.role === 'listens' ? new ExchangeListener(identity) : null
const side = where.role === 'listens' ? 'source' : 'destination'
const host: ExchangeHost = {
  now: () => performance.now(),
  revoke: () => tell({ type: 'revoke' }),
  mayPush: () => isPaid(memory),
  window: () => new PushWindow(),
  crossed: (vcpu) => tell({ type: 'crossed', vcpu }),
  cancelled: (vcpu) => tell({ type: 'cancelled', vcpu }),
  arrived: (vcpu, state) => tell({ type: 'arrived', vcpu, state }),
  drained: () => tell({ type: 'drained', push: pushes }),
  count: (what, more) => count(memory, EXCHANGE_CHANNEL, COUNTER[what], more),
}
const rehearsing = rehearsal(data.hash)
const state = freshCore(pages, where.role === 'listens')
const core = new ExchangeCore(state, pages, out, host)
/** Orders to push so far. */
let pushes = 0
let link: Link | null = null
let tick: NodeJS.Timeout | null = null
let closing = false

function tell(message: FromExchangeThread): void {
  parentPort?.postMessage(message)
}

const broken = (thrown: unknown): void => tell({ type: 'broken', error: GodwitError.from(thrown).toJSON() })

/** After anything has happened: tells what took effect, does what can be done next, and lets it leave. */
function goOn(): void {
  core.acknowledge()
  core.ask()
  core.pump()
  out.flush()
  if (tick !== null || !core.restless || closing) return
  tick = setTimeout(() => {
    tick = null
    goOn()
  }, EXCHANGE_TICK_MS)
}

/** Runs what may find a mistake of the peer; the link of the time ends with it, the pages stay. */
function guarded(of: Link, action: () => void): void {
  if (link !== of) return
  try {
    action()
    goOn()
  } catch (thrown) {
    fail(of, thrown)
  }
}

function fail(of: Link, thrown: unknown): void {
  if (link !== of || closing) return
  link = null
  clearTimeout(of.tooLate)
  listener?.want(null, () => {})
  out.flush()
  out.use(null)
  core.cut()
  const error = GodwitError.from(thrown)
  if (error.code === 'bad-page') core.distrust()
  if (of.socket !== null) part(of.socket, error)
  tell({ type: 'failed', generation: of.generation, up: of.up, error: { ...error.toJSON(), side: error.side ?? side } })
  goOn()
}

/** A peer that broke a rule is told which, and read no more. What of ours it has not read is dropped with the socket. */
function part(socket: Socket, error: GodwitError): void {
  const { code } = error
  const lost = code === 'link-lost' || code === 'unreachable' || error.side !== undefined
  if (lost || socket.destroyed) {
    socket.destroy()
    return
  }
  socket.end(encodeAbort(error, side))
  setTimeout(() => socket.destroy(), DRAIN_MS).unref()
}

const sinkOf = (of: Link): ExchangeSink => ({
  ...hearing(core),
  control: (message) => onControl(of, message),
  applied(applied) {
    core.onApplied(applied)
    if (of.up) return
    of.up = true
    clearTimeout(of.tooLate)
    tell({ type: 'linked', generation: of.generation })
  },
})

function onControl(of: Link, message: ChannelMessage): void {
  if (message.type === 'abort') {
    const other = side === 'source' ? 'destination' : 'source'
    throw GodwitError.from({ ...message.error, side: message.error.side ?? other })
  }
  const welcomed = message.type === 'welcome' && where.role === 'dials' && !of.up
  if (!welcomed) throw new GodwitError('unexpected-message', `'${message.type}' on an exchange`)
  begin(of)
}

/** The connection is the peer's: both say first what they have. */
function begin(of: Link): void {
  out.use(of.socket)
  out.applied(core.begin())
}

function adopt(of: Link, socket: Socket): void {
  of.socket = socket
  socket.on('error', (cause) => fail(of, new GodwitError('link-lost', `the exchange: ${cause.message}`, { cause })))
  socket.on('close', () => fail(of, new GodwitError('link-lost', 'the peer closed the exchange')))
  socket.on('drain', () => guarded(of, () => {}))
}

function readerOf(of: Link): (bytes: Uint8Array) => void {
  const reader = new ExchangeReader(memory.layout, sinkOf(of))
  return (bytes) => {
    count(memory, EXCHANGE_CHANNEL, 'receivedBytes', bytes.length)
    guarded(of, () => reader.push(bytes))
  }
}

/** R23: nothing of an older link is read once this has begun. */
function makeLink(generation: number, hostName: string | null): void {
  const old = link
  link = null
  if (old !== null) {
    clearTimeout(old.tooLate)
    old.socket?.destroy()
  }
  out.use(null)
  core.cut()
  const name = hostName ?? 'the peer'
  const tooLate = setTimeout(() => fail(made, noAnswer(name)), HELLO_TIMEOUT_MS)
  const made: Link = { generation, socket: null, up: false, tooLate }
  link = made
  if (where.role === 'dials') {
    const onBytes = readerOf(made)
    adopt(made, dialExchange({ host: name, port: where.port, generation, identity, onBytes }))
    return
  }
  // The source waits as long as it is told to: the destination has its own limit.
  clearTimeout(tooLate)
  listener?.want(generation, (socket, welcome) => {
    if (link !== made) {
      socket.destroy()
      return
    }
    adopt(made, socket)
    socket.setKeepAlive(true)
    socket.on('data', readerOf(made))
    socket.write(welcome)
    guarded(made, () => begin(made))
  })
}

/** A vCPU asks: the word changes, whatever else goes on. */
async function askForever(): Promise<void> {
  while (!closing) {
    const seen = asksSeen(memory)
    const of = link
    if (of !== null) guarded(of, () => {})
    await wordChanged(memory.controlWords, HEADER.asks, seen)
  }
}

/** What was given is confirmed at once by a peer that reads; one that waits for bytes that never come does not. */
let seen: { link: Link | null; confirmed: number } = { link: null, confirmed: 0 }
const watch = setInterval(() => {
  const { frames, sent } = state.ledger
  const before = seen
  seen = { link, confirmed: sent - frames.length }
  if (link === null || !link.up || frames.length === 0) {
    seen = { link: null, confirmed: 0 }
    return
  }
  if (before.link !== link || before.confirmed !== seen.confirmed) return
  fail(link, new GodwitError('link-lost', 'the peer does not confirm what it was given'))
}, PEER_SILENT_MS)

function close(): void {
  closing = true
  clearInterval(watch)
  if (tick !== null) clearTimeout(tick)
  if (link !== null) clearTimeout(link.tooLate)
  listener?.close()
  out.flush()
  link?.socket?.destroySoon()
  link?.socket?.unref()
  parentPort?.close()
}

function obey(message: ToExchangeThread): void {
  switch (message.type) {
    case 'link':
      // What is left of it, at once: nobody stands still yet.
      for (const _ of rehearsing);
      return makeLink(message.generation, message.host)
    case 'unlink':
      if (link?.generation === message.generation) fail(link, new GodwitError('link-lost', 'the link was given up'))
      return
    case 'quiet':
      core.quiet()
      return goOn()
    case 'unquiet':
      core.unquiet()
      if (link !== null) fail(link, message.error)
      return
    case 'cross':
      core.cross(message.vcpu, message.state)
      return goOn()
    case 'push':
      pushes++
      core.push(message.what)
      return goOn()
    case 'close':
      return close()
  }
}

parentPort?.on('message', (message: ToExchangeThread) => {
  try {
    obey(message)
  } catch (thrown) {
    broken(thrown)
  }
})

/** One crossing at a time: who is served meanwhile waits for none of it. */
function rehearse(): void {
  if (!closing && rehearsing.next().done !== true) setTimeout(rehearse, REHEARSAL_REST_MS).unref()
}

try {
  const port = where.role === 'listens' ? await listener?.listen(where.host, where.portRange) : 0
  tell({ type: 'listening', port: port ?? 0 })
  setImmediate(rehearse)
  askForever().catch(broken)
} catch (thrown) {
  broken(thrown)
}
