// The urgent lane of the source: answers the faults of vCPUs at the destination and does nothing else. A page that was
// pushed already is under way; every other one is taken from the push lanes and leaves at once, before any limit.

import { GodwitError } from '../../errors.ts'
import { hasPage, returnPage, takePage } from '../../guest/page-set.ts'
import { kindOf, NEED, pageOf } from '../../wire/needs.ts'
import type { Lane } from './lane.ts'
import { PullSender } from './pull-batch.ts'
import { noteFault } from './push-order.ts'
import { count } from './thread-counters.ts'

/** Pages in one answer: a later fault must not wait for many earlier ones. */
const ANSWER_PAGES = 16
/** Answers that wait; every vCPU has one fault open at most, so more of them is a peer that floods. */
const MAX_PENDING = 1024
const SLOTS = 2

export class UrgentLane {
  readonly #lane: Lane
  readonly #sender: PullSender
  readonly #pending: number[] = []
  /** Entries that came before the pull began here: the destination may ask a moment earlier than the source may answer. */
  #held: number[] | null = []
  #answering = false

  constructor(lane: Lane) {
    this.#lane = lane
    this.#sender = new PullSender(lane)
  }

  /** The pages to send are known: answers what was asked already, and from now on at once. Failures go to the lane. */
  start(): void {
    if (this.#held === null) return
    const held = this.#held
    this.#held = null
    try {
      this.#take(held)
    } catch (thrown) {
      this.#lane.fail(thrown)
    }
  }

  /** Entries of a NEED frame. Throws `unexpected-message`, `bad-run`. */
  onNeed(entries: Uint32Array): void {
    if (this.#held === null) return this.#take(entries)
    for (const entry of entries) {
      if (this.#held.length < MAX_PENDING) this.#held.push(entry)
      // A guest may write any number of whole pages while the link is down. A page that comes all the same is dropped.
      else if (kindOf(entry) !== NEED.unneeded) throw flood()
    }
  }

  #take(entries: Iterable<number>): void {
    const { memory } = this.#lane
    const { toSend, pageCount } = memory.layout
    for (const entry of entries) {
      const page = pageOf(entry)
      if (page >= pageCount) {
        const message = `page ${page} was asked for in a guest of ${pageCount} pages`
        throw new GodwitError('bad-run', message, { side: 'destination' })
      }
      const kind = kindOf(entry)
      if (kind === NEED.unneeded) {
        if (takePage(memory, toSend, page)) count(memory, this.#lane.channel, 'skippedPages', 1)
        continue
      }
      if (kind === NEED.again && !hasPage(memory, toSend, page)) returnPage(memory, toSend, page)
      if (takePage(memory, toSend, page)) this.#pending.push(page)
      noteFault(memory, page)
    }
    if (this.#pending.length > MAX_PENDING) throw flood()
    if (!this.#answering) this.#answer().catch((thrown) => this.#lane.fail(thrown))
  }

  async #answer(): Promise<void> {
    const { memory, channel } = this.#lane
    this.#answering = true
    const inFlight: Promise<void>[] = Array.from({ length: SLOTS }, () => Promise.resolve())
    try {
      for (let slot = 0; this.#pending.length > 0; slot = (slot + 1) % SLOTS) {
        await inFlight[slot]
        const pages = this.#pending.splice(0, ANSWER_PAGES)
        pages.sort((a, b) => a - b)
        memory.controlWords.set(pages, this.#sender.listOffset / 4)
        const batch = this.#sender.prepare(pages.length, slot)
        count(memory, channel, 'askedPages', pages.length)
        count(memory, channel, 'zeroPages', batch.zeroPages)
        const sent = this.#lane.send(batch, false)
        sent.catch(() => {})
        inFlight[slot] = sent
      }
      await Promise.all(inFlight)
    } finally {
      this.#answering = false
    }
    if (this.#pending.length > 0) await this.#answer()
  }
}

const flood = (): GodwitError =>
  new GodwitError('unexpected-message', `over ${MAX_PENDING} faults at once`, { side: 'destination' })
