// How a lane of the destination gets the pages that a frame wants of other guests: asks each of them for its share, reads
// the answers into the lane's own copies and lets the stream reader place them. Nothing of the stream is read meanwhile.
//
//   foreign page   │ neighbour 0: 0 … p0-1 │ neighbour 1: p0 … p0+p1-1 │ …

import { NEIGHBOUR_PAGES_MS } from '../../limits.ts'
import type { StreamReader } from '../../wire/stream-reader.ts'
import type { Neighbour } from '../ports.ts'
import { NeighbourLink } from './neighbour-link.ts'

interface Source {
  readonly link: NeighbourLink
  /** Foreign pages [first, end). */
  readonly first: number
  readonly end: number
}

export class ForeignPages {
  readonly #reader: StreamReader
  readonly #known = Promise.withResolvers<readonly Source[]>()
  #sources: readonly Source[] = []

  constructor(reader: StreamReader) {
    this.#reader = reader
  }

  /** The neighbours that the source was told of, in that order. */
  share(neighbours: readonly Neighbour[]): void {
    let end = 0
    this.#sources = neighbours.map(({ path, pages }) => {
      const first = end
      end += pages
      return { link: new NeighbourLink(path, this.#reader.copies), first, end }
    })
    this.#known.resolve(this.#sources)
  }

  /** Gets and places what the frame just read wants; what cannot be had is missing. Never rejects. */
  async fetch(): Promise<void> {
    const { wanted } = this.#reader
    for (const source of await this.#known.promise) {
      const indices: number[] = []
      for (let index = 0; index < wanted.count; index++) {
        const foreign = wanted.foreign[index] as number
        if (foreign >= source.first && foreign < source.end) indices.push(index)
      }
      if (indices.length > 0) await this.#fetchFrom(source, indices)
    }
    this.#reader.endWanted()
  }

  close(): void {
    for (const { link } of this.#sources) link.close()
  }

  async #fetchFrom({ link, first }: Source, indices: readonly number[]): Promise<void> {
    const { wanted } = this.#reader
    const pages = Uint32Array.from(indices, (index) => (wanted.foreign[index] as number) - first)
    const there = await link.ask({ what: 'pages', pages }, NEIGHBOUR_PAGES_MS).then(
      () => true,
      () => false,
    )
    for (const [copy, index] of indices.entries()) this.#reader.placeWanted(index, there ? copy : null)
  }
}
