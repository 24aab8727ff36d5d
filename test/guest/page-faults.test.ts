// vCPU threads that meet absent pages (R4, R6, R8, R9, R23): they ask once, park inside their step, and go on when the page
// comes; handshakes pass meanwhile, pauses wait for the boundary.

import { describe, expect, test } from 'vitest'
import { faultsOf } from '../../src/guest/asks.ts'
import { missingPages, resetAfterCut, writtenPages } from '../../src/guest/installing.ts'
import { PRESENCE } from '../../src/guest/presence.ts'
import { VCPU } from '../../src/guest/safepoint-machine.ts'
import { OP, PAGE, PAGES, pullingGuest, until, wait } from './puller.ts'

const FULL = 0x07070707

describe('a read of an absent page', () => {
  test('parks inside its step until the page is installed, and is counted (R4, R6)', async () => {
    for (const page of [0, PAGES - 1]) {
      const guest = await pullingGuest(1)
      guest.order(0, OP.load, page * PAGE + 40)
      await until(() => guest.parkedInside(0), 'the park')
      expect([guest.presence(page), guest.missing(), guest.done(0)]).toEqual([PRESENCE.requested, PAGES, false])
      expect(guest.asks()).toEqual({ faults: [page], unneeded: [] })
      expect(guest.asks()).toEqual({ faults: [], unneeded: [] })
      const parkedBy = performance.now()
      await wait(5)
      expect(guest.parkedInside(0)).toBe(true)
      const parkedMs = performance.now() - parkedBy
      guest.bring(page, 7)
      await until(() => guest.done(0), 'the load')
      expect([guest.value(0), guest.missing()]).toEqual([FULL, PAGES - 1])
      const [faults] = faultsOf(guest.memory)
      expect([faults?.network, faults?.localWait, faults?.histogram.reduce((a, b) => a + b, 0)]).toEqual([1, 0, 1])
      expect(faults?.stallMs).toBeGreaterThanOrEqual(parkedMs)
      expect(faults?.longestMs).toBeCloseTo(faults?.stallMs as number, 6)
      // R8: INSTALLED is enough; PRESENT, too.
      guest.order(0, OP.load, page * PAGE)
      await until(() => guest.done(0), 'the second load')
      expect(guest.asks().faults).toEqual([])
    }
  })

  test('of a page on its way in waits without asking; a spoilt one goes on waiting (R10)', async () => {
    const guest = await pullingGuest(1)
    expect(guest.installer.claim(5)).toBe('claimed')
    guest.order(0, OP.store, 5 * PAGE, 99)
    await until(() => guest.parkedInside(0), 'the park')
    expect(guest.asks().faults).toEqual([])
    guest.installer.spoil(5)
    await wait(5)
    expect([guest.presence(5), guest.parkedInside(0)]).toEqual([PRESENCE.requested, true])
    guest.bring(5, 1)
    await until(() => guest.done(0), 'the store')
    expect(guest.memory.bytes[5 * PAGE]).toBe(99)
    expect(faultsOf(guest.memory)[0]).toMatchObject({ network: 0, localWait: 1 })
  })

  test('by two vCPUs is asked for once, and wakes both', async () => {
    const guest = await pullingGuest(3)
    for (const vcpu of [0, 1]) guest.order(vcpu, OP.load, 3 * PAGE)
    guest.order(2, OP.load, 4 * PAGE)
    await until(() => [0, 1, 2].every(guest.parkedInside), 'three parks')
    expect(guest.asks().faults.sort()).toEqual([3, 4])
    guest.bring(3, 7)
    await until(() => guest.done(0) && guest.done(1), 'two loads')
    expect([guest.value(0), guest.value(1), guest.parkedInside(2)]).toEqual([FULL, FULL, true])
    const [a, b] = faultsOf(guest.memory)
    expect([(a?.network ?? 0) + (b?.network ?? 0), (a?.localWait ?? 0) + (b?.localWait ?? 0)]).toEqual([1, 1])
    guest.bring(4, 7)
    await until(() => guest.done(2), 'the third')
  })

  test('lets other vCPUs step on', async () => {
    const guest = await pullingGuest(2)
    guest.order(0, OP.load, 0)
    await until(() => guest.parkedInside(0), 'the park')
    guest.bring(1, 7)
    guest.order(1, OP.load, PAGE)
    await until(() => guest.done(1), 'the other vCPU')
    expect(guest.parkedInside(0)).toBe(true)
  })
})

