// Page transfer on the virtual clock: the real batch sender and the real stream reader, with a simulated line for each
// channel between them. Channels overtake each other; bytes can be cut, stalled and corrupted.

import type { BatchEncoding } from '../../src/encoding/batch-encoding.ts'
import { ReferenceIndex } from '../../src/encoding/reference-index.ts'
import { addCounts } from '../../src/encoding/tally.ts'
import { createVersions } from '../../src/encoding/version-store.ts'
import { GodwitError } from '../../src/errors.ts'
import type { GuestMemory } from '../../src/guest/memory.ts'
import type { Kernels } from '../../src/kernels/kernels.ts'
import type { PageDestination, PageSource, RoundOrder, RoundPlaced, RoundSent } from '../../src/migration/ports.ts'
import { BatchSender, beginRound } from '../../src/migration/transfer/batch.ts'
import { encodeHeader, FRAME_HEADER_BYTES, FRAME_TYPE } from '../../src/wire/frame.ts'
import { StreamReader } from '../../src/wire/stream-reader.ts'
import { encodingWith, SEED } from '../encoding/encoding-with.ts'
import { RandomPolicy } from '../encoding/random-policy.ts'
import type { Random } from './random.ts'
import type { VirtualClock } from './virtual-clock.ts'

interface Channel {
  readonly sender: BatchSender
  readonly reader: StreamReader
  /** Arrived, but not yet read: the channel waits for the others to end the round (R12). */
  readonly waiting: Uint8Array[]
  readonly jitterMs: number
  lastDelivery: number
  paused: boolean
}

export interface PagesOptions {
  readonly clock: VirtualClock
  readonly random: Random
  readonly from: { memory: GuestMemory; kernels: Kernels }
  readonly to: { memory: GuestMemory; kernels: Kernels }
  readonly channels: number
  readonly bytesPerMs: number
  readonly latencyMs: number
  readonly hash: boolean
  /** Of the hashes of a stale copy. */
  readonly seed: bigint
  /** Pages are encoded, in ways that are chosen by lot. */
  readonly encodes: boolean
}

export class SimulatedPages implements PageSource, PageDestination {
  readonly pulled = new Promise<void>(() => {})
  readonly dropped = 0
  readonly pullCounts = { pushed: 0, asked: 0, skipped: 0, zeroPages: 0 }

  readonly bytes = { sent: 0, received: 0, control: 0 }
  readonly #options: PagesOptions
  readonly #channels: Channel[]
  readonly #lost: Promise<never>
  readonly #waiting = new Map<number, { resolve(placed: RoundPlaced): void; reject(error: unknown): void }>()
  #fail: (error: GodwitError) => void = () => {}
  #failure: GodwitError | null = null
  #corruptNext = false
  #stalledUntil = 0
  #placedRound = -1
  #placedBytes = 0
  #missing: number[] = []
  /** The round that repeats what the last one missed; −1 until there is one. */
  #reliesOnNothing = -1
  /** Pages missing by round. */
  readonly #missed: number[][] = []

