// The page log of a guest: one map of runs from the tables of the hosts that have a part of it. Pure. gateway-server.ts
// serves it.
//
//   host A:  here here  there  there        host B (pulls):  there there  here  in-flight
//   log:     A    A     B      in flight

import type { PagesView } from './service-view.ts'

export interface HostTable {
  /** Name of the agent. */
  readonly host: string
  readonly table: PagesView
}

/** `host`: whose pages these are; null: on the way, or nobody's table has them. */
export interface LoggedRun {
  readonly first: number
  readonly count: number
  readonly host: string | null
}

export interface PageLog {
  /** The highest epoch and revision that any host gave. */
  readonly epoch: number
  readonly revision: number
  readonly pageCount: number
  readonly runs: readonly LoggedRun[]
}

/** Owner of each page, by the tables of the highest epoch, and among them that which says 'here'. */
export function pageLog(tables: readonly HostTable[]): PageLog {
  const pageCount = Math.max(0, ...tables.map(({ table }) => table.pageCount))
  const epoch = Math.max(0, ...tables.map(({ table }) => table.epoch))
  const revision = Math.max(0, ...tables.map(({ table }) => table.revision))
  const edges = new Set([0, pageCount])
  for (const { table } of tables) for (const { first, count } of table.runs) edges.add(first).add(first + count)
  const places = [...edges].filter((edge) => edge <= pageCount).sort((a, b) => a - b)
  // A host with a newer epoch has heard more.
  const ordered = [...tables].sort((a, b) => b.table.epoch - a.table.epoch)
  const cursors = ordered.map(() => 0)
  const runs: LoggedRun[] = []
  for (let index = 0; index + 1 < places.length; index++) {
    const [first, end] = [places[index] as number, places[index + 1] as number]
    const owners = ordered.map(({ table }, at) => {
      while (
        (table.runs[cursors[at] as number]?.first ?? pageCount) + (table.runs[cursors[at] as number]?.count ?? 0) <=
        first
      ) {
        if ((cursors[at] as number) >= table.runs.length) break
        cursors[at] = (cursors[at] as number) + 1
      }
      return table.runs[cursors[at] as number]?.owner
    })
    const host = ownerOf(ordered, owners)
    const before = runs.at(-1)
    if (before !== undefined && before.host === host) runs[runs.length - 1] = { ...before, count: end - before.first }
    else runs.push({ first, count: end - first, host })
  }
  return { epoch, revision, pageCount, runs }
}

/** What the first table says decides: its own, on the way, or the other host's, if there is one. */
function ownerOf(tables: readonly HostTable[], owners: readonly (string | undefined)[]): string | null {
  for (const [index, owner] of owners.entries()) {
    if (owner === 'here') return tables[index]?.host ?? null
    if (owner === 'in-flight') return null
    if (owner === 'there' && owners.length === 2) return tables[1 - index]?.host ?? null
  }
  return null
}
