// One batch of a round on its way out: select pages, scan and hash them, make runs, list the buffers to write; or let the
// batch encoder make runs and payload. No socket, no thread, no waiting: used by the source's transfer threads and by the
// simulation. The caller holds the select lock during `select`.
//
//   staging of a channel, two halves:   │ … head │ payload (gathered pages) │ … head │ payload │

import type { BatchInput, PageNote } from '../../encoding/batch-encoder.ts'
import type { BatchEncoding } from '../../encoding/batch-encoding.ts'
import { raw } from '../../encoding/raw.ts'
import { buildRuns, createRunTable, directPays, listRunPages } from '../../encoding/runs.ts'
import { EncodingTally, KEPT } from '../../encoding/tally.ts'
import { zero } from '../../encoding/zero.ts'
import { HEADER, THREAD_BLOCK } from '../../guest/layout.ts'
import type { GuestMemory } from '../../guest/memory.ts'
import { selectBatch } from '../../guest/page-set.ts'
import { type CopyHashes, createCopyHashes } from '../../kernels/copy-hashes.ts'
import { type Kernels, PAGE_CLASS } from '../../kernels/kernels.ts'
import { BATCH_PAGES, PAGE_BYTES, STAGING_BYTES } from '../../limits.ts'
import { encodePageFrameHead, pageFrameHeadBytes } from '../../wire/page-frame.ts'

/** A batch ready for the socket. The buffers are views of guest pages and staging: valid until the slot is reused. */
export interface Batch {
  readonly buffers: readonly Uint8Array[]
  /** Length of all buffers together: one page frame. */
  readonly bytes: number
  readonly pages: number
  readonly zeroPages: number
}

/** What is left of the round: pages listed now, and pages left out because they are dirty again or free. */
export interface BatchSelection {
  count: number
  skipped: number
  freed: number
  /** The round has no pages behind this batch. */
  last: boolean
}

/** Puts the shared cursor to the first page; before the round's first `select`. */
export function beginRound(memory: GuestMemory): void {
  Atomics.store(memory.controlWords, HEADER.skipped, 0)
  Atomics.store(memory.controlWords, HEADER.freed, 0)
  Atomics.store(memory.controlWords, HEADER.cursor, 0)
}

export const HALF_BYTES = STAGING_BYTES / 2
/** Payload begins here in a half; the frame's head ends here, so that both go out as one buffer. */
export const PAYLOAD_OFFSET = HALF_BYTES - BATCH_PAGES * PAGE_BYTES

const NOTHING: Batch = { buffers: [], bytes: 0, pages: 0, zeroPages: 0 }

/** How a batch is to be laid out. */
export interface BatchOrder {
  readonly round: number
  readonly hash: boolean
  /** False: no page may refer to another or to its own last version (default true). */
  readonly refer?: boolean
  /** The hashes of the destination's stale copy are here: what is the same there does not travel (default false). */
  readonly copy?: boolean
  /** The guest stands still and waits for this batch. */
  readonly final?: boolean
}

export interface BatchSenderOptions {
  readonly memory: GuestMemory
  readonly kernels: Kernels
  readonly channel: number
  /** How pages are encoded; null: zero and raw. */
  readonly encoding?: BatchEncoding | null
  /** False: zero pages travel as they are, too (`--encode raw`). */
  readonly elideZero?: boolean
  /** Of the hashes of a stale copy, the session's; without it no order may have one. */
  readonly seed?: bigint
}

export class BatchSender {
  /** Pages, bytes and time by encoding since the last `take`. */
  readonly tally = new EncodingTally()
  readonly #memory: GuestMemory
  readonly #kernels: Kernels
  readonly #block: number
  readonly #staging: number
  readonly #encoding: BatchEncoding | null
  readonly #elideZero: boolean
  readonly #seed: bigint
  #copy: CopyHashes | null = null
  readonly #runs = createRunTable(BATCH_PAGES)
  readonly #selection: BatchSelection = { count: 0, skipped: 0, freed: 0, last: false }

  constructor({ memory, kernels, channel, encoding = null, elideZero = true, seed = 0n }: BatchSenderOptions) {
    const { layout } = memory
    this.#memory = memory
    this.#kernels = kernels
    this.#block = layout.threadBlocks + channel * THREAD_BLOCK.bytes
    this.#staging = layout.staging + channel * STAGING_BYTES
    this.#encoding = encoding
    this.#elideZero = elideZero
    this.#seed = seed
  }

