// Which guests of this agent one that comes in may refer to: all of them if the agent shares pages, else those that came
// with the same gang. Whoever drives the source of a guest can find out whether a neighbour holds a page that he can guess;
// that is why it needs --share-pages, or one hand that moves them all. guest-table.ts is the only caller.

import { socketPathFor } from '../guest-process/guest-file.ts'
import type { Reservation } from '../guest-process/host-port.ts'
import type { Offer } from '../guest-process/supervise.ts'
import { FOREIGN_PAGES_PER_PAGE, MAX_FOREIGN_PAGES, MAX_NEIGHBOURS, PAGE_BYTES } from '../limits.ts'
import type { Neighbour } from '../migration/ports.ts'
import type { GuestEntry } from './guest-table.ts'

/** Where a guest that is started here (`reservation` null), or comes in, serves its pages; null: it does not. */
export function pageSocketOf(directory: string, reservation: Reservation | null, sharePages: boolean): string | null {
  const shows = sharePages || (reservation?.settings.gang ?? null) !== null
  return shows ? socketPathFor(directory, 'pages') : null
}

/** What the process of a guest that comes in is told; `entries`: the guests here, in the order in which they came. */
export function offerOf(
  entries: readonly GuestEntry[],
  where: { directory: string; sourceAddress: string; sharePages: boolean },
  reservation: Reservation,
): Offer {
  const { directory, sourceAddress, sharePages } = where
  const pageSocketPath = pageSocketOf(directory, reservation, sharePages)
  return { reservation, sourceAddress, pageSocketPath, neighbours: neighboursOf(entries, reservation, sharePages) }
}

/** Members of the same gang first, and then those that came last. */
export function neighboursOf(
  entries: readonly GuestEntry[],
  { guest, settings: { gang } }: Reservation,
  sharePages: boolean,
): Neighbour[] {
  const isOfGang = (entry: GuestEntry): boolean =>
    gang !== null && entry.process.file.reservation?.settings.gang === gang
  const others = entries.filter(({ config, process }) => process.alive && config.id !== guest.id).reverse()
  const chosen = others.filter(isOfGang)
  if (sharePages) chosen.push(...others.filter((entry) => !isOfGang(entry)))
  const neighbours: Neighbour[] = []
  let left = Math.min(MAX_FOREIGN_PAGES, FOREIGN_PAGES_PER_PAGE * (guest.memoryBytes / PAGE_BYTES))
  for (const { config, process } of chosen) {
    const pages = config.memoryBytes / PAGE_BYTES
    const path = process.file.pageSocketPath ?? null
    if (path === null || pages > left || neighbours.length === MAX_NEIGHBOURS) continue
    neighbours.push({ path, pages })
    left -= pages
  }
  return neighbours
}
