// One batch of a round on its way out: select pages, scan and hash them, make runs, list the buffers to write; or let the
// batch encoder make runs and payload. No socket, no thread, no waiting: used by the source's transfer threads and by the
// simulation. The caller holds the select lock during `select`.
//
//   staging of a channel, two halves:   │ … head │ payload (gathered pages) │ … head │ payload │

import type { BatchInput, PageNote } from '../../encoding/batch-encoder.ts'
import type { BatchEncoding } from '../../encoding/batch-encoding.ts'
import { raw } from '../../encoding/raw.ts'
import { buildRuns, createRunTable, directPays, listRunPages } from '../../encoding/runs.ts'
import { EncodingTally } from '../../encoding/tally.ts'
import { zero } from '../../encoding/zero.ts'
import { HEADER, THREAD_BLOCK } from '../../guest/layout.ts'
import type { GuestMemory } from '../../guest/memory.ts'
import { selectBatch } from '../../guest/page-set.ts'
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

/** How a batch is to be laid out. */
export interface BatchOrder {
  readonly round: number
  readonly hash: boolean
  /** False: no page may refer to another or to its own last version (default true). */
  readonly refer?: boolean
}

export interface BatchSenderOptions {
  readonly memory: GuestMemory
  readonly kernels: Kernels
  readonly channel: number
  /** How pages are encoded; null: zero and raw. */
  readonly encoding?: BatchEncoding | null
  /** False: zero pages travel as they are, too (`--encode raw`). */
  readonly elideZero?: boolean
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
  readonly #runs = createRunTable(BATCH_PAGES)
  readonly #selection: BatchSelection = { count: 0, skipped: 0, freed: 0, last: false }

  constructor({ memory, kernels, channel, encoding = null, elideZero = true }: BatchSenderOptions) {
    const { layout } = memory
    this.#memory = memory
    this.#kernels = kernels
    this.#block = layout.threadBlocks + channel * THREAD_BLOCK.bytes
    this.#staging = layout.staging + channel * STAGING_BYTES
    this.#encoding = encoding
    this.#elideZero = elideZero
  }

  /** Takes the next batch of the round out of `toSend`; the answer is overwritten by the next call. */
  select(order: { round: number; skip: boolean }): Readonly<BatchSelection> {
    const { layout, controlWords: words } = this.#memory
    // The table in use changes only between rounds, but it is this round's newest marks that count: peeked per batch.
    const table = (Atomics.load(words, HEADER.safepoint) & 1) as 0 | 1
    const selected = selectBatch(this.#memory, this.#kernels, {
      bitmapOffset: layout.toSend,
      fromPage: Atomics.load(words, HEADER.cursor),
      max: BATCH_PAGES,
      peekCardsOffset: order.skip ? layout.cards[table] : null,
      // R17: nothing was sent yet, and fresh memory is zero. Later a page that is free now may be there with content:
      // then it travels once, as zero. Read after the harvest that began the round; a later change is marked.
      freeOffset: order.round === 0 ? layout.free : null,
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
   * Scans (and hashes) the `count` pages selected last and lays their frame out in staging half `slot`. The half's former
   * batch must have left for the kernel.
   */
  prepare(count: number, slot: number, order: BatchOrder): Batch {
    const { layout, controlBytes } = this.#memory
    const [list, classes] = [this.#block + THREAD_BLOCK.list, this.#block + THREAD_BLOCK.classes]
    const digest = this.#block + THREAD_BLOCK.digest
    const { round, hash, refer = true } = order
    // R13: hashes of live pages feed the digest only; a page that changes from here on is marked and sent again.
    const zeroPages = this.#kernels.scan(list, count, classes, layout.hashes, digest, hash ? 1 : 0)
    if (!this.#elideZero) controlBytes.fill(PAGE_CLASS.raw, classes, classes + count)
    const payload = this.#staging + slot * HALF_BYTES + PAYLOAD_OFFSET
    const runs = this.#runs
    if (this.#encode({ list, classes, count, round, rely: refer, refer: refer && hash }, payload)) {
      return { buffers: [this.#layOut(payload, round)], bytes: this.#frameBytes, pages: count, zeroPages }
    }
    buildRuns(runs, this.#memory, list, classes, count)
    this.tally.add(zero.id, runs.zeroPages, 0, 0)
    this.tally.add(raw.id, runs.rawPages, runs.totalPayloadBytes, 0)
    if (!directPays(runs)) {
      const listed = listRunPages(runs, raw.id, this.#memory, list)
      this.#kernels.gather(list, listed, payload)
      return { buffers: [this.#layOut(payload, round)], bytes: this.#frameBytes, pages: count, zeroPages }
    }
    const head = this.#layOut(payload, round).subarray(0, pageFrameHeadBytes(runs.length))
    return { buffers: [head, ...this.#rawPages()], bytes: this.#frameBytes, pages: count, zeroPages }
  }

  get #frameBytes(): number {
    return pageFrameHeadBytes(this.#runs.length) + this.#runs.totalPayloadBytes
  }

  /** Lets the encoder fill run table and payload; false: the batch travels as it is. */
  #encode(input: BatchInput, payload: number): boolean {
    if (this.#encoding === null) return false
    const { policy, encoder } = this.#encoding
    const codecs = policy.toSample()
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