  constructor(options: PagesOptions) {
    this.#options = options
    const { from, to, hash, random, seed } = options
    this.#lost = new Promise((_, reject) => {
      this.#fail = reject
    })
    this.#lost.catch(() => {})
    const versions = createVersions(random.below(40) * 4096, from.memory.layout.pageCount)
    ReferenceIndex.clear(from.memory)
    const encodingOf = (channel: number): BatchEncoding =>
      encodingWith(new RandomPolicy(random.below(1 << 20)), { ...from, versions }, channel)
    const session = { seed: SEED, missing: (page: number) => this.#missing.push(page) }
    this.#channels = Array.from({ length: options.channels }, (_, channel) => ({
      sender: new BatchSender({
        ...from,
        channel,
        seed,
        encoding: options.encodes ? encodingOf(channel) : null,
      }),
      reader: new StreamReader({ ...to, channel, hash, session }),
      waiting: [],
      jitterMs: random.share() * 4,
      lastDelivery: 0,
      paused: false,
    }))
  }

  answer(): void {}

  share(): void {}

  pull(): void {
    throw new Error('the simulation does not pull')
  }

  async sendRound(order: RoundOrder): Promise<RoundSent> {
    const sent = { sent: 0, skipped: 0, free: 0, bytes: 0, encodings: {}, verdict: null }
    beginRound(this.#options.from.memory)
    if (order.refer === false) this.#reliesOnNothing = order.round
    const drain = async (channel: Channel): Promise<void> => {
      for (let slot = 0; ; slot = 1 - slot) {
        const { count, skipped, freed, last } = { ...channel.sender.select(order) }
        sent.skipped += skipped
        sent.free += freed
        if (count > 0) {
          const batch = channel.sender.prepare(count, slot, order)
          sent.sent += batch.pages
          sent.bytes += batch.bytes
          // What a socket takes is what the pages are at some moment of the sending: here, halfway through.
          await this.#options.clock.sleep(batch.bytes / this.#options.bytesPerMs / 2)
          if (batch.pages > 0) this.#send(channel, Buffer.concat(batch.buffers))
          await this.#options.clock.sleep(batch.bytes / this.#options.bytesPerMs / 2)
        }
        if (last) break
      }
      const end = new Uint8Array(FRAME_HEADER_BYTES)
      encodeHeader(end, 0, { type: FRAME_TYPE.roundEnd, length: 0, round: order.round })
      this.#send(channel, end)
    }
    await Promise.race([Promise.all(this.#channels.map(drain)), this.#lost])
    for (const { sender } of this.#channels) addCounts(sent.encodings, sender.tally.take())
    return sent
  }

  placed(round: number): Promise<RoundPlaced> {
    if (this.#failure !== null) return Promise.reject(this.#failure)
    if (this.#placedRound >= round)
      return Promise.resolve({ bytes: this.#placedBytes, missing: this.#missed[round] ?? [] })
    return new Promise((resolve, reject) => this.#waiting.set(round, { resolve, reject }))
  }

  /** Pages that were asked for once more, in all rounds. */
  get missed(): number {
    return this.#missed.reduce((sum, { length }) => sum + length, 0)
  }

  get failed(): Promise<never> {
    return this.#lost
  }

  setBandwidth(): void {}

  progress(): { pages: number; bytes: number } {
    return { pages: 0, bytes: this.bytes.sent }
  }

  /** Either side closing its channels ends them for both. */
  async close(): Promise<void> {
    this.#options.clock.after(this.#options.latencyMs, () => this.cut())
  }

  cut(): void {
    this.#break(new GodwitError('link-lost', 'a simulated channel was cut'))
  }

  corrupt(): void {
    this.#corruptNext = true
  }

  stall(ms: number): void {
    this.#stalledUntil = Math.max(this.#stalledUntil, this.#options.clock.now() + ms)
  }

  #break(error: GodwitError): void {
    if (this.#failure !== null) return
    this.#failure = error
    this.#fail(error)
    for (const { reject } of this.#waiting.values()) reject(error)
  }

  #send(channel: Channel, bytes: Uint8Array): void {
    if (this.#failure !== null) return
    this.bytes.sent += bytes.length
    const { clock, latencyMs, random } = this.#options
    if (this.#corruptNext) {
      this.#corruptNext = false
      const at = random.below(bytes.length)
      bytes[at] = (bytes[at] as number) ^ (1 << random.below(8))
    }
    const arrival = Math.max(clock.now(), this.#stalledUntil) + latencyMs + channel.jitterMs
    channel.lastDelivery = Math.max(channel.lastDelivery, arrival)
    clock.after(channel.lastDelivery - clock.now(), () => {
      if (this.#failure !== null) return
      channel.waiting.push(bytes)
      this.#read(channel)
    })
  }

  #read(channel: Channel): void {
    try {
      while (!channel.paused && channel.waiting.length > 0 && this.#failure === null) {
        const bytes = channel.waiting[0] as Uint8Array
        const room = channel.reader.next()
        const size = Math.min(room.length, bytes.length, 1 + this.#options.random.below(9000))
        room.set(bytes.subarray(0, size))
        if (size === bytes.length) channel.waiting.shift()
        else channel.waiting[0] = bytes.subarray(size)
        if (channel.reader.advance(size) === 'round-end') this.#endRound(channel)
      }
    } catch (thrown) {
      const { code, message } = GodwitError.from(thrown)
      this.#break(new GodwitError(code, message, { side: 'destination' }))
    }
  }

  #endRound(channel: Channel): void {
    channel.paused = true
    if (!this.#channels.every(({ paused }) => paused)) return
    this.#placedRound++
    for (const each of this.#channels) each.paused = false
    const { encodes, random, to } = this.#options
    const missing = this.#missing
    this.#missing = []
    // Guests this small miss next to nothing by themselves; a destination may ask for any page once more.
    const mayMiss = encodes && this.#placedRound !== this.#reliesOnNothing
    if (mayMiss && random.chance(0.2)) missing.push(random.below(to.memory.layout.pageCount))
    this.#missed.push(missing)
    this.#waiting.get(this.#placedRound)?.resolve({ bytes: this.#placedBytes, missing })
    for (const each of this.#channels) this.#options.clock.after(0, () => this.#read(each))
  }
}
