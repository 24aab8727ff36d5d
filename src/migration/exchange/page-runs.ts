// Runs of pages, so that a crossing costs passes over tables and not calls for each page or run: a vCPU stands still
// meanwhile. Spans are pairs one behind the other, first page and count; runs are as they travel: first page, count,
// generation and home. Bitmaps have bit p & 31 of word p >> 5. Pure, but that the tables may be shared; used by core.ts and
// shared-pages.ts, warmed by rehearsal.ts.

export type Bytes = Uint8Array<ArrayBufferLike>

/** Below this a loop is cheaper than a call of `fill`. */
const SHORT = 64

/** Makes runs of spans: pages go in a generation one higher than they have, which the table then says. */
export function raise(
  table: Uint32Array<ArrayBufferLike> | number[],
  spans: Uint32Array,
  home: number,
): Uint32Array<ArrayBuffer> {
  const runs: number[] = []
  for (let at = 0; at < spans.length; at += 2) {
    let first = spans[at] as number
    const end = first + (spans[at + 1] as number)
    while (first < end) {
      const before = table[first] as number
      let page = first
      while (page < end && table[page] === before) table[page++] = before + 1
      runs.push(first, page - first, before + 1, home)
      first = page
    }
  }
  return new Uint32Array(runs)
}

/** The first page of the runs whose byte is not 0; −1 if there is none. */
export function firstSet(bytes: Bytes, runs: Uint32Array): number {
  for (let at = 0; at < runs.length; at += 4) {
    const end = (runs[at] as number) + (runs[at + 1] as number)
    for (let page = runs[at] as number; page < end; page++) if (bytes[page] !== 0) return page
  }
  return -1
}

export function pagesOf(runs: Uint32Array): number {
  let pages = 0
  for (let at = 1; at < runs.length; at += 4) pages += runs[at] as number
  return pages
}

/** The bytes of the spans, or with `size` 4 of the runs, become `value`. */
export function fillSpans(table: Bytes, value: number, spans: Uint32Array, size: 2 | 4 = 2): void {
  for (let at = 0; at < spans.length; at += size) {
    const first = spans[at] as number
    const end = first + (spans[at + 1] as number)
    if (end - first >= SHORT) table.fill(value, first, end)
    else for (let page = first; page < end; page++) table[page] = value
  }
}

/** The bytes of the runs that are `from` become `to`. */
export function replaceIn(bytes: Bytes, from: number, to: number, runs: Uint32Array): void {
  for (let at = 0; at < runs.length; at += 4) {
    const end = (runs[at] as number) + (runs[at + 1] as number)
    for (let page = runs[at] as number; page < end; page++) if (bytes[page] === from) bytes[page] = to
  }
}

/** What of a bitmap of `count` words is in the other, too. */
export function andWords(words: Int32Array<ArrayBufferLike>, bitmap: number, other: number, count: number): void {
  for (let at = 0; at < count; at++) words[bitmap + at] = (words[bitmap + at] as number) & (words[other + at] as number)
}

/** What of a bitmap of `count` words is not in the other. */
export function andNotWords(words: Int32Array<ArrayBufferLike>, bitmap: number, other: number, count: number): void {
  for (let at = 0; at < count; at++)
    words[bitmap + at] = (words[bitmap + at] as number) & ~(words[other + at] as number)
}

/** The spans of a bitmap of `count` words from word `bitmap` on. */
export function spansOf(words: Int32Array<ArrayBufferLike>, bitmap: number, count: number): Uint32Array<ArrayBuffer> {
  const runs: number[] = []
  let first = -1
  for (let word = 0; word < count; word++) {
    const bits = words[bitmap + word] as number
    if (bits === (first < 0 ? 0 : -1)) continue
    // From one change to the next: bits below `from` are done with.
    for (let from = 0; from < 32; ) {
      const changed = (first < 0 ? bits : ~bits) & (-1 << from)
      if (changed === 0) break
      from = 31 - Math.clz32(changed & -changed)
      const page = 32 * word + from
      if (first >= 0) runs.push(first, page - first)
      first = first < 0 ? page : -1
    }
  }
  if (first >= 0) runs.push(first, 32 * count - first)
  return new Uint32Array(runs)
}

/** What of the spans is in the bitmap, as spans, and the pages that are not. */
export function splitSpans(
  words: Int32Array<ArrayBufferLike>,
  bitmap: number,
  spans: Uint32Array,
): { readonly inside: Uint32Array<ArrayBuffer>; readonly outside: number[] } {
  const inside: number[] = []
  const outside: number[] = []
  for (let at = 0; at < spans.length; at += 2) {
    const end = (spans[at] as number) + (spans[at + 1] as number)
    let first = spans[at] as number
    for (let page = first; page < end; ) {
      const word = page >>> 5
      const lacks = ~(words[bitmap + word] as number) & maskOf(word, page, end)
      if (lacks === 0) {
        page = 32 * (word + 1)
        continue
      }
      const missing = 32 * word + (31 - Math.clz32(lacks & -lacks))
      outside.push(missing)
      if (missing > first) inside.push(first, missing - first)
      first = missing + 1
      page = first
    }
    if (end > first) inside.push(first, end - first)
  }
  return { inside: new Uint32Array(inside), outside }
}

export function hasPageIn(spans: Uint32Array, page: number): boolean {
  for (let at = 0; at < spans.length; at += 2) {
    if (page >= (spans[at] as number) && page < (spans[at] as number) + (spans[at + 1] as number)) return true
  }
  return false
}

/** The bits of the word that belong to pages from `first` to before `end`. */
function maskOf(word: number, first: number, end: number): number {
  const low = Math.max(first - 32 * word, 0)
  const high = Math.min(end - 32 * word, 32)
  return (high === 32 ? -1 : (1 << high) - 1) & (-1 << low)
}