describe('handshakes while a vCPU is parked inside (R4)', () => {
  test('swaps and handshakes complete, and it marks in the new table when it goes on', async () => {
    const guest = await pullingGuest(2)
    guest.order(0, OP.store, 2 * PAGE, 5)
    await until(() => guest.parkedInside(0), 'the park')
    await guest.vcpus.handshake()
    expect((await guest.vcpus.swapCards()).retired).toBe(0)
    guest.bring(2, 0)
    await until(() => guest.done(0), 'the store')
    const { cards } = guest.memory.layout
    // R5: the swap was obeyed before the store, so the retired table stays quiet (R1).
    expect([guest.memory.controlBytes[cards[0] + 2], guest.memory.controlBytes[cards[1] + 2]]).toEqual([0, 1])
    await guest.vcpus.handshake()
  })

  test('a pause times out by name, the guest runs on, and a later one completes at the boundary', async () => {
    const guest = await pullingGuest(2)
    guest.order(1, OP.load, 2 * PAGE)
    await until(() => guest.parkedInside(1), 'the park')
    const stuck = guest.vcpus.pause()
    await expect(stuck).rejects.toMatchObject({ code: 'vcpu-stuck', message: expect.stringContaining('vCPU 1') })
    guest.bring(3, 7)
    guest.order(0, OP.load, 3 * PAGE)
    await until(() => guest.done(0), 'vCPU 0 runs on')
    const pause = guest.vcpus.pause()
    await wait(20)
    expect(guest.phase(1)).toBe(VCPU.parkedInside)
    guest.bring(2, 7)
    await pause
    expect([guest.done(1), guest.value(1)]).toEqual([true, FULL])
    expect([guest.phase(0), guest.phase(1)]).toEqual([VCPU.parkedBoundary, VCPU.parkedBoundary])
    guest.vcpus.save()
    guest.vcpus.resume()
    await guest.vcpus.running()
  })
})

describe('pages that need not come (R9, R17)', () => {
  test('a whole page is written at once, noted, counted, and never asked for', async () => {
    const guest = await pullingGuest(1)
    for (const page of [0, 7, PAGES - 1]) {
      guest.order(0, OP.whole, page * PAGE, 9)
      await until(() => guest.done(0), 'the write')
      expect([guest.presence(page), guest.memory.bytes[page * PAGE + 4095]]).toEqual([PRESENCE.local, 9])
      expect(guest.memory.controlBytes[guest.memory.layout.cards[0] + page]).toBe(1)
    }
    expect(guest.missing()).toBe(PAGES - 3)
    expect(guest.asks()).toEqual({ faults: [], unneeded: [0, 7, PAGES - 1] })
    expect(guest.installer.claim(7)).toBe('written-here')
    expect([...(writtenPages(guest.memory) ?? [])]).toEqual([0x81, 0x80])
    expect([...missingPages(guest.memory)]).toEqual([0x7e, 0x7f])
    // Part of a page needs the rest of it.
    guest.order(0, OP.part, 8 * PAGE, 9)
    await until(() => guest.parkedInside(0), 'the park')
    expect(guest.asks()).toEqual({ faults: [8], unneeded: [] })
    guest.bring(8, 1)
    await until(() => guest.done(0), 'the part')
    expect([...guest.memory.bytes.subarray(8 * PAGE + 7, 8 * PAGE + 9)]).toEqual([9, 1])
  })

  test('a whole page that somebody waits for, or that is on its way in, is written when it has come', async () => {
    const guest = await pullingGuest(2)
    guest.order(0, OP.load, 6 * PAGE)
    await until(() => guest.parkedInside(0), 'the park')
    guest.order(1, OP.whole, 6 * PAGE, 9)
    await until(() => guest.parkedInside(1), 'the writer')
    expect(guest.asks()).toEqual({ faults: [6], unneeded: [] })
    guest.bring(6, 7)
    await until(() => guest.done(0) && guest.done(1), 'both')
    expect(guest.memory.bytes[6 * PAGE]).toBe(9)
    expect(guest.installer.claim(6)).toBe('here-already')
  })

  test('free and reuse claim absent pages; reuse gives zeroes', async () => {
    const guest = await pullingGuest(1)
    guest.memory.bytes.fill(0xdd)
    guest.order(0, OP.free, 4)
    await until(() => guest.done(0), 'free')
    guest.order(0, OP.reuse, 5)
    await until(() => guest.done(0), 'reuse')
    expect([guest.presence(4), guest.presence(5), guest.missing()]).toEqual([PRESENCE.local, PRESENCE.local, 14])
    expect(guest.asks()).toEqual({ faults: [], unneeded: [4, 5] })
    expect([guest.memory.free[4], guest.memory.bytes[5 * PAGE], guest.memory.bytes[6 * PAGE]]).toEqual([1, 0, 0xdd])
    guest.order(0, OP.reuse, 4)
    await until(() => guest.done(0), 'reuse')
    expect([guest.memory.free[4], guest.memory.bytes[4 * PAGE + 9], guest.missing()]).toEqual([0, 0, 14])
    // One that was asked for is awaited first: nothing may be placed over it afterwards.
    expect(guest.installer.claim(9)).toBe('claimed')
    guest.order(0, OP.reuse, 9)
    await until(() => guest.parkedInside(0), 'the park')
    guest.memory.bytes.fill(3, 9 * PAGE, 10 * PAGE)
    guest.installer.install(9)
    await until(() => guest.done(0), 'reuse')
    expect(guest.memory.bytes[9 * PAGE]).toBe(0)
  })

  test('more notes than the ring holds: the first are told, the others are dropped when they come', async () => {
    const guest = await pullingGuest(1)
    for (let time = 0; time < 3; time++) {
      for (let page = 0; page < PAGES; page++) {
        guest.order(0, OP.whole, page * PAGE, page)
        await until(() => guest.done(0), 'the write')
        expect(guest.installer.claim(page)).toBe('written-here')
      }
    }
    expect(guest.missing()).toBe(0)
    expect(guest.asks().unneeded).toEqual(Array.from({ length: PAGES }, (_, page) => page))
  })
})

