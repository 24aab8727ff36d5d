// The pull phase through real lanes and sockets: every order and number of channels, faults, cuts and ends.

import { afterEach, describe, expect, it, vi } from 'vitest'
import { resetAfterCut } from '../../../src/guest/installing.ts'
import { HEADER } from '../../../src/guest/layout.ts'
import { PRESENCE } from '../../../src/guest/presence.ts'
import { PEER_SILENT_MS } from '../../../src/limits.ts'
import { PUSH_ORDERS } from '../../../src/migration/settings.ts'
import { digests, fillMixed, relay, same } from './pair.ts'
import { openPullPair, PAGE } from './pull-pair.ts'

// Every link is a handful of threads; a busy machine takes seconds to start them.
vi.setConfig({ testTimeout: 120_000 })

const endings: (() => unknown)[] = []
const atEnd = <T extends { close(): unknown }>(thing: T): T => {
  endings.push(() => thing.close())
  return thing
}
afterEach(async () => {
  for (const end of endings.splice(0).reverse()) await end()
})
const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))
async function until(condition: () => boolean, what: string): Promise<void> {
  const end = performance.now() + 30_000
  while (!condition()) {
    if (performance.now() > end) throw new Error(`waited in vain: ${what}`)
    await wait(1)
  }
}

describe.each(PUSH_ORDERS)('%s', (push) => {
  it.each([
    [1, 4096],
    [3, 16],
  ])('%d channels, %d pages: every page arrives once, asked for or not', async (channels, pages) => {
    const pair = atEnd(await openPullPair({ pages, channels }))
    fillMixed(pair.from, 77)
    pair.source.pull({ push })
    for (let turn = 0; turn < 30 && pair.missing() > 0; turn++) {
      for (const vcpu of [0, 1, 2, 3]) pair.ask((turn * 977 + vcpu * 331) % pages, vcpu)
      await wait(0)
    }
    await pair.destination.pulled
    expect(pair.missing()).toBe(0)
    expect(same(pair.from, pair.to)).toBe(true)
    const [ours, theirs] = digests(pair.from, pair.to)
    expect(theirs).toBe(ours)
    const { pushed, asked, skipped, zeroPages } = pair.source.pullCounts
    expect([pushed + asked, skipped, pair.destination.dropped]).toEqual([pages, 0, 0])
    expect(zeroPages).toBeGreaterThanOrEqual(Math.floor(pages / 3))
    expect(pair.source.progress().pages).toBe(pages)
  })
})

describe('asked for', () => {
  it('a page comes at once, the first and the last too, and no page twice', async () => {
    const pair = atEnd(await openPullPair({ pages: 4096, channels: 1 }))
    fillMixed(pair.from, 7)
    // Slow enough that most pages are still to come, however long the answers to six questions take.
    pair.source.setBandwidth(100_000)
    pair.source.pull({ push: 'linear' })
    for (const page of [4095, 0, 3000, 31, 32, 2999]) {
      pair.ask(page)
      const state = (): number => Atomics.load(pair.to.controlBytes, pair.to.layout.presence + page)
      await until(() => state() === PRESENCE.installed, `page ${page}`)
    }
    expect(pair.missing()).toBeGreaterThan(2000)
    pair.source.setBandwidth(null)
    await pair.destination.pulled
    expect(same(pair.from, pair.to)).toBe(true)
    const { pushed, asked } = pair.source.pullCounts
    expect([pushed + asked, asked > 0]).toEqual([4096, true])
  })

  it('before the source begins: answered when it does', async () => {
    const pair = atEnd(await openPullPair({ pages: 64, channels: 1 }))
    fillMixed(pair.from, 7)
    for (const vcpu of [0, 1, 2, 3]) pair.ask(vcpu * 21, vcpu)
    await wait(30)
    expect(pair.missing()).toBe(64)
    pair.source.pull({ push: 'around-the-fault' })
    await pair.destination.pulled
    expect(same(pair.from, pair.to)).toBe(true)
  })
})

describe('not needed', () => {
  it('pages written here are skipped or dropped: pushed + asked + skipped make up all of them', async () => {
    const pair = atEnd(await openPullPair({ pages: 4096, channels: 3 }))
    fillMixed(pair.from, 9)
    // Slow enough that none of the pages below is pushed before its note has come.
    pair.source.setBandwidth(100_000)
    pair.source.pull({ push: 'linear' })
    const written: number[] = []
    const { layout, controlWords, controlBytes } = pair.to
    const block = layout.vcpuBlocks / 4
    for (let page = 4095; page > 3000; page -= 9) {
      if (Atomics.compareExchange(controlBytes, layout.presence + page, PRESENCE.absent, PRESENCE.local) !== 0) continue
      pair.to.bytes.fill(0x11, page * PAGE, (page + 1) * PAGE)
      Atomics.sub(controlWords, HEADER.missing, 1)
      const turn = controlWords[block + 3072 / 4] as number
      controlWords[block + 3080 / 4 + (turn % 254)] = page
      Atomics.store(controlWords, block + 3072 / 4, turn + 1)
      written.push(page)
      Atomics.add(controlWords, HEADER.asks, 1)
      Atomics.notify(controlWords, HEADER.asks)
    }
    await until(() => pair.source.pullCounts.skipped === written.length, 'the notes')
    pair.source.setBandwidth(null)
    await until(() => pair.missing() === 0, 'the rest')
    await until(() => pair.source.pullCounts.pushed + written.length === 4096, 'the counts')
    for (const page of written) expect(pair.to.bytes[page * PAGE]).toBe(0x11)
    expect([pair.destination.dropped, pair.source.pullCounts.asked]).toEqual([0, 0])
  })
})

