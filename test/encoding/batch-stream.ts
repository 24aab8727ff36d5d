// A source and a destination of page frames without sockets: what transfer threads do with batches, in one thread, over
// several rounds and channels. Whatever is sent, the destination must end with the source's pages.

import { type BatchEncoding, createBatchEncoding } from '../../src/encoding/batch-encoding.ts'
import { ForeignIndex } from '../../src/encoding/foreign-index.ts'
import type { EncodeMode } from '../../src/encoding/modes.ts'
import type { EncodePolicy } from '../../src/encoding/policy.ts'
import { ReferenceIndex } from '../../src/encoding/reference-index.ts'
import { createVersions } from '../../src/encoding/version-store.ts'
import { HEADER } from '../../src/guest/layout.ts'
import { GuestMemory } from '../../src/guest/memory.ts'
import { addPage } from '../../src/guest/page-set.ts'
import { createCopyHashes } from '../../src/kernels/copy-hashes.ts'
import { digestTotal, type Kernels, loadKernels } from '../../src/kernels/kernels.ts'
import { BatchSender, beginRound } from '../../src/migration/transfer/batch.ts'
import { encodeHeader, FRAME_HEADER_BYTES, FRAME_TYPE } from '../../src/wire/frame.ts'
import { StreamReader } from '../../src/wire/stream-reader.ts'
import { PAGE_BYTES, sameBytes } from '../kernels/memory-fixture.ts'
import { encodingWith, SEED } from './encoding-with.ts'

export interface BatchStreamOptions {
  readonly pages: number
  readonly mode: EncodeMode
  readonly channels?: number
  readonly deltaCache?: number
  /** Limit of each channel, bytes per second: a slow link makes `adaptive` encode. */
  readonly bytesPerSecond?: number
  /** In place of the mode's policy, one for each channel; references and deltas are those of `adaptive`. */
  readonly policy?: (channel: number) => EncodePolicy
  /** A guest that the destination has beside this one: its pages may be referred to. */
  readonly neighbour?: GuestMemory
}

export class BatchStream {
  readonly from: GuestMemory
  readonly to: GuestMemory
  /** Pages of the round under way that the destination could not make. */
  missing: number[] = []
  /** Page frames of the latest round, of all channels. */
  frames: Buffer[] = []
  /** Bytes of the frames of all rounds. */
  bytes = 0
  readonly #kernels: Kernels
  readonly #neighbour: GuestMemory | null
  readonly #senders: BatchSender[]
  readonly #readers: StreamReader[]
  readonly encodings: (BatchEncoding | null)[]
  #round = 0

  private constructor(
    from: GuestMemory,
    to: GuestMemory,
    encodings: (BatchEncoding | null)[],
    options: BatchStreamOptions,
  ) {
    const { mode, neighbour = null } = options
    this.#neighbour = neighbour
    this.from = from
    this.to = to
    this.encodings = encodings
    this.#kernels = loadKernels(from)
    const kernels = loadKernels(to)
    const session = { seed: SEED, missing: (page: number) => this.missing.push(page) }
    this.#senders = encodings.map(
      (encoding, channel) =>
        new BatchSender({ memory: from, kernels: this.#kernels, channel, encoding, elideZero: mode !== 'raw' }),
    )
    this.#readers = encodings.map(
      (_, channel) => new StreamReader({ memory: to, kernels, channel, hash: true, session }),
    )
  }

  static async open(options: BatchStreamOptions): Promise<BatchStream> {
    const { pages, mode, channels = 1, deltaCache = 2 ** 26, bytesPerSecond = 10_000_000 } = options
    const from = GuestMemory.create(pages * PAGE_BYTES, 1)
    const to = GuestMemory.create(pages * PAGE_BYTES, 1)
    ReferenceIndex.clear(from)
    const versions = mode === 'adaptive' || mode === 'delta' ? createVersions(deltaCache, pages) : null
    const kernels = loadKernels(from)
    const encodings: (BatchEncoding | null)[] = []
    for (let channel = 0; channel < channels; channel++) {
      const common = { memory: from, kernels, channel, mode, bytesPerSecond, versions }
      const encoding = await createBatchEncoding({ ...common, seed: SEED, notice: () => {} })
      if (options.policy === undefined) encodings.push(encoding)
      else encodings.push(encodingWith(options.policy(channel), { memory: from, kernels, versions }, channel))
    }
    return new BatchStream(from, to, encodings, options)
  }

