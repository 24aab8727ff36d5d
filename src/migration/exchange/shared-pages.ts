// The pages of one side of the exchange in shared memory: presence, homes, arrivals and generations (guest/sharing.ts), seals
// and contents. Only the exchange thread changes owners; vCPUs turn ABSENT into REQUESTED beside it, nobody else writes presence.

import { takeAsks } from '../../guest/asks.ts'
import { resetAfterCut } from '../../guest/installing.ts'
import { THREAD_BLOCK } from '../../guest/layout.ts'
import type { GuestMemory } from '../../guest/memory.ts'
import { takePage } from '../../guest/page-set.ts'
import { PRESENCE } from '../../guest/presence.ts'
import { vcpuWords, wakeWaiters } from '../../guest/safepoint.ts'
import {
  arrivalsOf,
  generationsOf,
  homesOf,
  isOurs,
  isStale,
  noteFresh,
  noteStale,
  presenceOf,
  staleAtSwitch,
  takeAway,
} from '../../guest/sharing.ts'
import type { Kernels } from '../../kernels/kernels.ts'
import { loadPageRuns, type PageRuns } from '../../kernels/page-runs.ts'
import {
  EXCHANGE_CHANNEL,
  MAX_GENERATIONS_AHEAD,
  PAGE_BYTES,
  PUBLISH_INTERVAL_MS,
  PUSH_REST_MS,
  STAGING_BYTES,
} from '../../limits.ts'
import { GIVE_ENTRY_BYTES, type GiveTable, HOW } from '../../wire/exchange-frames.ts'
import { andNotWords, andWords, fillSpans, firstSet, raise, replaceIn, spansOf, splitSpans } from './page-runs.ts'
import type { Contents, ExchangePages } from './sides.ts'

const { absent, installed, present, requested } = PRESENCE
const CLOCK_MASK = 0xffff

export class SharedPages implements ExchangePages {
  readonly pageCount: number
  readonly vcpus: number
  readonly #memory: GuestMemory
  readonly #kernels: Kernels
  readonly #runs: PageRuns
  readonly #hash: boolean
  readonly #presence: Uint8Array<SharedArrayBuffer>
  readonly #homes: Uint8Array<SharedArrayBuffer>
  readonly #arrivals: Uint16Array<SharedArrayBuffer>
  readonly #generations: Uint32Array<SharedArrayBuffer>
  /** Offsets in control memory: the kernels' list, their table, and their part of the digest, which nobody reads. */
  readonly #list: number
  readonly #table: number
  readonly #digest: number
  /** Two bitmaps of the guest's pages, in the staging area of this lane, which nothing else uses. */
  readonly #bitmaps: number
  /** Pages that vCPUs waited for at the last look, plus 1; 0: none. */
  readonly #awaited: Int32Array
  readonly #waitsFor: readonly number[]
  /** Pages that came and are INSTALLED: since the last handshake began, and before it. */
  #fresh: number[] = []
  #publishing: number[] = []
  /** The same of runs. */
  #freshRuns: Uint32Array[] = []
  #publishingRuns: Uint32Array[] = []
  #freshSince = 0

  constructor(memory: GuestMemory, kernels: Kernels, hash: boolean) {
    const { layout } = memory
    const block = layout.threadBlocks + EXCHANGE_CHANNEL * THREAD_BLOCK.bytes
    this.pageCount = layout.pageCount
    this.vcpus = layout.vcpus
    this.#memory = memory
    this.#kernels = kernels
    this.#runs = loadPageRuns(memory)
    this.#hash = hash
    this.#presence = presenceOf(memory)
    this.#homes = homesOf(memory)
    this.#arrivals = arrivalsOf(memory)
    this.#generations = generationsOf(memory)
    this.#list = block + THREAD_BLOCK.list
    this.#table = block + THREAD_BLOCK.pullTable
    this.#digest = block + THREAD_BLOCK.digest
    this.#bitmaps = layout.staging + EXCHANGE_CHANNEL * STAGING_BYTES
    this.#awaited = new Int32Array(layout.vcpus)
    this.#waitsFor = Array.from({ length: layout.vcpus }, (_, vcpu) => vcpuWords(memory, vcpu).faultPage)
  }

