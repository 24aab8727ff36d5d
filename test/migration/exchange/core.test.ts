// What a side of the exchange does about cuts that come at a bad moment: between two real page tables, without threads, sockets
// or time, so that the moment is exactly that one.

import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { GuestMemory } from '../../../src/guest/memory.ts'
import { PRESENCE } from '../../../src/guest/presence.ts'
import { beginSharing, homesOf, isOurs, presenceOf } from '../../../src/guest/sharing.ts'
import { loadKernels } from '../../../src/kernels/kernels.ts'
import { PUSH_LOOK_PAGES, PUSH_REST_MS } from '../../../src/limits.ts'
import { ExchangeCore } from '../../../src/migration/exchange/core.ts'
import { freshCore } from '../../../src/migration/exchange/core-state.ts'
import { frameLink, hearing } from '../../../src/migration/exchange/core-wire.ts'
import { SharedPages } from '../../../src/migration/exchange/shared-pages.ts'
import type { ExchangeCounter, ExchangeHost } from '../../../src/migration/exchange/sides.ts'
import { encodeApplied } from '../../../src/wire/exchange-frames.ts'
import { ExchangeReader } from '../../../src/wire/exchange-reader.ts'

const PAGES = 256
const NOTHING = (): void => {}
const WINDOW = { sent: NOTHING, acked: NOTHING, fault: NOTHING, room: () => true, batchPages: () => 64 }
const state = { steps: 1, registers: new Uint8Array(1024) }

class Side {
  readonly memory: GuestMemory
  readonly pages: SharedPages
  readonly state: ReturnType<typeof freshCore>
  readonly core: ExchangeCore
  /** A handshake was asked for and has not ended. */
  handshake = false
  wire: Uint8Array[] = []
  /** How much was ours each time it was said that nothing is left. */
  readonly drained: number[] = []
  readonly cancelled: number[] = []
  readonly counts: Partial<Record<ExchangeCounter, number>> = {}

  constructor(first: boolean, pages = PAGES) {
    this.memory = GuestMemory.create(pages * 4096, 2)
    beginSharing(this.memory, first)
    this.pages = new SharedPages(this.memory, loadKernels(this.memory), false)
    this.state = freshCore(this.pages, first)
    const link = frameLink((frame) => this.wire.push(frame))
    this.core = new ExchangeCore(this.state, this.pages, link, this.#host())
  }

  get ours(): number {
    return presenceOf(this.memory).filter(isOurs).length
  }

  reader(): ExchangeReader {
    return new ExchangeReader(this.memory.layout, { control: NOTHING, ...hearing(this.core) })
  }

  /** One turn; handshakes end at once. */
  turn(): void {
    this.core.acknowledge()
    this.core.pump()
    while (this.handshake) this.quiet()
  }

  quiet(): void {
    this.handshake = false
    this.core.quiet()
  }

  #host(): ExchangeHost {
    let now = 0
    return {
      // Rests are over when they are looked at.
      now: () => (now += 100),
      revoke: () => {
        this.handshake = true
      },
      mayPush: () => true,
      window: () => WINDOW,
      crossed: NOTHING,
      cancelled: (vcpu) => this.cancelled.push(vcpu),
      arrived: NOTHING,
      drained: () => this.drained.push(this.ours),
      count: (what, more) => {
        this.counts[what] = (this.counts[what] ?? 0) + more
      },
    }
  }
}

class Pair {
  readonly source: Side
  readonly destination: Side
  readonly #sides: readonly Side[]
  #readers: ExchangeReader[] = []

  constructor(pages = PAGES) {
    this.source = new Side(true, pages)
    this.destination = new Side(false, pages)
    this.#sides = [this.source, this.destination]
    this.link()
  }

