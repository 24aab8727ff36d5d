// A destination that breaks the rules of the pull phase at the source's lanes: named errors, bounded memory, no crash.

import type { Socket } from 'node:net'
import { afterEach, describe, expect, it, vi } from 'vitest'
import type { GodwitError } from '../../../src/errors.ts'
import { HEADER } from '../../../src/guest/layout.ts'
import { GuestMemory } from '../../../src/guest/memory.ts'
import { countBits } from '../../../src/guest/page-set.ts'
import type { ThreadedPageSource } from '../../../src/migration/transfer/source-transfer.ts'
import { encodeHeader, FRAME_HEADER_BYTES, FRAME_TYPE } from '../../../src/wire/frame.ts'
import { encodeNeeds, NEED, type Need, needOf } from '../../../src/wire/needs.ts'
import { dialLane, openSource, PAGE } from './pull-pair.ts'

vi.setConfig({ testTimeout: 120_000 })
const PAGES = 4096
const endings: (() => unknown)[] = []
afterEach(async () => {
  for (const end of endings.splice(0).reverse()) await end()
})
const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))

const needs = (kind: Need, pages: readonly number[]): Buffer =>
  encodeNeeds(
    Uint32Array.from(pages, (page) => needOf(kind, page)),
    pages.length,
  )
const range = (from: number, count: number): number[] => Array.from({ length: count }, (_, index) => from + index)
const GOT = Buffer.alloc(FRAME_HEADER_BYTES)
encodeHeader(GOT, 0, { type: FRAME_TYPE.got, length: 0, round: 0 })

interface Lanes {
  from: GuestMemory
  source: ThreadedPageSource
  bulk: Socket
  urgent: Socket
  /** Bytes of the urgent lane so far. */
  answered(): number
  failure(): Promise<string>
}

/** Both lanes of a source with one channel. */
async function lanes(): Promise<Lanes> {
  const from = GuestMemory.create(PAGES * PAGE, 1)
  from.bytes.fill(3)
  const source = await openSource(from, 1)
  endings.push(() => source.close())
  const [bulk, urgent] = await Promise.all(source.ports.map(dialLane))
  if (bulk === undefined || urgent === undefined) throw new Error('two lanes were expected')
  endings.push(
    () => bulk.destroy(),
    () => urgent.destroy(),
  )
  await source.connected(AbortSignal.timeout(20_000))
  let bytes = 0
  urgent.on('data', (more) => {
    bytes += more.length
  })
  const failure = (): Promise<string> =>
    Promise.race([
      source.failed.catch(
        (error: GodwitError) => `${error.code} ${error.side ?? ''}${error.code === 'internal' ? error.message : ''}`,
      ),
      wait(60_000).then(() => 'nothing'),
    ])
  return { from, source, bulk, urgent, answered: () => bytes, failure }
}
/** Header, head, entry and content of one raw page. */
const ONE_ANSWER = FRAME_HEADER_BYTES + 8 + 16 + PAGE

async function until(condition: () => boolean, what: string): Promise<void> {
  const end = performance.now() + 30_000
  while (!condition()) {
    if (performance.now() > end) throw new Error(`waited in vain: ${what}`)
    await wait(1)
  }
}

