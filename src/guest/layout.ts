// Where everything lies in a guest's two shared memories. Pure arithmetic; every thread computes the same layout.
//
//   pages    │ page 0 │ page 1 │ … │ page N-1 │                       exactly the guest
//   control  │ header │ cards A │ cards B │ presence │ free │ hashes │ bitmaps │ scan hashes │ vCPU blocks │
//            │ thread blocks │ staging │ codecs │ references │
//
// Offsets are byte offsets into the control memory, 64-byte aligned so that no two regions share a cache line.

import { GodwitError } from '../errors.ts'
import {
  BATCH_PAGES,
  GROUP_PAGES,
  MAX_LANES,
  MAX_MEMORY_BYTES,
  MAX_VCPUS,
  MIN_MEMORY_BYTES,
  PAGE_BYTES,
  STAGING_BYTES,
  WASM_PAGE_BYTES,
} from '../limits.ts'

/** Int32 word indices of the control header. */
export const HEADER = {
  /** The one safepoint word (R2): epoch << 8 | mode bits | table index. */
  safepoint: 0,
  /** Lock of batch selection: 0 free, 1 held. */
  selectLock: 1,
  /** Next page of the round under way (batch selection, under the lock). */
  cursor: 2,
  /** Pages skipped in this round because they were dirty again. */
  skipped: 3,
  /** 1 while a cancel or failure asks the transfer threads to stop early. */
  abort: 4,
  /** Steps the locked vCPUs have used of their grants; notified (Atomics) by vCPUs. */
  grantsDone: 5,
  /** Counts acknowledgements, parks and deaths of vCPUs; notified, so that a coordinator can await them all. */
  arrivals: 6,
  /** The part of a step, in millionths, that the grants so far left over. */
  grantFraction: 7,
  /** Puller: counts the asks and the "do not need" notes of vCPUs; notified, the urgent lane waits on it. */
  asks: 8,
  /** Puller: pages that are neither here nor written here; notified when it becomes 0. */
  missing: 9,
  /** Puller: 1 from PREPARED until the last page is in: page frames of the pull phase may come. */
  pulling: 10,
  /** Page server: the page of the latest fault, and how many faults there were. */
  pivot: 11,
  pivotTurn: 12,
  /** Pages of the first round that were left out because they were free (R17). */
  freed: 13,
  /** Destination: pages of other guests here that `shared` may name, all together; 0: none. */
  foreignPages: 14,
  /** Page server: the edges of push orders; see push-strategy.ts. Up to word 31. */
  pushEdges: 16,
} as const
export const HEADER_BYTES = 4096

/** What the transfer threads of the source share, in the same header. */
export const TRANSFER_HEADER = {
  /** BigInt64 index: bandwidth limit of all channels together, bytes per second; 0: none. */
  bytesPerSecond: 128,
  /** BigInt64 index: process.hrtime up to which the link is paid for. */
  paidUntil: 129,
} as const

/** One vCPU's block: words first, registers behind. Offsets in bytes from the block's start. */
export const VCPU_BLOCK = {
  bytes: 4096,
  /** Int32: a VcpuState. */
  state: 0,
  /** Int32: the last safepoint word acknowledged. */
  acknowledged: 4,
  /** Int32: the one wake word; adding one and notifying ends any park (R5). */
  wake: 8,
  /** Int32: duty-cycle throttle, share of time taken away in 1/1000. */
  throttle: 12,
  /** BigInt64 (Atomics): steps done since the guest was created. */
  steps: 16,
  /** BigInt64 (Atomics): the step count at which a locked vCPU must park; means nothing at a free pace. */
  stepLimit: 24,
  /** BigInt64: process.hrtime.bigint() at the last park for a pause. */
  parkedAt: 32,
  /** BigInt64: process.hrtime.bigint() when it left that park. */
  leftAt: 40,
  /** Int32: last step batch's duration, µs, for R7's message. */
  stepMicros: 48,
  /** Int32: the page this vCPU is parked for, plus 1; 0: none. */
  faultPage: 52,
  /** Int32: 1 while that page is still to be asked for. */
  faultAsk: 56,
  /** Uint32: faults that only waited for a page already asked for or on its way in. */
  localWaits: 64,
  /** Int32: 1 while this vCPU alone is to stand still at a step boundary: it crosses, or is not here (R26); 2: and it has seen that. */
  held: 68,
  /** Float64: time spent parked for pages, and the longest park, µs. */
  stallMicros: 72,
  longestStallMicros: 80,
  /** Uint32[256]: latencies of faults that asked the source, 8 buckets an octave of µs (see fault-histogram.ts). */
  faultHistogram: 512,
  /** Int32: pages noted and pages told as "do not need", counted; the notes lie in a ring of Uint32[254]. */
  notesWritten: 3072,
  notesRead: 3076,
  notes: 3080,
  noteCount: 254,
  /** Uint32[256]: the program's registers. */
  registers: 2048,
  registerCount: 256,
} as const

/** One transfer thread's block. */
export const THREAD_BLOCK = {
  bytes: 256 * 1024,
  /** BigInt64: this thread's part of the running digest (R15). */
  digest: 0,
  /** Float64 each: page records handled, bytes of page frames, other bytes sent, bytes received. */
  workPages: 64,
  pageFrameBytes: 72,
  controlBytes: 80,
  receivedBytes: 88,
  /** Float64 each, pull phase. Page server: zero pages, pages sent because they were asked for, pushed, not needed. Puller: dropped. */
  zeroPages: 96,
  askedPages: 104,
  droppedPages: 112,
  pushedPages: 120,
  skippedPages: 128,
  /** Float64 each, the exchange: pages given with data because pushed, because asked for; without data; received; received again; such pages; asks; given with data beyond what was stale at the switch. */
  exchangePushed: 136,
  exchangeAsked: 144,
  exchangeWithoutData: 152,
  exchangeReceived: 160,
  exchangeReturned: 168,
  exchangePingPong: 176,
  exchangeAsks: 184,
  exchangeAgain: 192,
  /** Uint32[]: page list of the batch in hand; 64 Ki entries at most. */
  list: 4096,
  /** Uint8[]: one class per page of the list (0 raw, 1 zero). */
  classes: 8192,
  /** 16 bytes each: the page table of the pull frame in hand (wire/pull-frame.ts). */
  pullTable: 16384,
  /** Main thread: u64[TOLD_PAGES], the page hashes that the page service tells next. */
  told: 65536,
} as const

