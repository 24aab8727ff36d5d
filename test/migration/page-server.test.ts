// The page server on a virtual clock, with a destination that dials again and again: a link that takes long to bring up
// comes up in the end, and the lanes of two generations are never open together (R23).

import { expect, test } from 'vitest'
import { GuestMemory } from '../../src/guest/memory.ts'
import { relinkMs } from '../../src/limits.ts'
import { PageServer } from '../../src/migration/page-server.ts'
import type { ControlLink, PageSource } from '../../src/migration/ports.ts'
import type { SourceContext } from '../../src/migration/source-context.ts'
import { SourceLinks } from '../../src/migration/source-links.ts'
import type { SourceOwnership } from '../../src/migration/source-ownership.ts'
import { SimulatedControl } from '../simulation/simulated-control.ts'
import { VirtualClock } from '../simulation/virtual-clock.ts'

const NOTHING_MISSING = new Uint8Array(2)

/** Opening lanes takes the source `openMs`, dialling them the destination `dialMs`. */
class Recovery {
  readonly clock = new VirtualClock()
  mostOpen = 0
  #open = 0
  #arrived: (link: ControlLink) => void = () => {}
  #dialled: () => void = () => {}
  readonly #openMs: number
  readonly #dialMs: number

  constructor(openMs: number, dialMs: number) {
    this.#openMs = openMs
    this.#dialMs = dialMs
  }

  /** Serves until the destination has every page; resolves with the recoveries. */
  async serve(): Promise<number> {
    const links = new SourceLinks()
    const first = new SimulatedControl(this.clock, 1)
    links.use(first.source)
    links.usePages(this.#lanes())
    first.cut(0, 0)
    const ownership = {
      state: 'serving',
      apply: (event: string) => {
        if (event === 'complete') ownership.state = 'done'
      },
    }
    const server = new PageServer(this.#context(), links, ownership as unknown as SourceOwnership)
    const [completion] = await Promise.all([server.serve(true), this.#destination()])
    expect(completion?.type).toBe('complete')
    return server.recoveries
  }

  #lanes(): PageSource {
    this.#open++
    this.mostOpen = Math.max(this.mostOpen, this.#open)
    let closed = false
    return {
      pullCounts: { pushed: 0, asked: 0, skipped: 0, zeroPages: 0 },
      bytes: { sent: 0, received: 0, control: 0 },
      failed: new Promise<never>(() => {}),
      setBandwidth: () => {},
      pull: () => {},
      close: async () => {
        if (!closed) this.#open--
        closed = true
      },
    } as unknown as PageSource
  }

  #context(): SourceContext {
    const { clock } = this
    return {
      id: 'a'.repeat(32),
      clock,
      memory: GuestMemory.create(65_536, 1),
      settings: { bandwidth: null, pushOrder: 'linear' },
      report: { facts: { pull: { pages: 0 } }, sentPages: 0 },
      askPeerAgent: async () => 'unknown',
      redialled: (signal: AbortSignal) =>
        new Promise<ControlLink>((resolve, reject) => {
          this.#arrived = resolve
          signal.addEventListener('abort', () => reject(signal.reason), { once: true })
        }),
      openLanes: async () => {
        // The ports are taken from the beginning on.
        const pages = this.#lanes()
        await clock.sleep(this.#openMs)
        const connected = new Promise<void>((resolve) => {
          this.#dialled = resolve
        })
        return { pages, connected }
      },
    } as unknown as SourceContext
  }

  async #destination(): Promise<void> {
    for (;;) {
      await this.clock.sleep(100)
      const { source, destination } = new SimulatedControl(this.clock, 1)
      this.#arrived(source)
      destination.send({ type: 'active', epoch: 2, leftAt: [], activateMs: 0 })
      try {
        const lanes = await destination.receive()
        if (lanes.type !== 'lanes') throw new Error(lanes.type)
        const broken = destination.receive()
        await Promise.race([this.clock.sleep(this.#dialMs), broken])
        this.#dialled()
        destination.send({ type: 'missing', generation: lanes.generation, pages: NOTHING_MISSING })
        // Once more nothing comes for a while: only a link that is up stays.
        await Promise.race([this.clock.sleep(2 * relinkMs(0)), broken])
        const done = { digest: null, written: null, dropped: 0, faults: [], shared: null }
        destination.send({ type: 'complete', epoch: 2, ...done })
        return await this.clock.sleep(100)
      } catch {
        destination.close()
      }
    }
  }
}

test.each([
  [10, 10],
  [0.7 * relinkMs(0), 0.6 * relinkMs(0)],
  [3.5 * relinkMs(0), 10],
])('lanes that take %i ms to open and %i ms to dial', async (openMs, dialMs) => {
  const recovery = new Recovery(openMs, dialMs)
  expect(await recovery.clock.run(recovery.serve(), 100 * relinkMs(0))).toBe(1)
  expect(recovery.mostOpen).toBe(1)
})