  /**
   * Sends `pages` in a round. `channelOf` says which channel a batch takes, `order` in which order the channels' streams
   * arrive; within a channel they keep their order.
   */
  round(pages: Iterable<number>, channelOf: (batch: number) => number = () => 0, refer = true): void {
    const { from } = this
    for (const page of pages) addPage(from, from.layout.toSend, page)
    beginRound(from)
    this.missing = []
    this.frames = []
    const order = { round: this.#round, skip: false, hash: true, refer }
    const streams: Buffer[][] = this.#senders.map(() => [])
    for (let batch = 0; ; batch++) {
      const channel = channelOf(batch) % this.#senders.length
      const sender = this.#senders[channel] as BatchSender
      const { count, last } = { ...sender.select(order) }
      if (count > 0) {
        const frame = Buffer.concat(sender.prepare(count, batch % 2, order).buffers)
        this.bytes += frame.length
        streams[channel]?.push(frame)
        this.frames.push(frame)
      }
      if (last) break
    }
    const end = Buffer.alloc(FRAME_HEADER_BYTES)
    encodeHeader(end, 0, { type: FRAME_TYPE.roundEnd, length: 0, round: this.#round })
    // Channels are independent until the round ends: the last one first is the worst for references across them.
    for (const [channel, frames] of [...streams.entries()].reverse()) {
      feed(this.#readers[channel] as StreamReader, Buffer.concat([...frames, end]), this.#neighbour)
    }
    this.#round++
  }

  /** What a destination does before it is ready: it tells the hashes of its neighbour's pages. */
  tell(): void {
    const neighbour = this.#neighbour as GuestMemory
    const { pageCount, scanHashes } = neighbour.layout
    createCopyHashes(neighbour, SEED).tell(0, pageCount, scanHashes)
    const index = ForeignIndex.create(pageCount)
    new ForeignIndex(index).add(0, neighbour.controlBytes.slice(scanHashes, scanHashes + 8 * pageCount))
    for (const encoding of this.encodings) {
      if (encoding?.references) encoding.references.foreign = new ForeignIndex(index)
    }
    this.to.controlWords[HEADER.foreignPages] = pageCount
  }

  /** Sends the missing pages until none is, as rounds of a migration do; returns how many rounds that took. */
  settle(): number {
    let rounds = 0
    for (; this.missing.length > 0; rounds++) this.round(this.missing, () => 0, rounds === 0)
    return rounds
  }

  /** Pages, payload bytes by encoding since the last call. */
  counts(): Record<string, { pages: number; bytes: number }> {
    const sum: Record<string, { pages: number; bytes: number }> = {}
    for (const sender of this.#senders) {
      for (const [name, { pages, bytes }] of Object.entries(sender.tally.take())) {
        const one = sum[name] ?? { pages: 0, bytes: 0 }
        sum[name] = { pages: one.pages + pages, bytes: one.bytes + bytes }
      }
    }
    return sum
  }

  get same(): boolean {
    return sameBytes(this.from.bytes, this.to.bytes) && digestTotal(this.from) === digestTotal(this.to)
  }
}

function feed(reader: StreamReader, bytes: Buffer, neighbour: GuestMemory | null): void {
  for (let at = 0; at < bytes.length; ) {
    const into = reader.next()
    const size = Math.min(into.length, bytes.length - at)
    into.set(bytes.subarray(at, at + size))
    at += size
    if (reader.advance(size) !== 'fetch') continue
    const { wanted, copies } = reader
    for (let index = 0; index < wanted.count; index++) {
      const page = wanted.foreign[index] as number
      if (neighbour !== null) copies.set(pageOf(neighbour.bytes, page), index * PAGE_BYTES)
      reader.placeWanted(index, neighbour === null ? null : index)
    }
    reader.endWanted()
  }
}

const pageOf = (bytes: Uint8Array, page: number): Uint8Array =>
  bytes.subarray(page * PAGE_BYTES, (page + 1) * PAGE_BYTES)
