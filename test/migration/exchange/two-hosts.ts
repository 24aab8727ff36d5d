// One guest on two hosts in one process: two memories with vCPU threads each, and an exchange between them over loopback,
// through a relay that can cut it. The test in the place of the sessions: handshakes, crossings, links.

import { randomBytes } from 'node:crypto'
import { onTestFinished } from 'vitest'
import { GodwitError } from '../../../src/errors.ts'
import { resetAsks } from '../../../src/guest/asks.ts'
import type { GuestConfig } from '../../../src/guest/config.ts'
import { HEADER } from '../../../src/guest/layout.ts'
import { GuestMemory } from '../../../src/guest/memory.ts'
import { vcpuWords } from '../../../src/guest/safepoint.ts'
import { beginSharing, isOurs, presenceOf } from '../../../src/guest/sharing.ts'
import type { GuestVcpus } from '../../../src/guest/vcpus.ts'
import { digestTotal, loadKernels, resetDigest } from '../../../src/kernels/kernels.ts'
import { ThreadedExchange } from '../../../src/migration/exchange/threaded-exchange.ts'
import { startGuest } from '../../programs/guest-fixture.ts'
import { Relay } from '../../support/relay.ts'

export const LOOPBACK = '127.0.0.1'
export const newIdentity = () => ({
  migration: randomBytes(16).toString('hex'),
  token: randomBytes(16).toString('hex'),
})

export interface Side {
  readonly memory: GuestMemory
  readonly vcpus: GuestVcpus
  readonly exchange: ThreadedExchange
  /** Which vCPUs run here. */
  readonly here: boolean[]
}

/** All page hashes, as pre-copy leaves them. */
export function hashAll(memory: GuestMemory): void {
  resetDigest(memory)
  const { layout } = memory
  loadKernels(memory).hashRun(0, layout.pageCount, layout.hashes, layout.threadBlocks)
}

export class TwoHosts {
  readonly source: Side
  readonly destination: Side
  readonly relay: Relay
  readonly cuts: GodwitError[] = []
  readonly config: GuestConfig
  #generation = 0
  #linking: Promise<void> = Promise.resolve()
  #over = false

  private constructor(source: Side, destination: Side, relay: Relay, config: GuestConfig) {
    this.source = source
    this.destination = destination
    this.relay = relay
    this.config = config
  }

