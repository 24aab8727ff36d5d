// Crossings between two small guests that are nobody's, in one thread and without a socket: what an exchange thread does
// while a vCPU stands still has run before, with nothing to lose. Its first run takes ten times as long. Played by
// exchange-thread.ts in pieces, while the rounds go on and clients want the processor, and to its end before the first link.

import { GuestMemory } from '../../guest/memory.ts'
import { beginSharing, homesOf } from '../../guest/sharing.ts'
import { loadKernels } from '../../kernels/kernels.ts'
import { MIN_MEMORY_BYTES, REHEARSAL_CROSSINGS } from '../../limits.ts'
import { encodeApplied } from '../../wire/exchange-frames.ts'
import { ExchangeReader } from '../../wire/exchange-reader.ts'
import { ExchangeCore } from './core.ts'
import { freshCore } from './core-state.ts'
import { frameLink, hearing } from './core-wire.ts'
import { SharedPages } from './shared-pages.ts'
import type { ExchangeHost } from './sides.ts'

const MEMORY_BYTES = 16 * MIN_MEMORY_BYTES
const REGISTER_BYTES = 1024
/** Every so manieth page stays behind. */
const GAP = 9
const NOTHING = (): void => {}
const WINDOW = { sent: NOTHING, acked: NOTHING, fault: NOTHING, room: () => true, batchPages: () => 1 }

class Side {
  readonly core: ExchangeCore
  readonly memory = GuestMemory.create(MEMORY_BYTES, 1)
  #handshake = false
  #wire: Uint8Array[] = []

  constructor(first: boolean, hash: boolean) {
    beginSharing(this.memory, first)
    const pages = new SharedPages(this.memory, loadKernels(this.memory), hash)
    const link = frameLink((frame) => this.#wire.push(frame))
    this.core = new ExchangeCore(freshCore(pages, first), pages, link, this.#host())
  }

  /** Lets everything happen that can; what is sent reaches `reader`. */
  run(reader: ExchangeReader): void {
    this.core.acknowledge()
    this.core.pump()
    while (this.#handshake) {
      this.#handshake = false
      this.core.quiet()
    }
    for (const frame of this.#wire.splice(0)) reader.push(frame)
  }

  reader(): ExchangeReader {
    return new ExchangeReader(this.memory.layout, { control: NOTHING, ...hearing(this.core) })
  }

  #host(): ExchangeHost {
    return {
      now: () => 0,
      revoke: () => {
        this.#handshake = true
      },
      mayPush: () => true,
      window: () => WINDOW,
      crossed: NOTHING,
      cancelled: NOTHING,
      arrived: NOTHING,
      drained: NOTHING,
      count: NOTHING,
    }
  }
}

/** One vCPU goes to and fro with all its pages; each turn is one crossing. */
export function* rehearsal(hash: boolean): Generator<void, void> {
  const sides = [new Side(true, hash), new Side(false, hash)] as const
  const readers = [sides[0].reader(), sides[1].reader()] as const
  const counts = sides.map(({ core }) => encodeApplied(core.begin()))
  for (const [index, count] of counts.entries()) readers[1 - index]?.push(count)
  const state = { steps: 1, registers: new Uint8Array(REGISTER_BYTES) }
  for (let turn = 0; turn < REHEARSAL_CROSSINGS; turn++) {
    const [from, to] = [turn % 2, 1 - (turn % 2)] as [0 | 1, 0 | 1]
    // Many runs, as in life.
    const homes = homesOf(sides[from].memory).fill(1)
    for (let page = turn % GAP; page < homes.length; page += GAP) homes[page] = 0
    sides[from].core.cross(0, state)
    sides[from].run(readers[to])
    sides[to].run(readers[from])
    yield
  }
}
