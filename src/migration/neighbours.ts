// Gang migration (Deshpande, Wang, Gopalan, HPDC 2011) and dedup across guests (CloudNet, VEE 2011): pages that another
// guest of the destination's agent holds already need not cross the network. Before `ready` the destination tells the
// hashes of these neighbours' pages, under this session's seed; the source makes an index of them and refers to a page
// where it finds the content. Hashes are hints: the destination hashes what it places, and the digest proves the result.
// Both sessions call this.

import { ForeignIndex, type SharedForeignIndex } from '../encoding/foreign-index.ts'
import { COPY_HASHES, MAX_FOREIGN_PAGES, MAX_MEMORY_BYTES, MAX_NEIGHBOURS, PAGE_BYTES } from '../limits.ts'
import type { MessageOf } from '../wire/messages.ts'
import type { Clock, ControlLink, Neighbour, PageDestination } from './ports.ts'
import { tellPart, unexpectedlyTold } from './telling.ts'

/** The guests beside the one that comes in, as its session asks them. */
export interface Neighbourhood {
  readonly guests: readonly Neighbour[]
  /**
   * Hashes, u64 each, of pages of the guest of this index, under the session's seed; overwritten when it is asked again.
   * Rejects when it does not answer in time, and from then on.
   */
  hashes(guest: number, first: number, count: number): Promise<Uint8Array>
  close(): void
}

interface Destination {
  readonly clock: Clock
  readonly neighbours: Neighbourhood | null
}

/**
 * Destination: asks its neighbours and tells the source what they hold. One that does not answer is left out; of one that
 * goes while it is being asked the rest is told as zeros, which nobody refers to. Returns how many were told of.
 */
export async function tellNeighbours(
  control: ControlLink,
  pages: PageDestination,
  { neighbours, clock }: Destination,
): Promise<number> {
  if (neighbours === null) return 0
  const { guests } = neighbours
  const told: Neighbour[] = []
  try {
    // All at once: those that are gone cost the time of one.
    const asking = guests.map((guest, index) => neighbours.hashes(index, 0, stepOf(guest, 0)).catch(() => null))
    const firsts = await Promise.all(asking)
    for (const [guest, hashes] of firsts.entries()) {
      if (hashes === null) continue
      await tell(control, clock, neighbours, { guest, index: told.length, hashes })
      told.push(guests[guest] as Neighbour)
    }
  } finally {
    neighbours.close()
  }
  pages.share(told)
  return told.length
}

const stepOf = ({ pages }: Neighbour, first: number): number => Math.min(COPY_HASHES, pages - first)

/** Tells of all pages of one neighbour, whose first hashes are there. */
async function tell(
  control: ControlLink,
  clock: Clock,
  neighbours: Neighbourhood,
  { guest, index, hashes }: { guest: number; index: number; hashes: Uint8Array },
): Promise<void> {
  const neighbour = neighbours.guests[guest] as Neighbour
  let step: Uint8Array | null = hashes
  for (let first = 0; first < neighbour.pages; ) {
    const count = stepOf(neighbour, first)
    if (first > 0 && step !== null) step = await neighbours.hashes(guest, first, count).catch(() => null)
    const entries = step?.slice(0, 8 * count) ?? new Uint8Array(8 * count)
    await tellPart(control, clock, { type: 'neighbour', index, pages: neighbour.pages, first, hashes: entries })
    first += count
  }
}

/** Source: takes in what the destination tells of its neighbours, up to `ready`. */
export class NeighbourLearner {
  readonly #told: Uint8Array[] = []
  /** Of the neighbours told of so far, the last one included. */
  #pages = 0
  #index = -1
  #expected = 0
  #of = 0

  /** Whether a neighbour was told of. */
  get begun(): boolean {
    return this.#index >= 0
  }

  /** Throws `unexpected-message` for what is out of order or above a cap. */
  take({ index, pages, first, hashes }: MessageOf<'neighbour'>): void {
    const count = hashes.length / 8
    const next = this.#expected === this.#of
    const inOrder = next ? index === this.#index + 1 && first === 0 : index === this.#index && first === this.#expected
    const same = next || pages === this.#of
    if (!inOrder || !same || first + count > pages) {
      throw unexpectedlyTold(`hashes of ${count} of ${pages} pages from page ${first} on, of neighbour ${index}`)
    }
    if (next) this.#pages += pages
    if (index >= MAX_NEIGHBOURS || pages > MAX_MEMORY_BYTES / PAGE_BYTES || this.#pages > MAX_FOREIGN_PAGES) {
      throw unexpectedlyTold(`neighbour ${index} with ${pages} pages, ${this.#pages} in all`)
    }
    this.#index = index
    this.#of = pages
    this.#expected = first + count
    this.#told.push(hashes)
  }

  /** What was told as an index; null: nothing was. Throws `unexpected-message` when the last neighbour is not complete. */
  async index(breathe: () => Promise<void>): Promise<SharedForeignIndex | null> {
    if (!this.begun) return null
    if (this.#expected !== this.#of)
      throw unexpectedlyTold(`hashes of ${this.#expected} of ${this.#of} pages of a neighbour`)
    const memory = ForeignIndex.create(this.#pages)
    const index = new ForeignIndex(memory)
    let first = 0
    for (const hashes of this.#told) {
      index.add(first, hashes)
      first += hashes.length / 8
      await breathe()
    }
    return memory
  }
}
