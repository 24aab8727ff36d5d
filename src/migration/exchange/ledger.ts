// What one side of the exchange has given and not had confirmed, and how much of the other side's gifts has taken effect
// here (R25). Pure: core.ts keeps one; nothing here knows pages, sockets or threads. Ownership frames are numbered from 1 in
// each direction; a frame takes effect as a whole or not at all, in its order, so that one count says which have.
//
//   give ─► in flight ──GOT──► theirs
//               └─────cut, and the count that the next link begins with is below the frame's number──► ours again

import { assert, GodwitError } from '../../errors.ts'

/** An ownership frame that left here. */
export type Unconfirmed =
  | {
      readonly kind: 'pages'
      readonly pages: Uint32Array
      /** 1 for a page that went with data, 0 for one of which the peer had a good copy. */
      readonly withData: Uint8Array
      /** The last frame of a push: its window learns of the whole when this one is confirmed. */
      closesPush: boolean
    }
  /** First page, count, generation and home of each run. */
  | { readonly kind: 'runs'; readonly runs: Uint32Array; closesPush: boolean }
  | { readonly kind: 'vcpu'; readonly vcpu: number }

/** Plain data: the explorer copies it. */
export interface LedgerState {
  /** Number of the last frame that left. */
  sent: number
  /** Ownership frames of the other side that have taken effect here. */
  applied: number
  /** The last of these counts that the other side was told. */
  told: number
  /** Frames under way, oldest first; the last has the number `sent`. */
  frames: Unconfirmed[]
}

export const freshLedger = (): LedgerState => ({ sent: 0, applied: 0, told: 0, frames: [] })

export class Ledger {
  readonly #state: LedgerState

  constructor(state: LedgerState) {
    this.#state = state
  }

  get applied(): number {
    return this.#state.applied
  }

  /** Frames of the other side that took effect and that it was not told of yet. */
  get untold(): boolean {
    return this.#state.told !== this.#state.applied
  }

  get inFlight(): boolean {
    return this.#state.frames.length > 0
  }

  /** The number that the next frame will have. */
  get nextNumber(): number {
    return this.#state.sent + 1
  }

  sent(frame: Unconfirmed): void {
    this.#state.sent++
    this.#state.frames.push(frame)
  }

  /** The frame that was sent last ends a push. */
  closePush(): void {
    const last = this.#state.frames.at(-1)
    if (last !== undefined && last.kind !== 'vcpu') last.closesPush = true
  }

  /** Throws `bad-frame` unless `number` is the next one: none is lost, none comes twice. */
  requireNext(number: number): void {
    const { applied } = this.#state
    if (number !== applied + 1) throw new GodwitError('bad-frame', `ownership frame ${number} behind ${applied}`)
  }

  apply(): void {
    this.#state.applied++
  }

  /** The count to tell now. */
  tell(): number {
    this.#state.told = this.#state.applied
    return this.#state.told
  }

  /** The other side has `count` of our frames: calls `each` for those that this confirms. Throws `bad-frame`. */
  confirm(count: number, each: (frame: Unconfirmed) => void): void {
    const { sent, frames } = this.#state
    const fresh = count - (sent - frames.length)
    if (fresh < 0 || count > sent) {
      throw new GodwitError('bad-frame', `${count} of ${sent} ownership frames confirmed, ${frames.length} under way`)
    }
    for (const frame of frames.splice(0, fresh)) each(frame)
  }

  /**
   * A link begins, and the other side has `count` of our frames: those are confirmed, the rest never happened, newest first.
   * The next frame has the number behind `count`. Throws `bad-frame`.
   */
  settle(count: number, confirmed: (frame: Unconfirmed) => void, undone: (frame: Unconfirmed) => void): void {
    this.confirm(count, confirmed)
    const { frames } = this.#state
    while (frames.length > 0) undone(frames.pop() as Unconfirmed)
    this.#state.sent = count
    assert(this.#state.frames.length === 0, 'nothing is in flight when a link begins')
  }
}

/** Runs lie one behind the other: first page, count, generation, home. */
export function eachRun(
  runs: ArrayLike<number>,
  visit: (first: number, count: number, generation: number, home: number) => void,
): void {
  for (let at = 0; at < runs.length; at += 4) {
    visit(runs[at] as number, runs[at + 1] as number, runs[at + 2] as number, runs[at + 3] as number)
  }
}

/** Every page of a frame, and whether it went with its data. */
export function eachPage(
  frame: Exclude<Unconfirmed, { kind: 'vcpu' }>,
  visit: (page: number, withData: boolean) => void,
): void {
  if (frame.kind === 'runs') {
    eachRun(frame.runs, (first, count) => {
      for (let page = first; page < first + count; page++) visit(page, false)
    })
    return
  }
  for (let index = 0; index < frame.pages.length; index++)
    visit(frame.pages[index] as number, frame.withData[index] === 1)
}
