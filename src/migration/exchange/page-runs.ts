// Runs of pages, so that a crossing costs passes over tables and not calls for each page: a vCPU stands still meanwhile.
// Runs are pairs one behind the other, first page and count; bitmaps have bit p & 31 of word p >> 5. Pure, but that the
// tables may be shared; used by core.ts and shared-pages.ts, warmed by rehearsal.ts.

export type Bytes = Uint8Array<ArrayBufferLike>
type Table = Uint8Array<ArrayBufferLike> | Uint16Array<ArrayBufferLike> | Uint32Array<ArrayBufferLike>

/** Below this a loop is cheaper than a call of `fill`. */
const SHORT = 16

export function fillRun(table: Table, value: number, first: number, end: number): void {
  if (end - first >= SHORT) table.fill(value, first, end)
  else for (let page = first; page < end; page++) table[page] = value
}

/** Whether any byte of the run is not 0. */
export function anySet(bytes: Bytes, first: number, end: number): boolean {
  for (let page = first; page < end; page++) if (bytes[page] !== 0) return true
  return false
}

/** The first page, from `first` on, whose entry is not that of `first`; `end` if there is none. */
export function endOfAlike(table: Uint32Array<ArrayBufferLike>, first: number, end: number): number {
  const value = table[first]
  let page = first + 1
  while (page < end && table[page] === value) page++
  return page
}

/** Whether every entry of the run is below `value`. */
export function allBelow(table: Uint32Array<ArrayBufferLike>, value: number, first: number, end: number): boolean {
  for (let page = first; page < end; page++) if ((table[page] as number) >= value) return false
  return true
}

/** Whether every byte of the run is one of two. */
export function allOf(bytes: Bytes, one: number, other: number, first: number, end: number): boolean {
  for (let page = first; page < end; page++) {
    const byte = bytes[page]
    if (byte !== one && byte !== other) return false
  }
  return true
}

/** The bytes of the run that are `from` become `to`. */
export function replaceIn(bytes: Bytes, from: number, to: number, first: number, end: number): void {
  for (let page = first; page < end; page++) if (bytes[page] === from) bytes[page] = to
}

/** Takes the run out of a bitmap into which others may put pages of other runs at the same time. */
export function clearRun(words: Int32Array<ArrayBufferLike>, bitmap: number, first: number, end: number): void {
  const last = (end - 1) >>> 5
  for (let word = first >>> 5; word <= last; word++) {
    const mask = maskOf(word, first, end)
    if (((words[bitmap + word] as number) & mask) !== 0) Atomics.and(words, bitmap + word, ~mask)
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

/** The runs of a bitmap of `count` words from word `bitmap` on. */
export function runsOf(words: Int32Array<ArrayBufferLike>, bitmap: number, count: number): Uint32Array<ArrayBuffer> {
  const runs: number[] = []
  let first = -1
  for (let word = 0; word < count; word++) {
    const bits = words[bitmap + word] as number
    if (bits === (first < 0 ? 0 : -1)) continue
    for (let bit = 0; bit < 32; bit++) {
      const set = ((bits >>> bit) & 1) === 1
      if (set === first >= 0) continue
      const page = 32 * word + bit
      if (set) first = page
      else {
        runs.push(first, page - first)
        first = -1
      }
    }
  }
  if (first >= 0) runs.push(first, 32 * count - first)
  return new Uint32Array(runs)
}

/** What of the runs is in the bitmap, as runs, and the pages that are not. */
export function splitRuns(
  words: Int32Array<ArrayBufferLike>,
  bitmap: number,
  runs: Uint32Array,
): { readonly inside: Uint32Array<ArrayBuffer>; readonly outside: number[] } {
  const inside: number[] = []
  const outside: number[] = []
  for (let at = 0; at < runs.length; at += 2) {
    const end = (runs[at] as number) + (runs[at + 1] as number)
    let first = runs[at] as number
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

export function hasPageIn(runs: Uint32Array, page: number): boolean {
  for (let at = 0; at < runs.length; at += 2) {
    if (page >= (runs[at] as number) && page < (runs[at] as number) + (runs[at + 1] as number)) return true
  }
  return false
}

/** The bits of the word that belong to pages from `first` to before `end`. */
function maskOf(word: number, first: number, end: number): number {
  const low = Math.max(first - 32 * word, 0)
  const high = Math.min(end - 32 * word, 32)
  return (high === 32 ? -1 : (1 << high) - 1) & (-1 << low)
}
