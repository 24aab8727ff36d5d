// Whole rounds through real threads and sockets: content, digests, barriers, limits and failures.

import { connect } from 'node:net'
import { afterEach, describe, expect, it } from 'vitest'
import { HEADER } from '../../../src/guest/layout.ts'
import { GuestMemory } from '../../../src/guest/memory.ts'
import { addPage, fillAll } from '../../../src/guest/page-set.ts'
import { ThreadedPageDestination } from '../../../src/migration/transfer/destination-transfer.ts'
import { ThreadedPageSource } from '../../../src/migration/transfer/source-transfer.ts'
import { type ChannelMessage, decodeChannel } from '../../../src/wire/channel-codec.ts'
import { ControlFrameReader } from '../../../src/wire/frame-reader.ts'
import { encodeControl } from '../../../src/wire/message-frame.ts'
import type { MessageOf } from '../../../src/wire/messages.ts'
import { ANY_PORT, digests, fillMixed, identity, LOOPBACK, openPair, relay, same } from './pair.ts'

const MIB = 1024 * 1024
const endings: (() => unknown)[] = []
const atEnd = <T extends { close(): unknown }>(thing: T): T => {
  endings.push(() => thing.close())
  return thing
}
afterEach(async () => {
  for (const end of endings.splice(0).reverse()) await end()
})
const order = (round: number, more: { skip?: boolean; final?: boolean; hash?: boolean } = {}) => ({
  round,
  skip: false,
  hash: true,
  final: false,
  ...more,
})

describe('rounds', () => {
  it.each([1, 2, 4])('%i channels carry all of memory, with equal digests', async (channels) => {
    const pair = atEnd(await openPair({ memoryBytes: 32 * MIB, channels }))
    fillMixed(pair.from, 7 + channels)
    const [sent, placed] = await Promise.all([pair.source.sendRound(order(0)), pair.destination.placed(0)])
    expect(same(pair.from, pair.to)).toBe(true)
    const [ours, theirs] = digests(pair.from, pair.to)
    expect(theirs).toBe(ours)
    expect(ours).not.toBe(0n)
    expect(sent.sent).toBe(pair.from.layout.pageCount)
    const { raw, zero } = sent.encodings
    expect((raw?.pages ?? 0) + (zero?.pages ?? 0)).toBe(sent.sent)
    expect(placed.bytes).toBe(sent.bytes)
    const { sent: all, control } = pair.source.bytes
    expect(all - control).toBe(sent.bytes)
    expect(pair.source.progress()).toEqual({ pages: sent.sent, bytes: sent.bytes })
  })

  it('sends the same frames whatever the number of channels', async () => {
    const bytes: number[] = []
    for (const channels of [1, 2, 4]) {
      const pair = await openPair({ memoryBytes: 16 * MIB, channels })
      fillMixed(pair.from, 11)
      const [sent] = await Promise.all([pair.source.sendRound(order(0)), pair.destination.placed(0)])
      bytes.push(sent.bytes)
      await pair.close()
    }
    expect(new Set(bytes).size).toBe(1)
  })

  it('later rounds bring changes and pages that became zero; channels read on after the barrier', async () => {
    const pair = atEnd(await openPair({ memoryBytes: 16 * MIB, channels: 2 }))
    fillMixed(pair.from, 5)
    await Promise.all([pair.source.sendRound(order(0)), pair.destination.placed(0)])
    for (let round = 1; round < 12; round++) {
      for (let page = round; page < pair.from.layout.pageCount; page += 37 * round) {
        pair.from.bytes.fill(round % 3 === 0 ? 0 : round, page * 4096, (page + 1) * 4096)
        addPage(pair.from, pair.from.layout.toSend, page)
      }
      await Promise.all([pair.source.sendRound(order(round)), pair.destination.placed(round)])
      expect(same(pair.from, pair.to)).toBe(true)
      const [ours, theirs] = digests(pair.from, pair.to)
      expect(theirs).toBe(ours)
    }
  })

  it('rounds without pages pass, and the source does not wait for the destination', async () => {
    const pair = atEnd(await openPair({ memoryBytes: MIB, channels: 3 }))
    await pair.source.sendRound(order(0))
    await pair.source.sendRound(order(1))
    await pair.source.sendRound(order(2))
    await pair.destination.placed(2)
    expect(pair.from.controlWords[HEADER.cursor]).toBe(pair.from.layout.pageCount)
  })

  it('leaves out pages whose card in the table in use is marked', async () => {
    const pair = atEnd(await openPair({ memoryBytes: MIB, channels: 1 }))
    pair.from.bytes.fill(9)
    pair.from.controlBytes.fill(1, pair.from.layout.cards[0] + 10, pair.from.layout.cards[0] + 30)
    const [sent] = await Promise.all([pair.source.sendRound(order(0, { skip: true })), pair.destination.placed(0)])
    expect(sent.skipped).toBe(20)
    expect(sent.sent).toBe(pair.from.layout.pageCount - 20)
    expect(pair.to.bytes[9 * 4096]).toBe(9)
    expect(pair.to.bytes[10 * 4096]).toBe(0)
  })

  it('a slow channel holds the others back at the barrier (R12)', async () => {
    const held: (() => void)[] = []
    let holding = false
    const through = async (ports: readonly number[]) => {
      const slow = await relay(ports[0] as number, (bytes, to) => {
        if (holding) held.push(() => to.write(bytes))
        else to.write(bytes)
      })
      atEnd(slow)
      return [slow.port, ...ports.slice(1)]
    }
    const pair = atEnd(await openPair({ memoryBytes: 4 * MIB, channels: 2, through }))
    pair.from.bytes.fill(1)
    holding = true
    await pair.source.sendRound(order(0))
    pair.from.bytes.fill(2)
    fillAll(pair.from, pair.from.layout.toSend)
    let placed = false
    const round0 = pair.destination.placed(0).then(() => {
      placed = true
    })
    const second = pair.source.sendRound(order(1))
    await new Promise((resolve) => setTimeout(resolve, 100))
    expect(placed).toBe(false)
    // Channel 1 must not have placed a page of round 1, whichever pages it carries.
    expect(pair.to.bytes.includes(2)).toBe(false)
    holding = false
    for (const go of held) go()
    await Promise.all([round0, second, pair.destination.placed(1)])
    expect(same(pair.from, pair.to)).toBe(true)
  })
})