  isMine(page: number): boolean {
    return isOurs(Atomics.load(this.#presence, page))
  }

  lookAtWaiters(): void {
    for (let vcpu = 0; vcpu < this.vcpus; vcpu++) {
      this.#awaited[vcpu] = Atomics.load(this.#memory.controlWords, this.#waitsFor[vcpu] as number)
    }
  }

  isAwaited(page: number): boolean {
    return this.#awaited.includes(page + 1)
  }

  isStale(page: number): boolean {
    return isStale(this.#memory, page)
  }

  takeOfSwitch(page: number): boolean {
    return takePage(this.#memory, staleAtSwitch(this.#memory.layout), page)
  }

  homeOf(page: number): number {
    return this.#homes[page] as number
  }

  heatOf(page: number): number {
    return this.#memory.controlBytes[this.#memory.layout.scanHashes + page] as number
  }

  cameLately(page: number): boolean {
    const at = this.#arrivals[page] as number
    return at !== 0 && ((clock() - at) & CLOCK_MASK) < PUSH_REST_MS
  }

  generationOf(page: number): number {
    return this.#generations[page] as number
  }

  setGeneration(page: number, generation: number): void {
    this.#generations[page] = generation
  }

  takeAway(page: number): boolean {
    return takeAway(this.#presence, page)
  }

  bringBack(page: number, stale: boolean): void {
    if (stale) noteStale(this.#memory, page)
    this.#install(page)
  }

  takeHome(home: number): Uint32Array {
    const { layout, controlWords: words } = this.#memory
    const count = Math.ceil(this.pageCount / 32)
    const [own, other] = [this.#bitmaps / 4, this.#bitmaps / 4 + count]
    words[own + count - 1] = 0
    this.#kernels.findBytes(layout.scanHashes + layout.pageCount, this.pageCount, home, 4 * own)
    this.#andClean(own, other, count)
    // What is not ours is one of these two; it is never INSTALLING here.
    for (const state of [absent, requested]) {
      this.#kernels.findBytes(layout.presence, this.pageCount, state, 4 * other)
      andNotWords(words, own, other, count)
    }
    for (const page of this.#awaited) {
      if (page === 0) continue
      const word = own + ((page - 1) >>> 5)
      words[word] = (words[word] as number) & ~(1 << ((page - 1) & 31))
    }
    const spans = spansOf(words, own, count)
    // Nobody else changes the presence of what is ours; the handshake that follows makes it known.
    fillSpans(this.#presence, absent, spans)
    return spans
  }

  splitStale(spans: Uint32Array): { readonly inside: Uint32Array; readonly outside: number[] } {
    const count = Math.ceil(this.pageCount / 32)
    const own = this.#bitmaps / 4
    this.#memory.controlWords.fill(-1, own, own + count)
    this.#andClean(own, own + count, count)
    return splitSpans(this.#memory.controlWords, own, spans)
  }

  raise(spans: Uint32Array, home: number): Uint32Array {
    return raise(this.#generations, spans, home)
  }

  firstRefused(runs: Uint32Array, leaving: Uint8Array | null): number {
    const { presence } = this.#memory.layout
    const generations = this.#generations.byteOffset
    const [at, count] = [this.#put(runs), runs.length / 4]
    const page = this.#runs.refused(at, count, presence, requested, generations, MAX_GENERATIONS_AHEAD)
    return page < 0 && leaving !== null ? firstSet(leaving, runs) : page
  }

  arriveRuns(runs: Uint32Array): void {
    const { controlBytes, controlWords, layout } = this.#memory
    const [at, count] = [this.#put(runs), runs.length / 4]
    const tables = [this.#generations.byteOffset, this.#homes.byteOffset, this.#arrivals.byteOffset] as const
    this.#runs.arrive(at, count, ...layout.cards, layout.dirty, ...tables, clock() || 1)
    // A fence: whoever finds a page INSTALLED finds the rest done.
    Atomics.add(controlBytes, layout.presence, 0)
    this.#runs.fill(at, count, layout.presence, installed)
    this.#noteFreshSince()
    this.#freshRuns.push(runs)
    // Whoever turned one of them into REQUESTED had said before which it waits for: another fence, then that is looked at.
    Atomics.add(controlBytes, layout.presence, 0)
    for (const word of this.#waitsFor) {
      const page = Atomics.load(controlWords, word) - 1
      if (page >= 0 && this.#presence[page] === installed) wakeWaiters(this.#memory, page)
    }
  }

  nextMine(page: number): number {
    const presence = this.#presence
    const end = this.pageCount
    while (page < end && (presence[page] === absent || presence[page] === requested)) page++
    return page
  }

  seal(table: GiveTable): void {
    const { controlWords, controlLongs, controlBytes, layout } = this.#memory
    const { count } = table
    for (let index = 0; index < count; index++) controlWords[this.#list / 4 + index] = table.pages[index] as number
    this.#kernels.seal(this.#list, count, this.#table, layout.hashes, this.#digest)
    for (let index = 0; index < count; index++) {
      const entry = this.#table + index * GIVE_ENTRY_BYTES
      if (table.how[index] !== HOW.same) table.how[index] = controlWords[entry / 4 + 1] as number
      table.free[index] = controlBytes[layout.free + (table.pages[index] as number)] === 0 ? 0 : 1
      table.seals[index] = controlLongs[entry / 8 + 1] as bigint
    }
  }

  place(table: GiveTable, contents: Contents): number {
    const { bytes, controlBytes, controlWords, controlLongs, layout } = this.#memory
    const { count } = table
    let at = 0
    for (let index = 0; index < count; index++) {
      const [page, how] = [table.pages[index] as number, table.how[index] as number]
      const entry = this.#table + index * GIVE_ENTRY_BYTES
      controlWords[entry / 4] = page
      controlLongs[entry / 8 + 1] = table.seals[index] as bigint
      if (how === HOW.same) continue
      // R17: what a free page held is nothing any more.
      controlBytes[layout.free + page] = table.free[index] as number
      if (how === HOW.raw) {
        bytes.set(contents.subarray(at, at + PAGE_BYTES), page * PAGE_BYTES)
        at += PAGE_BYTES
      } else if (table.free[index] === 0) {
        this.#kernels.zeroRun(page, 1)
      }
    }
    const good = this.#kernels.unseal(this.#table, count, layout.hashes, this.#digest)
    return good === count ? -1 : (table.pages[good] as number)
  }

  arrive(page: number, generation: number, home: number): void {
    noteFresh(this.#memory, page)
    this.#generations[page] = generation
    if (home !== 0) this.#homes[page] = home
    // 0 says that it was always here.
    this.#arrivals[page] = clock() || 1
    this.#install(page)
  }

  sumOf(runs: Uint32Array): bigint {
    if (!this.#hash) return 0n
    const { hashes } = this.#memory.layout
    return BigInt.asUintN(64, this.#runs.sum(this.#put(runs), runs.length / 4, hashes))
  }

  takeAsks(into: Uint32Array): number {
    let count = 0
    const note = (page: number): void => {
      into[count++] = page
    }
    takeAsks(this.#memory, into.length, note, () => {})
    return count
  }

  forgetAsks(): void {
    resetAfterCut(this.#memory)
  }

  get unpublished(): boolean {
    return (
      this.#fresh.length + this.#freshRuns.length > 0 && performance.now() - this.#freshSince >= PUBLISH_INTERVAL_MS
    )
  }

  handshakeBegins(): void {
    // A handshake that failed has published nothing.
    this.#publishing.push(...this.#fresh)
    this.#fresh = []
    this.#publishingRuns.push(...this.#freshRuns)
    this.#freshRuns = []
  }

  /** R8. A page that was given away meanwhile, or came once more, is not INSTALLED, or waits for the next one. */
  handshakeEnds(): void {
    for (const page of this.#publishing) Atomics.compareExchange(this.#presence, page, installed, present)
    this.#publishing = []
    for (const runs of this.#publishingRuns) replaceIn(this.#presence, installed, present, runs)
    this.#publishingRuns = []
  }

  /** Takes out of a bitmap what was written since the other side had it; `other`: words to work in. */
  #andClean(bitmap: number, other: number, count: number): void {
    const { layout, controlWords: words } = this.#memory
    for (const cards of layout.cards) {
      this.#kernels.findBytes(cards, this.pageCount, 0, 4 * other)
      andWords(words, bitmap, other, count)
    }
    andNotWords(words, bitmap, layout.dirty / 4, count)
  }

  /** Runs of one frame, where kernels find them, behind the bitmaps. */
  #put(runs: Uint32Array): number {
    const at = this.#bitmaps + 2 * 4 * Math.ceil(this.pageCount / 32)
    this.#memory.controlWords.set(runs, at / 4)
    return at
  }

  #noteFreshSince(): void {
    if (this.#fresh.length + this.#freshRuns.length === 0) this.#freshSince = performance.now()
  }

  /**
   * No vCPU touches a page that is not ours, so nothing needs to be claimed before: it is there, and now it is ours (R9). One that
   * met it a moment ago may have said that it waits without having asked: it is woken, too (R5).
   */
  #install(page: number): void {
    Atomics.store(this.#presence, page, installed)
    this.#noteFreshSince()
    this.#fresh.push(page)
    wakeWaiters(this.#memory, page)
  }
}

const clock = (): number => Math.floor(performance.now()) & CLOCK_MASK