  /** Takes the next batch of the round out of `toSend`; the answer is overwritten by the next call. */
  select(order: { round: number; skip: boolean; copy?: boolean }): Readonly<BatchSelection> {
    const { layout, controlWords: words } = this.#memory
    // The table in use changes only between rounds, but it is this round's newest marks that count: peeked per batch.
    const table = (Atomics.load(words, HEADER.safepoint) & 1) as 0 | 1
    const selected = selectBatch(this.#memory, this.#kernels, {
      bitmapOffset: layout.toSend,
      fromPage: Atomics.load(words, HEADER.cursor),
      max: BATCH_PAGES,
      peekCardsOffset: order.skip ? layout.cards[table] : null,
      // R17: nothing was sent yet, and fresh memory is zero. Later a page that is free now may be there with content:
      // then it travels once, as zero. So it does to a stale copy. Read after the harvest that began the round; a later
      // change is marked.
      freeOffset: order.round === 0 && order.copy !== true ? layout.free : null,
      listOffset: this.#block + THREAD_BLOCK.list,
    })
    Atomics.store(words, HEADER.cursor, selected.nextPage)
    Atomics.add(words, HEADER.skipped, selected.skipped)
    Atomics.add(words, HEADER.freed, selected.freed)
    this.#selection.count = selected.count
    this.#selection.skipped = selected.skipped
    this.#selection.freed = selected.freed
    this.#selection.last = selected.nextPage >= layout.pageCount
    return this.#selection
  }

  /**
   * Scans (and hashes) the `selected` pages selected last and lays their frame out in staging half `slot`. The half's former
   * batch must have left for the kernel. A batch of pages that are all in the destination's copy has no frame.
   */
  prepare(selected: number, slot: number, order: BatchOrder): Batch {
    const { layout } = this.#memory
    const [list, classes] = [this.#block + THREAD_BLOCK.list, this.#block + THREAD_BLOCK.classes]
    const digest = this.#block + THREAD_BLOCK.digest
    const { round, hash, refer = true, copy = false, final = false } = order
    // R13: hashes of live pages feed the digest only; a page that changes from here on is marked and sent again.
    this.#kernels.scan(list, selected, classes, layout.hashes, digest, hash ? 1 : 0)
    const count = copy ? this.#leaveOut(list, classes, selected) : selected
    if (count === 0) return NOTHING
    if (!this.#elideZero) this.#takeAsRaw(list, classes, count)
    const payload = this.#staging + slot * HALF_BYTES + PAYLOAD_OFFSET
    const runs = this.#runs
    const input = { list, classes, count, round, rely: refer, refer: refer && hash }
    // Nothing is learnt while the guest waits, unless there was no other time for it.
    if (this.#encode(input, payload, !final || round === 0)) return this.#batch([this.#layOut(payload, round)], count)
    buildRuns(runs, this.#memory, list, classes, count)
    this.tally.add(zero.id, runs.zeroPages, 0, 0)
    this.tally.add(raw.id, runs.rawPages, runs.totalPayloadBytes, 0)
    if (!directPays(runs)) {
      const listed = listRunPages(runs, raw.id, this.#memory, list)
      this.#kernels.gather(list, listed, payload)
      return this.#batch([this.#layOut(payload, round)], count)
    }
    const head = this.#layOut(payload, round).subarray(0, pageFrameHeadBytes(runs.length))
    return this.#batch([head, ...this.#rawPages()], count)
  }

  /** R17: but a page that is free is zero to the destination, whatever it holds. */
  #takeAsRaw(list: number, classes: number, count: number): void {
    const { controlBytes, controlWords, layout } = this.#memory
    for (let index = 0; index < count; index++) {
      const page = (controlWords[list / 4 + index] as number) >>> 0
      if (controlBytes[layout.free + page] === 0) controlBytes[classes + index] = PAGE_CLASS.raw
    }
  }

  #batch(buffers: readonly Uint8Array[], pages: number): Batch {
    return { buffers, bytes: this.#frameBytes, pages, zeroPages: this.#runs.zeroPages }
  }

  /**
   * Takes out what the destination's copy holds. R13: the hash of a live page is enough for that. If the page changes from
   * here on, or changed half before, it is marked and sent in a later round.
   */
  #leaveOut(list: number, classes: number, count: number): number {
    const began = performance.now()
    this.#copy ??= createCopyHashes(this.#memory, this.#seed)
    const left = this.#copy.leaveOut(list, classes, count, this.#memory.layout.scanHashes)
    this.tally.add(KEPT, count - left, 0, performance.now() - began)
    return left
  }

  get #frameBytes(): number {
    return pageFrameHeadBytes(this.#runs.length) + this.#runs.totalPayloadBytes
  }

  /** Lets the encoder fill run table and payload; false: the batch travels as it is. */
  #encode(input: BatchInput, payload: number, mayLearn: boolean): boolean {
    if (this.#encoding === null) return false
    const { policy, encoder } = this.#encoding
    const codecs = mayLearn ? policy.toSample() : []
    if (codecs.length > 0) encoder.sample(input, codecs, payload)
    if (policy.encodes()) {
      encoder.encode(this.#runs, input, payload, this.#note)
      return true
    }
    encoder.forget(input)
    return false
  }

  readonly #note: PageNote = (id, bytes, ms) => this.tally.add(id, 1, bytes, ms)

  /** Writes the frame's head in front of the payload; returns both, as far as the payload lies in staging. */
  #layOut(payload: number, round: number): Uint8Array {
    const head = payload - pageFrameHeadBytes(this.#runs.length)
    encodePageFrameHead(this.#memory.controlBytes, head, this.#runs, round)
    return this.#memory.controlBytes.subarray(head, head + this.#frameBytes)
  }

  /** The raw runs where they lie in the guest. */
  #rawPages(): Uint8Array[] {
    const runs = this.#runs
    const buffers: Uint8Array[] = []
    for (let run = 0; run < runs.length; run++) {
      if (runs.encoding[run] !== raw.id) continue
      const start = (runs.firstPage[run] as number) * PAGE_BYTES
      buffers.push(this.#memory.bytes.subarray(start, start + (runs.payloadBytes[run] as number)))
    }
    return buffers
  }
}
