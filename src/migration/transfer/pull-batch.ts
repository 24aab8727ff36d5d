// One batch of the pull phase on its way out: seal the listed pages, lay out their frame, list the buffers to write. The
// guest stands still here, so long runs go straight from its memory. No socket, no waiting; used by the push lanes and
// the urgent lane of the source.

import { raw } from '../../encoding/raw.ts'
import { THREAD_BLOCK } from '../../guest/layout.ts'
import type { GuestMemory } from '../../guest/memory.ts'
import type { Kernels } from '../../kernels/kernels.ts'
import { DIRECT_RUN_PAGES, PAGE_BYTES, STAGING_BYTES } from '../../limits.ts'
import { encodePullHead, pullEncoding, pullHeadBytes, pullPage } from '../../wire/pull-frame.ts'
import { type Batch, HALF_BYTES, PAYLOAD_OFFSET } from './batch.ts'

export class PullSender {
  readonly #memory: GuestMemory
  readonly #kernels: Kernels
  /** Byte offsets in control memory: the list of pages to send is the caller's to fill. */
  readonly listOffset: number
  readonly #table: number
  readonly #digest: number
  readonly #staging: number

  constructor(options: { memory: GuestMemory; kernels: Kernels; channel: number }) {
    const { layout } = options.memory
    const block = layout.threadBlocks + options.channel * THREAD_BLOCK.bytes
    this.#memory = options.memory
    this.#kernels = options.kernels
    this.listOffset = block + THREAD_BLOCK.list
    this.#table = block + THREAD_BLOCK.pullTable
    this.#digest = block + THREAD_BLOCK.digest
    this.#staging = layout.staging + options.channel * STAGING_BYTES
  }

  /** Lays out a frame of the `count` listed pages in staging half `slot`; the half's former batch must have left. */
  prepare(count: number, slot: number): Batch {
    const memory = this.#memory
    const zeroPages = this.#kernels.seal(this.listOffset, count, this.#table, memory.layout.hashes, this.#digest)
    const rawPages = count - zeroPages
    const payload = this.#staging + slot * HALF_BYTES + PAYLOAD_OFFSET
    const headBytes = pullHeadBytes(count)
    const head = payload - headBytes
    encodePullHead(memory, head, this.#table, count, rawPages)
    const runs = this.#rawRuns(count)
    const bytes = headBytes + rawPages * PAGE_BYTES
    const whole = { bytes, pages: count, zeroPages }
    if (rawPages < DIRECT_RUN_PAGES * runs.length) {
      this.#kernels.gather(this.listOffset, this.#listRaw(count), payload)
      return { ...whole, buffers: [memory.controlBytes.subarray(head, head + bytes)] }
    }
    const pages = runs.map(({ first, end }) => memory.bytes.subarray(first * PAGE_BYTES, end * PAGE_BYTES))
    return { ...whole, buffers: [memory.controlBytes.subarray(head, payload), ...pages] }
  }

  /** Raw pages that follow each other in the table and in the guest. */
  #rawRuns(count: number): { first: number; end: number }[] {
    const runs: { first: number; end: number }[] = []
    let last: { first: number; end: number } | undefined
    for (let entry = 0; entry < count; entry++) {
      if (pullEncoding(this.#memory, this.#table, entry) !== raw.id) {
        last = undefined
        continue
      }
      const page = pullPage(this.#memory, this.#table, entry)
      if (last?.end === page) {
        last.end = page + 1
      } else {
        last = { first: page, end: page + 1 }
        runs.push(last)
      }
    }
    return runs
  }

  /** Leaves the raw pages alone in the list. */
  #listRaw(count: number): number {
    let at = this.listOffset / 4
    for (let entry = 0; entry < count; entry++) {
      if (pullEncoding(this.#memory, this.#table, entry) !== raw.id) continue
      this.#memory.controlWords[at++] = pullPage(this.#memory, this.#table, entry)
    }
    return at - this.listOffset / 4
  }
}