describe('bandwidth', () => {
  it.each([1, 3])('%i channels together never send faster than the limit', async (channels) => {
    const pair = atEnd(await openPair({ memoryBytes: 4 * MIB, channels }))
    pair.from.bytes.fill(3)
    const rate = 20 * MIB
    pair.source.setBandwidth(rate)
    const began = performance.now()
    const sent = await pair.source.sendRound(order(0))
    const seconds = (performance.now() - began) / 1000
    expect(seconds).toBeGreaterThanOrEqual(sent.bytes / rate - 0.01)
    await pair.destination.placed(0)
    expect(same(pair.from, pair.to)).toBe(true)
  })

  it('a limit can be lifted in the middle of a round', async () => {
    const pair = atEnd(await openPair({ memoryBytes: 16 * MIB, channels: 2 }))
    pair.from.bytes.fill(3)
    pair.source.setBandwidth(1000)
    const round = pair.source.sendRound(order(0))
    await new Promise((resolve) => setTimeout(resolve, 50))
    pair.source.setBandwidth(null)
    await Promise.all([round, pair.destination.placed(0)])
    expect(same(pair.from, pair.to)).toBe(true)
  })
})

/** A hand-made destination: sends `first`, collects control messages until the connection ends. */
function stranger(port: number, first: Buffer): Promise<ChannelMessage[]> {
  const heard: ChannelMessage[] = []
  const reader = new ControlFrameReader(decodeChannel)
  return new Promise((resolve) => {
    const socket = connect(port, LOOPBACK, () => socket.write(first))
    socket.on('data', (bytes) => reader.push(bytes, (message) => heard.push(message)))
    socket.on('error', () => {})
    socket.on('close', () => resolve(heard))
  })
}
const hello = (more: Partial<MessageOf<'hello'>> = {}): Buffer =>
  encodeControl({ type: 'hello', version: 1, ...identity, channel: 0, capabilities: [], ...more })

