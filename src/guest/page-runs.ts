// Which pages are where, as runs: what a guest process tells of its ownership table when somebody asks for the page log.
// Pure. Used by guest-process/page-table.ts.

import { isMissing, PRESENCE, type Presence } from './presence.ts'

/** As the side sees it that was asked: its own, the other side's, or on the way. */
export type PageOwner = 'here' | 'there' | 'in-flight'

export interface PageRun {
  readonly first: number
  readonly count: number
  readonly owner: PageOwner
}

/** Neighbours of one owner are one run; in order, without gaps. */
export function pageRuns(pageCount: number, ownerAt: (page: number) => PageOwner): PageRun[] {
  const runs: PageRun[] = []
  for (let first = 0; first < pageCount; ) {
    const owner = ownerAt(first)
    let end = first + 1
    while (end < pageCount && ownerAt(end) === owner) end++
    runs.push({ first, count: end - first, owner })
    first = end
  }
  return runs
}

/** Whose a page is at the side that pulls, by its presence. */
export function ownerByPresence(presence: Presence): PageOwner {
  if (presence === PRESENCE.installing) return 'in-flight'
  return isMissing(presence) ? 'there' : 'here'
}