/** What encoders and decoders of one transfer thread work in, in bytes from the area's start. Resident once used. */
export const CODEC_AREA = {
  bytes: BATCH_PAGES * PAGE_BYTES + 2 * GROUP_PAGES * PAGE_BYTES,
  /** Copies of the pages of a batch that are to be encoded (R13). */
  copies: 0,
  /** The pages of one compressed block, before compression or after decompression. */
  group: BATCH_PAGES * PAGE_BYTES,
  /** Tables of one call of a codec: nothing here outlives it. 64 KiB. */
  tables: (BATCH_PAGES + GROUP_PAGES) * PAGE_BYTES,
} as const

export interface Layout {
  readonly memoryBytes: number
  readonly pageCount: number
  readonly vcpus: number
  readonly controlBytes: number
  /** Card tables A and B, one byte a page. */
  readonly cards: readonly [number, number]
  readonly presence: number
  /** One byte a page: 1 while the guest's allocator has it free (R17). */
  readonly free: number
  /** 8 bytes a page: the XXH64 last sent (source) or placed (destination); 0 for a zero page. */
  readonly hashes: number
  /** One bit a page: the pages of the round under way. */
  readonly toSend: number
  /** One bit a page: harvested but not yet put into a round. */
  readonly dirty: number
  /**
   * 8 bytes a page: the hash of each page at the last look of the scan tracker. With cards that is not needed. There the
   * first byte a page (bytes 0 to N-1 of the region) counts in how many rounds the page was written, see least-written.ts;
   * or, without a pull, the region holds the hashes of the destination's stale copy, see migration/kept-copy.ts; behind the
   * counts lie, in soft, the tables of sharing.ts.
   */
  readonly scanHashes: number
  readonly vcpuBlocks: number
  /** MAX_LANES + 1 blocks; the last belongs to the main thread. */
  readonly threadBlocks: number
  /** MAX_LANES areas of STAGING_BYTES. */
  readonly staging: number
  /** A CODEC_AREA per lane. */
  readonly codecs: number
  /** Source: u32 a slot, a power of two of them: the page, plus 1, that has a hash of these low bits. */
  readonly references: number
  readonly referenceSlots: number
  /** Source: u32 a page: when and where it was sent last (encoding/reference-index.ts). */
  readonly sentStamps: number
}

const align = (offset: number, to = 64): number => Math.ceil(offset / to) * to

/** Lays out a guest of `memoryBytes` with `vcpus` vCPUs. Throws `bad-size` outside 64 KiB–4 GiB or off 64 KiB steps. */
export function layoutOf(memoryBytes: number, vcpus: number): Layout {
  if (!Number.isInteger(memoryBytes) || memoryBytes < MIN_MEMORY_BYTES || memoryBytes % WASM_PAGE_BYTES !== 0) {
    throw new GodwitError('bad-size', `guest memory of ${memoryBytes} bytes is not a multiple of 64 KiB`, {
      hint: 'give a size such as 64KiB, 512MiB or 4GiB',
    })
  }
  if (memoryBytes > MAX_MEMORY_BYTES) {
    throw new GodwitError('bad-size', `guest memory of ${memoryBytes} bytes is above 4 GiB`, {
      hint: 'Godwit moves guests of up to 4 GiB for now',
    })
  }
  if (!Number.isInteger(vcpus) || vcpus < 1 || vcpus > MAX_VCPUS) {
    throw new GodwitError('usage', `${vcpus} vCPUs: give 1 to ${MAX_VCPUS}`)
  }
  const pageCount = memoryBytes / PAGE_BYTES
  const cardsA = HEADER_BYTES
  const cardsB = align(cardsA + pageCount)
  const presence = align(cardsB + pageCount)
  const free = align(presence + pageCount)
  const hashes = align(free + pageCount)
  const toSend = align(hashes + 8 * pageCount)
  const dirty = align(toSend + pageCount / 8)
  const scanHashes = align(dirty + pageCount / 8)
  const vcpuBlocks = align(scanHashes + 8 * pageCount, 4096)
  const threadBlocks = vcpuBlocks + vcpus * VCPU_BLOCK.bytes
  const staging = threadBlocks + (MAX_LANES + 1) * THREAD_BLOCK.bytes
  const codecs = staging + MAX_LANES * STAGING_BYTES
  const references = codecs + MAX_LANES * CODEC_AREA.bytes
  const referenceSlots = 2 ** Math.ceil(Math.log2(2 * pageCount))
  const sentStamps = references + 4 * referenceSlots
  const controlBytes = align(sentStamps + 4 * pageCount, WASM_PAGE_BYTES)
  return {
    memoryBytes,
    pageCount,
    vcpus,
    controlBytes,
    cards: [cardsA, cardsB],
    presence,
    free,
    hashes,
    toSend,
    dirty,
    scanHashes,
    vcpuBlocks,
    threadBlocks,
    staging,
    codecs,
    references,
    referenceSlots,
    sentStamps,
  }
}
