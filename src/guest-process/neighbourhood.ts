// The other guests of this agent as a destination session asks them for the hashes of their pages: over their page sockets.

import { COPY_HASHES, MAX_NEIGHBOURS, NEIGHBOUR_HASHES_MS } from '../limits.ts'
import type { Neighbourhood } from '../migration/neighbours.ts'
import type { Neighbour } from '../migration/ports.ts'
import { NeighbourLink } from '../migration/transfer/neighbour-link.ts'

/** `seed`: the session's. Null: there are none. */
export function askNeighbours(neighbours: readonly Neighbour[], seed: bigint): Neighbourhood | null {
  const guests = neighbours.slice(0, MAX_NEIGHBOURS)
  if (guests.length === 0) return null
  const asked = guests.map(({ path, pages }) => {
    const area = new Uint8Array(8 * Math.min(COPY_HASHES, pages))
    return { link: new NeighbourLink(path, area), area }
  })
  return {
    guests,
    hashes: async (guest, first, count) => {
      const { link, area } = asked[guest] as (typeof asked)[number]
      await link.ask({ what: 'hashes', first, count, seed }, NEIGHBOUR_HASHES_MS)
      return area
    },
    close: () => {
      for (const { link } of asked) link.close()
    },
  }
}