/** Changes the last byte before `end` that is content for certain: in tables nothing is so long 0x33. False: there is none. */
function spoil(bytes: Buffer, end: number): boolean {
  const at = bytes.subarray(0, end).lastIndexOf(Buffer.alloc(32, 0x33))
  if (at >= 0) bytes[at + 16] = 0x34
  return at >= 0
}

describe('corrupted on the way', () => {
  it('a page is asked for again, and the digests are equal at the end (R10)', async () => {
    let spoilt = 0
    const through = async (ports: readonly number[]) => {
      const faulty = await relay(ports[0] as number, (bytes, to) => {
        // Not two in one page: half of a portion and half of the next lie between them.
        if (bytes.length > 2 * PAGE && spoilt < 5 && spoil(bytes, bytes.length / 2)) spoilt++
        to.write(bytes)
      })
      atEnd(faulty)
      return [faulty.port, ...ports.slice(1)]
    }
    const pair = atEnd(await openPullPair({ pages: 4096, channels: 1, through }))
    pair.from.bytes.fill(0x33)
    pair.source.pull({ push: 'linear' })
    await pair.destination.pulled
    expect(spoilt).toBe(5)
    expect(same(pair.from, pair.to)).toBe(true)
    const [ours, theirs] = digests(pair.from, pair.to)
    expect(theirs).toBe(ours)
    const { pushed, asked } = pair.source.pullCounts
    expect(pushed + asked).toBe(4096 + 5)
  })

  it('a page that is spoilt every time ends in bad-page', async () => {
    const through = async (ports: readonly number[]) =>
      Promise.all(
        ports.map(async (port) => {
          const faulty = await relay(port, (bytes, to) => {
            spoil(bytes, bytes.length)
            to.write(bytes)
          })
          return atEnd(faulty).port
        }),
      )
    const pair = atEnd(await openPullPair({ pages: 16, channels: 1, through }))
    pair.from.bytes.fill(0x33)
    pair.source.pull({ push: 'linear' })
    await expect(pair.destination.failed).rejects.toMatchObject({ code: 'bad-page' })
  })
})

describe('cuts and ends', () => {
  it('cut in the middle of frames, three times: what is missing comes over the next link (R23)', async () => {
    const pages = 4096
    let pair = await openPullPair({ pages, channels: 3 })
    const memories = { from: pair.from, to: pair.to }
    fillMixed(pair.from, 3)
    for (let cut = 0; cut < 3; cut++) {
      pair.source.setBandwidth(30_000_000)
      pair.source.pull({ push: PUSH_ORDERS[cut % PUSH_ORDERS.length] as (typeof PUSH_ORDERS)[number] })
      const before = pair.missing()
      pair.ask(4000 - cut)
      await until(() => pair.missing() < before - 100, 'progress')
      await pair.destination.close()
      await pair.source.close()
      resetAfterCut(pair.to)
      const states = pair.to.controlBytes.subarray(pair.to.layout.presence, pair.to.layout.presence + pages)
      expect(states.filter((state) => state === PRESENCE.absent).length).toBe(pair.missing())
      expect(states.every((state) => state === PRESENCE.absent || state === PRESENCE.installed)).toBe(true)
      pair = await openPullPair({ pages, channels: 3, memories })
    }
    atEnd(pair)
    pair.source.setBandwidth(null)
    const left = pair.missing()
    pair.source.pull({ push: 'linear' })
    await pair.destination.pulled
    expect(same(memories.from, memories.to)).toBe(true)
    const [ours, theirs] = digests(memories.from, memories.to)
    expect(theirs).toBe(ours)
    const { pushed, asked } = pair.source.pullCounts
    expect(pushed + asked).toBe(left)
  })

  it('closing ends every lane soon: while it waits for the link, for its peer, or for nothing', async () => {
    for (const mode of ['slow', 'deaf', 'idle']) {
      let deaf = false
      const through = async (ports: readonly number[]) =>
        Promise.all(
          ports.map(async (port) => {
            const hole = await relay(port, (bytes, to) => {
              if (!deaf) to.write(bytes)
            })
            return atEnd(hole).port
          }),
        )
      const pair = await openPullPair({ pages: 8192, channels: 2, through })
      pair.from.bytes.fill(5)
      if (mode === 'slow') pair.source.setBandwidth(1000)
      deaf = mode === 'deaf'
      if (mode !== 'idle') pair.source.pull({ push: 'linear' })
      await wait(100)
      const began = performance.now()
      await Promise.all([pair.source.close(), pair.destination.close()])
      // It waits neither for its link nor for its peer; a thread that does would be ended in half a second.
      expect(performance.now() - began, mode).toBeLessThan(PEER_SILENT_MS)
    }
  })
})
