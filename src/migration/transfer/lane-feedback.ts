// What a lane of the destination says to the source in the pull phase: the urgent one which pages are needed, every other
// one that a frame is placed. A locked guest steps here, by the pages that arrive.

import type { Socket } from 'node:net'
import { asksSeen, takeAsks } from '../../guest/asks.ts'
import { grantSteps, grantsUsed } from '../../guest/grants.ts'
import { HEADER } from '../../guest/layout.ts'
import type { GuestMemory } from '../../guest/memory.ts'
import { MAX_NEEDS } from '../../limits.ts'
import { encodeHeader, FRAME_HEADER_BYTES, FRAME_TYPE } from '../../wire/frame.ts'
import { encodeNeeds, NEED, needOf } from '../../wire/needs.ts'
import type { PullReader } from '../../wire/pull-reader.ts'
import { acquireSelectLock, releaseSelectLock, wordChanged } from './select-lock.ts'
import { count } from './thread-counters.ts'

export interface FeedbackOptions {
  readonly memory: GuestMemory
  readonly channel: number
  readonly locked: { readonly lambda: number } | null
  readonly urgent: boolean
  readonly socket: Socket
  readonly fail: (thrown: unknown) => void
}

const GOT = Buffer.alloc(FRAME_HEADER_BYTES)
encodeHeader(GOT, 0, { type: FRAME_TYPE.got, length: 0, round: 0 })

export class LaneFeedback {
  readonly #options: FeedbackOptions
  readonly #entries = new Uint32Array(MAX_NEEDS)
  #again: number[] = []
  #installedTold = 0
  #droppedTold = 0
  #closed = false

  constructor(options: FeedbackOptions) {
    this.#options = options
  }

  /** A frame is placed. False pauses the socket: a locked guest uses up its grants first. */
  pulled(reader: PullReader): boolean {
    const { memory, channel, locked, urgent, socket } = this.#options
    const pages = reader.installed - this.#installedTold
    this.#installedTold = reader.installed
    count(memory, channel, 'droppedPages', reader.dropped - this.#droppedTold)
    this.#droppedTold = reader.dropped
    if (locked === null) {
      if (!urgent) this.#write(GOT)
      return true
    }
    this.#step(pages * locked.lambda).then(() => {
      if (!urgent) this.#write(GOT)
      socket.resume()
    }, this.#options.fail)
    return urgent
  }

  /** R10: a page that came with a wrong hash is asked for once more. */
  again(page: number): void {
    this.#again.push(needOf(NEED.again, page))
    Atomics.add(this.#options.memory.controlWords, HEADER.asks, 1)
    Atomics.notify(this.#options.memory.controlWords, HEADER.asks)
  }

  /** The urgent lane: tells what vCPUs ask for, as they ask. */
  askForever(): void {
    this.#ask().catch(this.#options.fail)
  }

  close(): void {
    this.#closed = true
  }

  async #ask(): Promise<void> {
    const { memory } = this.#options
    while (!this.#closed) {
      const seen = asksSeen(memory)
      const needs = this.#collect()
      if (needs > 0) this.#write(encodeNeeds(this.#entries, needs))
      else await wordChanged(memory.controlWords, HEADER.asks, seen)
    }
  }

  #collect(): number {
    const entries = this.#entries
    let needs = 0
    for (const entry of this.#again.splice(0, MAX_NEEDS)) entries[needs++] = entry
    takeAsks(
      this.#options.memory,
      MAX_NEEDS - needs,
      (page) => {
        entries[needs++] = needOf(NEED.fault, page)
      },
      (page) => {
        entries[needs++] = needOf(NEED.unneeded, page)
      },
    )
    return needs
  }

  /** Grants steps and, on a bulk lane, waits until they are used; faults are answered meanwhile on the urgent lane. */
  async #step(steps: number): Promise<void> {
    const { memory, urgent } = this.#options
    await acquireSelectLock(memory)
    grantSteps(memory, steps)
    releaseSelectLock(memory)
    if (!urgent) await grantsUsed(memory)
  }

  #write(frame: Uint8Array): void {
    const { memory, channel, socket } = this.#options
    count(memory, channel, 'controlBytes', frame.length)
    if (!socket.destroyed) socket.write(frame)
  }
}
