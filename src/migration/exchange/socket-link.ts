// The exchange's way to the other side over a socket: frames of one turn of the event loop leave in one write, pages straight
// from guest memory. Nobody writes a page between its handshake and the peer's acknowledgement, so no copy is needed: what
// is still in the socket when the link is cut is dropped with it. Used by the exchange thread.

import type { Socket } from 'node:net'
import type { GuestMemory } from '../../guest/memory.ts'
import { EXCHANGE_BACKLOG_BYTES, EXCHANGE_CHANNEL, PAGE_BYTES } from '../../limits.ts'
import {
  type Crossing,
  encodeApplied,
  encodeAsk,
  encodeCross,
  encodeGive,
  encodeRuns,
  type GiveTable,
  HOW,
  type RunsTable,
} from '../../wire/exchange-frames.ts'
import { charge } from '../transfer/pacer.ts'
import { count } from '../transfer/thread-counters.ts'
import type { ExchangeLink } from './sides.ts'

export class SocketLink implements ExchangeLink {
  readonly #memory: GuestMemory
  #socket: Socket | null = null
  #corked = false

  constructor(memory: GuestMemory) {
    this.#memory = memory
  }

  /** Frames go to this socket from now on; null: nowhere. */
  use(socket: Socket | null): void {
    this.#socket = socket
    this.#corked = false
  }

  get open(): boolean {
    return this.#socket !== null && this.#socket.writableLength < EXCHANGE_BACKLOG_BYTES
  }

  give(table: GiveTable): number {
    const frame = encodeGive(table)
    this.#write(frame)
    let bytes = frame.length
    // Raw pages that follow each other in the table and in the guest leave as one piece.
    let [first, end] = [0, 0]
    const leave = (): void => {
      if (end > first) this.#write(this.#memory.bytes.subarray(first * PAGE_BYTES, end * PAGE_BYTES))
      bytes += (end - first) * PAGE_BYTES
    }
    for (let index = 0; index < table.count; index++) {
      if (table.how[index] !== HOW.raw) continue
      const page = table.pages[index] as number
      if (page !== end) {
        leave()
        first = page
      }
      end = page + 1
    }
    leave()
    return bytes
  }

  runs(table: RunsTable): number {
    return this.#write(encodeRuns(table))
  }

  cross(crossing: Crossing): void {
    this.#write(encodeCross(crossing))
  }

  ask(pages: Uint32Array, count: number): void {
    this.#write(encodeAsk(pages, count))
  }

  applied(count: number): void {
    this.#write(encodeApplied(count))
  }

  /** What was written since the last time leaves. */
  flush(): void {
    if (!this.#corked) return
    this.#corked = false
    this.#socket?.uncork()
  }

  #write(bytes: Uint8Array): number {
    const socket = this.#socket
    if (socket === null || socket.destroyed) return bytes.length
    if (!this.#corked) socket.cork()
    this.#corked = true
    socket.write(bytes)
    charge(this.#memory, bytes.length)
    count(this.#memory, EXCHANGE_CHANNEL, 'controlBytes', bytes.length)
    return bytes.length
  }
}