describe('a hostile destination', () => {
  type Attack = (at: Lanes) => void
  const malformed = (change: (frame: Buffer) => void): Buffer => {
    const frame = needs(NEED.fault, [1])
    change(frame)
    return frame
  }
  const attacks: [string, string, Attack][] = [
    ['bad-run destination', 'a page outside the guest', ({ urgent }) => urgent.write(needs(NEED.fault, [5, PAGES]))],
    [
      'bad-run destination',
      'a page far outside, not needed',
      ({ urgent }) => urgent.write(needs(NEED.unneeded, [2 ** 30 - 1])),
    ],
    ['bad-frame ', 'an unknown kind', ({ urgent }) => urgent.write(malformed((frame) => frame.writeUInt8(0xc0, 19)))],
    [
      'bad-message ',
      'a need of nothing',
      ({ urgent }) => urgent.write(malformed((frame) => frame.writeUInt32LE(0, 8))),
    ],
    ['bad-frame ', 'half an entry', ({ urgent }) => urgent.write(malformed((frame) => frame.writeUInt32LE(3, 8)))],
    [
      'frame-too-long ',
      'too many entries',
      ({ urgent }) => urgent.write(malformed((frame) => frame.writeUInt32LE(1028, 8))),
    ],
    ['bad-magic ', 'noise', ({ urgent }) => urgent.write(Buffer.alloc(64, 9))],
    ['unexpected-message destination', 'a need on a bulk lane', ({ bulk }) => bulk.write(needs(NEED.fault, [5]))],
    ['unexpected-message destination', 'an acknowledgement on the urgent lane', ({ urgent }) => urgent.write(GOT)],
    ['link-lost ', 'the end of a lane', ({ bulk }) => bulk.end()],
  ]
  it.each([false, true])('is named, whatever it does (before the pull begins: %s)', async (early) => {
    for (const [named, what, attack] of attacks) {
      const at = await lanes()
      // What is asked before the pull begins is looked at when it does.
      if (early) attack(at)
      if (early) await wait(10)
      at.source.pull({ push: 'linear' })
      if (!early) await wait(10)
      if (!early) attack(at)
      expect(await at.failure(), what).toBe(named)
      for (const end of endings.splice(0).reverse()) await end()
    }
  })

  it('acknowledges what was never sent, before the pull and in it: unexpected-message', async () => {
    for (const before of [true, false]) {
      const at = await lanes()
      if (before) at.bulk.write(GOT)
      else {
        at.from.controlBytes.fill(0, at.from.layout.toSend, at.from.layout.toSend + PAGES / 8)
        at.source.pull({ push: 'linear' })
        await wait(50)
        at.bulk.write(GOT)
      }
      expect(await at.failure()).toBe('unexpected-message destination')
    }
  })

  it('floods faults before the pull: unexpected-message; notes are no faults and are let pass', async () => {
    const flooding = await lanes()
    for (let frame = 0; frame < 5; frame++) flooding.urgent.write(needs(NEED.fault, range(0, 256)))
    expect(await flooding.failure()).toBe('unexpected-message destination')

    // A guest that wrote many whole pages while the link was down (R23) is no flood.
    const writing = await lanes()
    const before = writing.source.bytes.received
    const notes = Buffer.concat(
      range(0, 16).map((frame) => needs(NEED.unneeded, range(PAGES - 256 * (frame + 1), 256))),
    )
    writing.urgent.write(notes)
    await until(() => writing.source.bytes.received === before + notes.length, 'the notes')
    writing.source.setBandwidth(1)
    writing.source.pull({ push: 'linear' })
    await until(() => writing.source.pullCounts.skipped === 1024, 'the notes that were kept')
    writing.urgent.write(needs(NEED.fault, [2000]))
    await until(() => writing.answered() === ONE_ANSWER, 'an answer')
  })

  it('floods "again" and reads no answers: unexpected-message, and memory stays bounded', async () => {
    const at = await lanes()
    at.urgent.pause()
    at.source.pull({ push: 'linear' })
    const frame = needs(NEED.again, range(0, 256))
    const before = process.memoryUsage().rss
    let stop = false
    const failed = at.failure().then((code) => {
      stop = true
      return code
    })
    for (let turn = 0; turn < 20_000 && !stop; turn++) {
      if (!at.urgent.write(frame)) await new Promise((resolve) => setTimeout(resolve, 0))
    }
    expect(await failed).toBe('unexpected-message destination')
    // What it goes on to ask for is not even kept.
    for (let turn = 0; turn < 4000; turn++) at.urgent.write(frame)
    await wait(100)
    expect(process.memoryUsage().rss - before).toBeLessThan(256 * 1024 * 1024)
  })

  it('asks for pages that are sent already, for ever: they are sent once', async () => {
    const at = await lanes()
    at.from.controlBytes.fill(0, at.from.layout.toSend, at.from.layout.toSend + PAGES / 8)
    at.from.controlBytes[at.from.layout.toSend] = 0xff
    at.source.pull({ push: 'linear' })
    for (let turn = 0; turn < 500; turn++) at.urgent.write(needs(NEED.fault, range(0, 256)))
    await until(() => at.source.bytes.received > 500 * 1024, 'the asks')
    await until(() => at.source.pullCounts.pushed + at.source.pullCounts.asked === 8, 'eight pages')
    expect(countBits(at.from, at.from.layout.toSend)).toBe(0)
    expect(Atomics.load(at.from.controlWords, HEADER.pivotTurn)).toBeGreaterThan(0)
  })
})

describe('an honest one', () => {
  it('that asks a moment too early is answered when the pull begins', async () => {
    const at = await lanes()
    at.source.setBandwidth(1)
    at.urgent.write(needs(NEED.fault, [4000]))
    await wait(50)
    expect(at.answered()).toBe(0)
    at.source.pull({ push: 'linear' })
    await until(() => at.answered() === ONE_ANSWER, 'the answer')
    at.urgent.write(needs(NEED.fault, [4001]))
    await until(() => at.answered() === 2 * ONE_ANSWER, 'the second')
  })
})