describe('failures', () => {
  it('strangers are told their mistake and cost nothing; the right one is still let in (R14)', async () => {
    const memory = GuestMemory.create(MIB, 1)
    const where = { host: LOOPBACK, portRange: ANY_PORT }
    const source = atEnd(await ThreadedPageSource.listen({ memory, channels: 1, ...where, ...identity, locked: null }))
    const port = source.ports[0] as number
    const code = async (first: Buffer): Promise<string | undefined> => {
      const [message] = await stranger(port, first)
      return message?.type === 'abort' ? message.error.code : message?.type
    }
    expect(await code(hello({ token: '0'.repeat(32) }))).toBe('bad-token')
    expect(await code(hello({ migration: '0'.repeat(32) }))).toBe('bad-token')
    expect(await code(hello({ generation: 4 }))).toBe('bad-token')
    expect(await code(hello({ channel: 1 }))).toBe('bad-token')
    expect(await code(hello({ version: 2 }))).toBe('wrong-version')
    expect(await code(Buffer.from('GET / HTTP/1.1\r\nhost: x\r\n\r\n'))).toBe('bad-magic')
    const other = hello()
    other[4] = 9
    expect(await code(other)).toBe('wrong-version')
    expect(await code(encodeControl({ type: 'commit', epoch: 1 }))).toBe('unexpected-message')
    const to = GuestMemory.create(MIB, 1)
    const dial = { memory: to, host: LOOPBACK, ports: source.ports, ...identity, hash: false }
    atEnd(await ThreadedPageDestination.dial(dial))
    await source.connected(AbortSignal.timeout(5000))
  })

  it('a destination that is refused says why', async () => {
    const memory = GuestMemory.create(MIB, 1)
    const where = { host: LOOPBACK, portRange: ANY_PORT }
    const source = atEnd(await ThreadedPageSource.listen({ memory, channels: 1, ...where, ...identity, locked: null }))
    const dial = { memory: GuestMemory.create(MIB, 1), host: LOOPBACK, ports: source.ports, hash: false }
    const refused = ThreadedPageDestination.dial({ ...dial, ...identity, token: 'f'.repeat(32) })
    await expect(refused).rejects.toMatchObject({ code: 'bad-token' })
  })

  it('a taken range is no-port, a closed port unreachable', async () => {
    const pair = atEnd(await openPair({ memoryBytes: MIB, channels: 1 }))
    const memory = GuestMemory.create(MIB, 1)
    const first = await relay(1, () => {})
    const range = [first.port, first.port] as const
    const none = ThreadedPageSource.listen({
      memory,
      channels: 1,
      host: LOOPBACK,
      portRange: range,
      ...identity,
      locked: null,
    })
    await expect(none).rejects.toMatchObject({ code: 'no-port' })
    first.close()
    const dial = { memory, host: LOOPBACK, ports: [first.port], ...identity, hash: false }
    await expect(ThreadedPageDestination.dial(dial)).rejects.toMatchObject({ code: 'unreachable' })
    expect(pair.source.ports).toHaveLength(1)
  })

  it('a cut rejects both sides with link-lost, now and later', async () => {
    let cut = false
    const through = async (ports: readonly number[]) => {
      const cutter = await relay(ports[1] as number, (bytes, to, from) => {
        if (!cut) to.write(bytes)
        else {
          to.destroy()
          from.destroy()
        }
      })
      atEnd(cutter)
      return [ports[0] as number, cutter.port]
    }
    const pair = atEnd(await openPair({ memoryBytes: 32 * MIB, channels: 2, through }))
    fillMixed(pair.from, 1)
    cut = true
    const sent = pair.source.sendRound(order(0))
    sent.catch(() => {}) // whichever side notices first
    const placed = pair.destination.placed(0)
    await expect(placed).rejects.toMatchObject({ code: 'link-lost' })
    await sent.catch((thrown) => expect(thrown).toMatchObject({ code: 'link-lost' }))
    await expect(pair.destination.placed(1)).rejects.toMatchObject({ code: 'link-lost' })
    await expect(pair.source.sendRound(order(1))).rejects.toMatchObject({ code: 'link-lost' })
  })

  it('a stream that breaks a rule is named on both sides', async () => {
    // Bytes from here on to the encoding of the first run of the first page frame, whatever portions they come in.
    let left = Number.POSITIVE_INFINITY
    const through = async (ports: readonly number[]) => {
      const faulty = await relay(ports[0] as number, (bytes, to) => {
        if (left >= 0 && left < bytes.length) bytes[left] = 77
        left -= bytes.length
        to.write(bytes)
      })
      atEnd(faulty)
      return [faulty.port]
    }
    const pair = atEnd(await openPair({ memoryBytes: 16 * MIB, channels: 1, through }))
    pair.from.bytes.fill(6)
    left = 16 + 8 + 8
    const sent = pair.source.sendRound(order(0))
    sent.catch(() => {})
    await expect(pair.destination.placed(0)).rejects.toMatchObject({ code: 'bad-encoding' })
    // The frame after the corrupted one would fail as well; the source hears of the first.
    const later = sent.then(() => pair.source.sendRound(order(1)))
    await expect(Promise.race([later, sent.then(() => later)])).rejects.toMatchObject({ code: 'bad-encoding' })
  })

  it('an abort ends a limited round early, and closing ends every thread', async () => {
    const pair = await openPair({ memoryBytes: 16 * MIB, channels: 2 })
    pair.from.bytes.fill(3)
    pair.source.setBandwidth(1000)
    const round = pair.source.sendRound(order(0))
    round.catch(() => {})
    Atomics.store(pair.from.controlWords, HEADER.abort, 1)
    await expect(round).rejects.toMatchObject({ code: 'cancelled' })
    await pair.close()
    await pair.close()
  })
})
