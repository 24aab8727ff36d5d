// One batch of a round on its way out: select pages, classify and hash them, make runs, list the buffers to write. No
// socket, no thread, no waiting: used by the source's transfer threads and by the simulation. The caller holds the
// select lock during `select`.
//
//   staging of a channel, two halves:   │ … head │ payload (gathered pages) │ … head │ payload │

import { raw } from '../../encoding/raw.ts'
import { buildRuns, createRunTable, directPays, listRunPages } from '../../encoding/runs.ts'
import { HEADER, THREAD_BLOCK } from '../../guest/layout.ts'
import type { GuestMemory } from '../../guest/memory.ts'
import { selectBatch } from '../../guest/page-set.ts'
import type { Kernels } from '../../kernels/kernels.ts'
import { BATCH_PAGES, PAGE_BYTES, STAGING_BYTES } from '../../limits.ts'
import { encodePageFrameHead, pageFrameHeadBytes } from '../../wire/page-frame.ts'

/** A batch ready for the socket. The buffers are views of guest pages and staging: valid until the slot is reused. */
export interface Batch {
  readonly buffers: readonly Uint8Array[]
  /** Length of all buffers together: one page frame. */
  readonly bytes: number
  readonly pages: number
  readonly zeroPages: number
  readonly rawPages: number
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

export class BatchSender {
  readonly #memory: GuestMemory
  readonly #kernels: Kernels
  readonly #block: number
  readonly #staging: number
  readonly #runs = createRunTable(BATCH_PAGES)
  readonly #selection: BatchSelection = { count: 0, skipped: 0, freed: 0, last: false }

  constructor(options: { memory: GuestMemory; kernels: Kernels; channel: number }) {
    const { layout } = options.memory
    this.#memory = options.memory
    this.#kernels = options.kernels
    this.#block = layout.threadBlocks + options.channel * THREAD_BLOCK.bytes
    this.#staging = layout.staging + options.channel * STAGING_BYTES
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
   * Classifies (and hashes) the `count` pages selected last and lays their frame out in staging half `slot`. The half's
   * former batch must have left for the kernel.
   */
  prepare(count: number, slot: number, order: { round: number; hash: boolean }): Batch {
    const { layout } = this.#memory
    const [list, classes] = [this.#block + THREAD_BLOCK.list, this.#block + THREAD_BLOCK.classes]
    const digest = this.#block + THREAD_BLOCK.digest
    // R13: hashes of live pages feed the digest only; a page that changes from here on is marked and sent again.
    const zeroPages = this.#kernels.scan(list, count, classes, layout.hashes, digest, order.hash ? 1 : 0)
    const runs = this.#runs
    buildRuns(runs, this.#memory, list, classes, count)
    const payload = this.#staging + slot * HALF_BYTES + PAYLOAD_OFFSET
    const head = payload - pageFrameHeadBytes(runs.length)
    const headBytes = encodePageFrameHead(this.#memory.controlBytes, head, runs, order.round)
    const bytes = headBytes + runs.totalPayloadBytes
    const rawPages = runs.rawPages
    if (!directPays(runs)) {
      const listed = listRunPages(runs, raw.id, this.#memory, list)
      this.#kernels.gather(list, listed, payload)
      return {
        buffers: [this.#memory.controlBytes.subarray(head, head + bytes)],
        bytes,
        pages: count,
        zeroPages,
        rawPages,
      }
    }
    const buffers: Uint8Array[] = [this.#memory.controlBytes.subarray(head, payload)]
    for (let run = 0; run < runs.length; run++) {
      if (runs.encoding[run] !== raw.id) continue
      const start = (runs.firstPage[run] as number) * PAGE_BYTES
      buffers.push(this.#memory.bytes.subarray(start, start + (runs.payloadBytes[run] as number)))
    }
    return { buffers, bytes, pages: count, zeroPages, rawPages }
  }
}