  /**
   * A guest that runs at the source; the destination has a copy of what it was before it began to run here, all of which it
   * may use where the source has written nothing since.
   */
  static async begin(
    changes: Partial<GuestConfig>,
    options: { programsDirectory?: string; delayMs?: number; direct?: boolean } = {},
  ) {
    const { delayMs = 0, direct = false, ...more } = options
    const from = await startGuest(changes, more)
    const { config } = from
    await from.vcpus.pause()
    // The end of pre-copy: cards and dirty bits are clear, everything is at the destination.
    const kernels = loadKernels(from.memory)
    const { layout } = from.memory
    for (const table of layout.cards) from.memory.controlBytes.fill(0, table, table + layout.pageCount)
    void kernels
    const copy = GuestMemory.create(config.memoryBytes, config.vcpus)
    copy.bytes.set(from.memory.bytes)
    copy.free.set(from.memory.free)
    for (const memory of [from.memory, copy]) {
      hashAll(memory)
      resetAsks(memory)
      Atomics.store(memory.controlWords, HEADER.abort, 0)
    }
    if (digestTotal(copy) !== digestTotal(from.memory)) throw new Error('the copy differs')
    beginSharing(from.memory, true)
    beginSharing(copy, false)
    const to = await startGuest(config, { ...more, startPaused: true, memory: copy })
    const identity = newIdentity()
    const common = { ...identity, hash: true }
    const listen = { role: 'listens', host: LOOPBACK, portRange: [0, 0] } as const
    const quietOf = (vcpus: GuestVcpus) => async () => void (await vcpus.handshake())
    const first = await ThreadedExchange.create({
      ...common,
      memory: from.memory,
      where: listen,
      quiet: quietOf(from.vcpus),
    })
    onTestFinished(() => first.close())
    const relay = await Relay.open([first.port], delayMs)
    onTestFinished(() => relay.close())
    const where = { role: 'dials', port: direct ? first.port : (relay.ports[0] as number) } as const
    const second = await ThreadedExchange.create({ ...common, memory: copy, where, quiet: quietOf(to.vcpus) })
    onTestFinished(() => second.close())
    const all = Array.from({ length: config.vcpus }, (_, vcpu) => vcpu)
    const sides = [
      { memory: from.memory, vcpus: from.vcpus, exchange: first, here: all.map(() => true) },
      { memory: copy, vcpus: to.vcpus, exchange: second, here: all.map(() => false) },
    ] as const
    const both = new TwoHosts(...sides, relay, config)
    onTestFinished(() => {
      both.#over = true
    })
    for (const vcpu of all) await to.vcpus.hold(vcpu)
    for (const side of sides) {
      side.exchange.onCut((error) => both.#cut(error))
      side.exchange.onArrived((vcpu, state) => {
        side.vcpus.loadOne(vcpu, state)
        side.here[vcpu] = true
        side.vcpus.release(vcpu)
      })
    }
    await both.link()
    const shared = sides.map(({ vcpus }) => vcpus.setShared(true))
    for (const side of sides) side.vcpus.resume()
    await Promise.all(shared)
    return both
  }

  /** A new link, dialled until there is one. */
  link(): Promise<void> {
    this.#linking = this.#linking.then(async () => {
      for (let attempt = 0; !this.#over; attempt++) {
        const generation = ++this.#generation
        const { signal } = new AbortController()
        const up = [
          this.source.exchange.link(generation, null, signal),
          this.destination.exchange.link(generation, LOOPBACK, signal),
        ]
        const both = await Promise.allSettled(up.map((one) => Promise.race([one, later(3000)])))
        if (both.every(({ status }) => status === 'fulfilled')) return
        if (attempt > 50) throw new Error('no link')
      }
    })
    return this.#linking
  }

  #cut(error: GodwitError): void {
    this.cuts.push(error)
    if (error.code === 'link-lost' && !this.#over) this.link().catch(() => {})
  }

  /** Moves a vCPU from where it runs to the other side. False: a cut brought it back. */
  async cross(vcpu: number): Promise<boolean> {
    const from = this.source.here[vcpu] ? this.source : this.destination
    await this.#hold(from, vcpu)
    const state = from.vcpus.saveOne(vcpu)
    from.here[vcpu] = false
    try {
      await from.exchange.cross(vcpu, state)
      return true
    } catch (thrown) {
      if (GodwitError.from(thrown).code !== 'cancelled') throw thrown
      from.here[vcpu] = true
      from.vcpus.release(vcpu)
      return false
    }
  }

  /** A vCPU that waits for a page while there is no link is not at a boundary in time; it gets there once there is one. */
  async #hold(from: Side, vcpu: number): Promise<void> {
    for (let attempt = 0; ; attempt++) {
      try {
        await from.vcpus.hold(vcpu)
        return
      } catch (thrown) {
        if (attempt === 10) throw new Error(`${this.#waits()}`, { cause: thrown })
      }
    }
  }

  /** What is waited for, and who has it. */
  #waits(): string {
    return JSON.stringify(
      [this.source, this.destination].map(({ memory }) =>
        this.source.here.map((_, vcpu) => {
          const page = (memory.controlWords[vcpuWords(memory, vcpu).faultPage] as number) - 1
          return { page, at: [this.source, this.destination].map((side) => presenceOf(side.memory)[page]) }
        }),
      ),
    )
  }

  /** Pages of the side that owns them; both must own all of them together, none twice. */
  ownedTwice(): number[] {
    const [a, b] = [presenceOf(this.source.memory), presenceOf(this.destination.memory)]
    return [...a.keys()].filter((page) => isOurs(a[page] as number) === isOurs(b[page] as number))
  }
}

const later = (ms: number): Promise<never> =>
  new Promise((_, reject) => setTimeout(() => reject(new Error('no link in time')), ms).unref())
