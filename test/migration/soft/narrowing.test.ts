// Rounds for one vCPU before it crosses: which pages they take, and what becomes of these when a round does not arrive.

import { describe, expect, test } from 'vitest'
import { GodwitError } from '../../../src/errors.ts'
import { GuestMemory } from '../../../src/guest/memory.ts'
import { addPage, countBits, hasPage } from '../../../src/guest/page-set.ts'
import { PRESENCE } from '../../../src/guest/presence.ts'
import { beginSharing, generationsOf, homesOf, presenceOf, staleAtSwitch } from '../../../src/guest/sharing.ts'
import { loadKernels } from '../../../src/kernels/kernels.ts'
import { Narrowing } from '../../../src/migration/soft/narrowing.ts'
import type { SourceContext } from '../../../src/migration/source-context.ts'

const PAGES = 512
const VCPU = 0
const turn = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

/** Pages 0–99 are vCPU 0's and stale; each round waits for the test. */
function begin() {
  const memory = GuestMemory.create(PAGES * 4096, 2)
  const { dirty, toSend } = memory.layout
  beginSharing(memory, true)
  homesOf(memory).fill(VCPU + 1, 0, 200)
  homesOf(memory).fill(2, 200, 300)
  for (let page = 0; page < 100; page++) addPage(memory, dirty, page)
  const sent = Promise.withResolvers<unknown>()
  const placed = Promise.withResolvers<unknown>()
  const failed = Promise.withResolvers<never>()
  const slept = Promise.withResolvers<void>()
  failed.promise.catch(() => {})
  const seen = { rounds: [] as number[], closed: 0, reported: 0 }
  const context = {
    memory,
    kernels: loadKernels(memory),
    vcpus: { swapCards: async () => ({ retired: 0, ms: 0 }) },
    orInterrupt: <T>(promise: Promise<T>) => promise,
    slowestHandshakeMs: 0,
    hashing: false,
    clock: { now: () => performance.now(), sleep: () => slept.promise },
    report: { round: () => seen.reported++ },
    placed: () => placed.promise,
    control: { close: () => seen.closed++ },
    pages: {
      failed: failed.promise,
      sendRound: () => {
        seen.rounds.push(countBits(memory, toSend))
        // As threads do: what is sent is in the set no more.
        memory.controlBytes.fill(0, toSend, toSend + PAGES / 8)
        return sent.promise
      },
    },
  }
  const narrowing = new Narrowing(context as unknown as SourceContext, 3)
  const stale = (): number => countBits(memory, dirty)
  return { memory, narrowing, seen, sent, placed, failed, slept, stale }
}

const SENT = { sent: 100, skipped: 0, bytes: 1, free: 0, encodings: {}, verdict: null }

/** Resolves with 'pending' when the promise does nothing for a while. */
async function outcomeOf(promise: Promise<unknown>): Promise<unknown> {
  const late = (async () => {
    for (let turns = 0; turns < 5; turns++) await turn()
    return 'pending'
  })()
  return await Promise.race([
    promise.then(
      () => 'settled',
      (thrown) => GodwitError.from(thrown).code,
    ),
    late,
  ])
}

describe('a round before a vCPU crosses', () => {
  test('takes the stale pages of that vCPU that are here, moved never, and have the free bit that the destination knows', async () => {
    const { memory, narrowing, seen, sent, placed } = begin()
    const { dirty, free } = memory.layout
    // Of another vCPU; not here any more; moved since; freed since; used again since; free before, and known so.
    for (let page = 200; page < 250; page++) addPage(memory, dirty, page)
    presenceOf(memory).fill(PRESENCE.absent, 0, 10)
    generationsOf(memory).fill(3, 10, 20)
    memory.controlBytes.fill(1, free + 20, free + 30)
    memory.controlBytes.fill(1, free + 40, free + 45)
    narrowing.toldFree = new Uint8Array(PAGES / 8)
    for (let page = 30; page < 45; page++) (narrowing.toldFree[page >> 3] as number) |= 1 << (page & 7)
    const done = narrowing.narrow(VCPU)
    await turn()
    expect(seen.rounds).toEqual([100 - 40])
    for (const page of [5, 15, 25, 35, 205]) expect(hasPage(memory, dirty, page)).toBe(true)
    for (const page of [42, 50, 99]) expect(hasPage(memory, dirty, page)).toBe(false)
    sent.resolve(SENT)
    placed.resolve({})
    await done
    expect(seen).toMatchObject({ closed: 0, reported: 1 })
  })

  test('counts what was stale at the switch, and what was not', async () => {
    const { memory, narrowing, sent, placed } = begin()
    for (let page = 0; page < 70; page++) addPage(memory, staleAtSwitch(memory.layout), page)
    sent.resolve(SENT)
    placed.resolve({})
    await narrowing.narrow(VCPU)
    expect(narrowing.placed).toEqual({ pages: 100, again: 30 })
    expect(countBits(memory, staleAtSwitch(memory.layout))).toBe(0)
  })

  test('that nobody waits for any more is under way until it is placed', async () => {
    const { memory, narrowing, sent, placed } = begin()
    const done = narrowing.narrow(VCPU)
    await turn()
    sent.resolve(SENT)
    narrowing.end()
    await done
    expect(await outcomeOf(narrowing.settled())).toBe('settled')
    // A page of it is to be given: not before it is placed.
    presenceOf(memory)[7] = PRESENCE.absent
    const settled = narrowing.settled()
    expect(await outcomeOf(settled)).toBe('pending')
    placed.resolve({})
    expect(await outcomeOf(settled)).toBe('settled')
  })

  test('that is cut off makes its pages stale again, and none is given on the same link', async () => {
    const { memory, narrowing, sent, placed, stale } = begin()
    const done = narrowing.narrow(VCPU)
    await turn()
    sent.resolve(SENT)
    placed.reject(new GodwitError('link-lost', 'cut'))
    await done
    expect(stale()).toBe(100)
    expect(narrowing.placed.pages).toBe(0)
    expect(await outcomeOf(narrowing.settled())).toBe('settled')
    presenceOf(memory)[7] = PRESENCE.absent
    expect(await outcomeOf(narrowing.settled())).toBe('link-lost')
    narrowing.renewed()
    expect(await outcomeOf(narrowing.settled())).toBe('settled')
  })

  test('whose channels fail takes the control link along: only a new link ends it', async () => {
    const { narrowing, seen, failed, stale } = begin()
    const done = narrowing.narrow(VCPU)
    await turn()
    failed.reject(new GodwitError('link-lost', 'a channel'))
    await done
    expect([seen.closed, stale()]).toEqual([1, 100])
    // There are no more rounds.
    await narrowing.narrow(VCPU)
    expect(seen.rounds).toHaveLength(1)
  })

  test('that is never placed does so, too', async () => {
    const { narrowing, seen, sent, slept, stale } = begin()
    const done = narrowing.narrow(VCPU)
    await turn()
    sent.resolve(SENT)
    expect(await outcomeOf(done)).toBe('pending')
    slept.resolve()
    await done
    expect([seen.closed, stale()]).toEqual([1, 100])
  })

  test('is not begun for a handful of pages', async () => {
    const { memory, narrowing, seen, stale } = begin()
    presenceOf(memory).fill(PRESENCE.absent, 16, 100)
    await narrowing.narrow(VCPU)
    expect([seen.rounds, stale()]).toEqual([[], 100])
  })
})
