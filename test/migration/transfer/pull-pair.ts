// A source and a destination of pages in the pull phase over loopback: every page absent at the destination; and a
// hand-made destination for one lane, which says what it likes.

import { connect, type Socket } from 'node:net'
import { beginAbsent, missingPages } from '../../../src/guest/installing.ts'
import { HEADER } from '../../../src/guest/layout.ts'
import { GuestMemory } from '../../../src/guest/memory.ts'
import { fillAll } from '../../../src/guest/page-set.ts'
import { vcpuWords } from '../../../src/guest/safepoint.ts'
import { ThreadedPageDestination } from '../../../src/migration/transfer/destination-transfer.ts'
import { resetPushOrder } from '../../../src/migration/transfer/push-order.ts'
import { ThreadedPageSource } from '../../../src/migration/transfer/source-transfer.ts'
import { encodeControl } from '../../../src/wire/message-frame.ts'
import { ANY_PORT, identity, LOOPBACK } from './pair.ts'

export const PAGE = 4096

export interface PullPair {
  from: GuestMemory
  to: GuestMemory
  source: ThreadedPageSource
  destination: ThreadedPageDestination
  missing(): number
  /** As a vCPU does that needs a page: asks for it. */
  ask(page: number, vcpu?: number): void
  close(): Promise<void>
}

export async function openSource(from: GuestMemory, channels: number): Promise<ThreadedPageSource> {
  fillAll(from, from.layout.toSend)
  resetPushOrder(from)
  const where = { host: LOOPBACK, portRange: ANY_PORT }
  return ThreadedPageSource.listen({ memory: from, channels, ...where, ...identity, locked: null, urgent: true })
}

/** Lanes are up, nothing is pulled yet. `memories`: those of an earlier link. */
export async function openPullPair(options: {
  pages: number
  channels: number
  memories?: { from: GuestMemory; to: GuestMemory }
  through?: (ports: readonly number[]) => Promise<readonly number[]>
}): Promise<PullPair> {
  const bytes = options.pages * PAGE
  const from = options.memories?.from ?? GuestMemory.create(bytes, 1)
  const to = options.memories?.to ?? GuestMemory.create(bytes, 4)
  const source = await openSource(from, options.channels)
  if (options.memories === undefined) {
    to.bytes.fill(0xdd)
    beginAbsent(to, null)
    Atomics.store(to.controlWords, HEADER.pulling, 1)
  } else {
    from.controlBytes.set(missingPages(to), from.layout.toSend)
  }
  const ports = (await options.through?.(source.ports)) ?? source.ports
  try {
    const dial = { memory: to, host: LOOPBACK, ports, ...identity, hash: true, urgent: true }
    const destination = await ThreadedPageDestination.dial(dial)
    await source.connected(AbortSignal.timeout(10_000))
    return {
      from,
      to,
      source,
      destination,
      missing: () => Atomics.load(to.controlWords, HEADER.missing),
      ask: (page, vcpu = 0) => ask(to, page, vcpu),
      close: async () => {
        await Promise.all([source.close(), destination.close()])
      },
    }
  } catch (thrown) {
    await source.close()
    throw thrown
  }
}

function ask(to: GuestMemory, page: number, vcpu: number): void {
  const words = vcpuWords(to, vcpu)
  Atomics.store(to.controlWords, words.faultPage, page + 1)
  if (Atomics.compareExchange(to.controlBytes, to.layout.presence + page, 0, 1) !== 0) return
  Atomics.store(to.controlWords, words.faultAsk, 1)
  Atomics.add(to.controlWords, HEADER.asks, 1)
  Atomics.notify(to.controlWords, HEADER.asks)
}

/** Dials a lane with a right hello; resolves with the socket when the source answered. What comes is read and dropped. */
export async function dialLane(port: number, channel: number): Promise<Socket> {
  const socket = connect(port, LOOPBACK)
  socket.on('error', () => {})
  socket.write(encodeControl({ type: 'hello', version: 1, ...identity, channel, capabilities: [] }))
  await new Promise((resolve) => socket.once('data', resolve))
  socket.on('data', () => {})
  return socket
}
