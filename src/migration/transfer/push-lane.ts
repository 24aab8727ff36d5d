// Active push and pre-paging: a bulk lane of the source sends what is left, in the order of the policy, within its window
// of unacknowledged bytes, until nothing is left. It never stops for faults; they only move its pivot and shrink its
// window, so that little lies in front of a page that was asked for just after it was pushed.

import { GodwitError } from '../../errors.ts'
import { HEADER } from '../../guest/layout.ts'
import { BATCHES_IN_FLIGHT } from '../../limits.ts'
import type { PullOrder } from '../ports.ts'
import type { Lane } from './lane.ts'
import { PullSender } from './pull-batch.ts'
import { createPushOrder, type PushOrder } from './push-order.ts'
import { PushWindow } from './push-window.ts'
import { acquireSelectLock, releaseSelectLock, throwIfAborted } from './select-lock.ts'
import { count } from './thread-counters.ts'

/** Pages of a batch to a locked guest: in virtual time little may happen between two looks at the pivot. */
export const LOCKED_BATCH_PAGES = 16

export class PushLane {
  readonly #lane: Lane
  readonly #locked: boolean
  readonly #sender: PullSender
  readonly #window = new PushWindow()
  #order: PushOrder | null = null
  #turnSeen = 0
  #acknowledged: () => void = () => {}

  constructor(lane: Lane, locked: boolean) {
    this.#lane = lane
    this.#locked = locked
    this.#sender = new PullSender(lane)
  }

  /** Pushes until nothing is left; failures go to the lane. */
  start({ push }: PullOrder): void {
    const { memory, kernels } = this.#lane
    this.#order = createPushOrder(push, memory, kernels)
    this.#push(this.#order).catch((thrown) => this.#lane.fail(thrown))
  }

  /** The destination has placed the oldest frame under way. Throws `unexpected-message`. */
  onGot(): void {
    if (this.#window.inFlightBytes === 0) {
      throw new GodwitError('unexpected-message', 'an acknowledgement of no frame', { side: 'destination' })
    }
    this.#window.acked(performance.now())
    this.#acknowledged()
  }

  async #push(order: PushOrder): Promise<void> {
    const { memory } = this.#lane
    const inFlight: Promise<void>[] = Array.from({ length: BATCHES_IN_FLIGHT }, () => Promise.resolve())
    let tail: Promise<void> = Promise.resolve()
    for (let slot = 0; ; slot = (slot + 1) % BATCHES_IN_FLIGHT) {
      await inFlight[slot]
      throwIfAborted(memory)
      await this.#room()
      const pages = await this.#select(order)
      if (pages === 0) return
      const batch = this.#sender.prepare(pages, slot)
      count(memory, this.#lane.channel, 'pushedPages', pages)
      count(memory, this.#lane.channel, 'zeroPages', batch.zeroPages)
      tail = tail.then(() => {
        this.#window.sent(batch.bytes, performance.now())
        return this.#lane.send(batch, true)
      })
      tail.catch(() => {})
      inFlight[slot] = tail
      if (this.#locked) {
        await tail
        await this.#allAcknowledged()
        releaseSelectLock(memory)
      }
    }
  }

  /** A locked guest steps between two batches of all lanes: the lock is kept until the acknowledgement. */
  async #select(order: PushOrder): Promise<number> {
    const { memory } = this.#lane
    await acquireSelectLock(memory)
    const most = this.#locked ? LOCKED_BATCH_PAGES : this.#window.batchPages()
    const pages = order.select(most, this.#sender.listOffset)
    if (!this.#locked || pages === 0) releaseSelectLock(memory)
    return pages
  }

  async #room(): Promise<void> {
    for (;;) {
      this.#noteFaults()
      if (this.#window.room()) return
      await this.#nextAcknowledgement()
      throwIfAborted(this.#lane.memory)
    }
  }

  async #allAcknowledged(): Promise<void> {
    while (this.#window.inFlightBytes > 0) {
      await this.#nextAcknowledgement()
      throwIfAborted(this.#lane.memory)
    }
  }

  #nextAcknowledgement(): Promise<void> {
    return new Promise((resolve) => {
      this.#acknowledged = resolve
    })
  }

  #noteFaults(): void {
    const turn = Atomics.load(this.#lane.memory.controlWords, HEADER.pivotTurn)
    if (turn !== this.#turnSeen) this.#window.fault()
    this.#turnSeen = turn
  }
}
