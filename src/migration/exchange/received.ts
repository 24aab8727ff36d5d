// Counts the pages that come by the exchange, for the summary. Used by core.ts.

import type { ExchangeHost } from './sides.ts'

export function countReceived(host: ExchangeHost, pages: number, generation: number): void {
  host.count('received', pages)
  if (generation < 3) return
  host.count('returned', pages)
  // The first time it comes back: to whom it was at first it comes as generation 3, to the other side as 4.
  if (generation <= 4) host.count('pingPong', pages)
}

/** All runs of a frame, counted once for each generation in turn, of which few differ. */
export function countRuns(host: ExchangeHost, runs: Uint32Array): void {
  let [pages, generation] = [0, 0]
  for (let at = 0; at < runs.length; at += 4) {
    if (runs[at + 2] !== generation) {
      if (pages > 0) countReceived(host, pages, generation)
      pages = 0
      generation = runs[at + 2] as number
    }
    pages += runs[at + 1] as number
  }
  countReceived(host, pages, generation)
}