describe('what is refused', () => {
  test.each([-PAGE, -1, PAGES * PAGE, PAGES * PAGE + 4, 2 ** 32, 2 ** 40, Number.NaN, Number.POSITIVE_INFINITY])(
    'address %d throws RangeError, as with plain accessors, and claims nothing',
    async (address) => {
      const guest = await pullingGuest(1)
      guest.bring(0, 0) // Addresses that wrap, and NaN, look at page 0 before they are refused.
      for (const operation of [OP.load, OP.store, OP.whole, OP.part, OP.loadBytes, OP.u8, OP.f64, OP.u16]) {
        guest.order(0, operation, address, 1)
        await until(() => guest.done(0), `operation ${operation}`)
        expect(guest.threw(0)).toBe(true)
      }
      expect([guest.missing(), guest.asks()]).toEqual([PAGES - 1, { faults: [], unneeded: [] }])
    },
  )

  test.each([-1, PAGES, 0.5, 2 ** 32, Number.NaN])('free and reuse of page %d', async (page) => {
    const guest = await pullingGuest(1)
    for (const operation of [OP.free, OP.reuse]) {
      guest.order(0, operation, page)
      await until(() => guest.done(0), 'the refusal')
      expect(guest.threw(0)).toBe(true)
    }
    expect([guest.missing(), guest.asks()]).toEqual([PAGES, { faults: [], unneeded: [] }])
  })
})

describe('cuts and the end', () => {
  test('after a cut the parked ask anew, once a page; what was on its way in is missing (R23)', async () => {
    const guest = await pullingGuest(3)
    guest.order(0, OP.load, PAGE)
    guest.order(1, OP.load, PAGE)
    await until(() => guest.parkedInside(0) && guest.parkedInside(1), 'two parks')
    expect(guest.asks().faults).toEqual([1])
    expect(guest.installer.claim(2)).toBe('claimed')
    guest.order(2, OP.load, 2 * PAGE)
    await until(() => guest.parkedInside(2), 'the third')
    for (let cut = 0; cut < 20; cut++) {
      resetAfterCut(guest.memory)
      await until(() => guest.presence(1) === PRESENCE.requested && guest.presence(2) === PRESENCE.requested, 'asks')
      await until(() => [0, 1, 2].every(guest.parkedInside), 'parks')
      // Both vCPUs may have noted an ask of page 1 if the first was never taken; none is forgotten.
      expect([...new Set(guest.asks().faults)].sort()).toEqual([1, 2])
      expect(guest.missing()).toBe(PAGES)
    }
    for (const page of [1, 2]) guest.bring(page, 7)
    await until(() => [0, 1, 2].every(guest.done), 'all')
    expect([0, 1, 2].map(guest.value)).toEqual([FULL, FULL, FULL])
  })

  test('installs and faults at the same time lose no wake-up', async () => {
    const guest = await pullingGuest(2)
    for (let turn = 0; turn < 40; turn++) {
      const page = turn % PAGES
      Atomics.store(guest.memory.controlBytes, guest.memory.layout.presence + page, PRESENCE.absent)
      for (const vcpu of [0, 1]) guest.order(vcpu, OP.load, page * PAGE)
      // Sometimes before they ask, sometimes while, sometimes after.
      const end = performance.now() + (turn % 8) * 0.02
      while (performance.now() < end);
      guest.bring(page, turn)
      await until(() => guest.done(0) && guest.done(1), `turn ${turn}`)
    }
  })

  test('when pulling ends, accessors are the plain ones: presence is not looked at any more', async () => {
    const guest = await pullingGuest(1)
    guest.vcpus.setPulling(false)
    await guest.vcpus.handshake()
    guest.order(0, OP.load, 9 * PAGE)
    await until(() => guest.done(0), 'the load')
    expect([guest.presence(9), guest.asks().faults]).toEqual([PRESENCE.absent, []])
    guest.vcpus.setPulling(true)
    await guest.vcpus.handshake()
    guest.order(0, OP.load, 9 * PAGE)
    await until(() => guest.parkedInside(0), 'the park')
  })

  test('only the pages of the bitmap are absent; a parked vCPU can be ended', async () => {
    const guest = await pullingGuest(1, Uint8Array.of(0x01, 0x80))
    expect(guest.missing()).toBe(2)
    for (let page = 1; page < PAGES - 1; page++) expect(guest.presence(page)).toBe(PRESENCE.present)
    guest.order(0, OP.load, (PAGES - 1) * PAGE)
    await until(() => guest.parkedInside(0), 'the park')
    await guest.vcpus.close()
  })
})