  /** What is under way is lost, and a new link begins. */
  link(): void {
    for (const side of this.#sides) side.core.cut()
    this.#readers = this.#sides.map((side) => side.reader())
    for (const side of this.#sides) side.wire = [encodeApplied(side.core.begin())]
    this.deliver()
  }

  deliver(): void {
    for (const [index, side] of this.#sides.entries()) {
      for (const frame of side.wire.splice(0)) this.#readers[1 - index]?.push(frame)
    }
  }

  /** Until nothing more happens: longer than a page that came is kept (R28), a millisecond a turn. */
  settle(): void {
    for (let turn = 0; turn < 8 * PUSH_REST_MS; turn++) {
      for (const side of this.#sides) side.turn()
      this.deliver()
      nowMs++
    }
  }
}

/** The time by which pages rest: a machine that stands still makes it no longer. */
let nowMs = 0
beforeEach(() => {
  nowMs = 1000
  vi.spyOn(performance, 'now').mockImplementation(() => nowMs)
})
afterEach(() => {
  vi.restoreAllMocks()
})

test('who is to cross while there is no link stays, and so does who waits for his turn when it is cut', () => {
  const { source } = new Pair()
  source.core.cross(1, state)
  source.core.cut()
  expect(source.cancelled).toEqual([1])
  source.core.cross(0, state)
  expect(source.cancelled).toEqual([1, 0])
  // Either may try again.
  source.core.cross(1, state)
})

test('pages that were to cross with a vCPU stay when a cut and a new link come before their handshake ends', () => {
  const pair = new Pair()
  const { source, destination } = pair
  homesOf(source.memory).fill(1, 10, 60)
  source.core.cross(0, state)
  source.core.pump()
  expect(source.ours).toBe(PAGES - 50)
  pair.link()
  expect(source.cancelled).toEqual([0])
  source.quiet()
  expect(source.ours).toBe(PAGES)
  expect(source.state.leaving.some(Boolean)).toBe(false)
  // And nothing stands in their way later.
  source.core.cross(0, state)
  pair.settle()
  expect([source.ours, destination.ours]).toEqual([PAGES - 50, 50])
})

test('what a cut brings back is pushed again before anybody says that nothing is left', () => {
  const pair = new Pair()
  const { source, destination } = pair
  source.core.push('everything')
  source.turn()
  expect(source.ours).toBe(0)
  // All of it is lost on the way.
  pair.link()
  expect([source.ours, source.drained]).toEqual([PAGES, []])
  pair.settle()
  expect([source.ours, destination.ours, source.drained]).toEqual([0, PAGES, [0]])
})

test('what a cut brings back behind a pass that is under way is not overlooked', () => {
  // More pages of others than are looked at in one go, behind those that are wanted.
  const pair = new Pair(PUSH_LOOK_PAGES + 1024)
  const { source } = pair
  homesOf(source.memory).fill(2).fill(1, 0, 10)
  source.core.push([0, 1])
  source.core.pump()
  source.quiet()
  // Gone and not confirmed, and a pass that finds nothing wanted has begun.
  expect(source.ours).toBe(PUSH_LOOK_PAGES + 1014)
  while (source.state.push.mine > 0 || source.state.push.cursor === 0) source.turn()
  pair.link()
  pair.settle()
  expect(source.drained).toEqual([PUSH_LOOK_PAGES + 1014])
})

test('what comes back to a side that had nothing left is given once more', () => {
  const pair = new Pair()
  const { source, destination } = pair
  source.core.push('everything')
  pair.settle()
  expect(source.drained).toEqual([0])
  // What the destination gave before it was told to stop is still on its way.
  destination.core.push('everything')
  destination.turn()
  destination.core.push(null)
  expect(destination.ours).toBe(0)
  pair.settle()
  expect([source.ours, destination.ours]).toEqual([0, PAGES])
})

test('pages that the other side finds to differ go with their data once there is a link again', () => {
  const pair = new Pair()
  const { source, destination } = pair
  source.core.push('everything')
  source.turn()
  expect(source.counts).toMatchObject({ withoutData: PAGES })
  source.core.distrust()
  pair.link()
  pair.settle()
  expect(destination.ours).toBe(PAGES)
  expect(source.counts).toMatchObject({ withoutData: PAGES, pushed: PAGES })
  // What came after that is believed again.
  source.core.push(null)
  destination.core.push('everything')
  pair.settle()
  expect(source.ours).toBe(PAGES)
  source.core.push('everything')
  destination.core.push(null)
  source.turn()
  pair.link()
  pair.settle()
  expect([destination.ours, source.counts.pushed]).toEqual([PAGES, PAGES])
})

test('a handshake that fails publishes nothing, and loses nothing that is to be published', () => {
  const { memory, pages } = new Side(false)
  const presence = presenceOf(memory)
  pages.arrive(5, 2, 0)
  pages.arriveRuns(Uint32Array.of(20, 10, 2, 0))
  pages.handshakeBegins()
  // It failed. One more comes, and the next handshake does not.
  pages.arrive(6, 2, 0)
  pages.handshakeBegins()
  pages.handshakeEnds()
  expect([5, 6, 20, 29].map((page) => presence[page])).toEqual(new Array(4).fill(PRESENCE.present))
})
