// The proof that no increment was lost or done twice: what was acknowledged and what may have been done, a counter each,
// against what the server says. Without failures both are equal and the check is exact; an increment whose reply never
// came, or was an error, may have been done (R31): acknowledged ≤ counter ≤ acknowledged + unanswered.

export interface CountersVerdict {
  /** Every counter is within its bounds, every reply was right, and every counter could be read. */
  readonly ok: boolean
  readonly counters: number
  readonly increments: number
  /** Sums of what was added: acknowledged, of unknown outcome, and as read at the end. */
  readonly acknowledged: number
  readonly unanswered: number
  readonly read: number
  /** Counters below what was acknowledged, above what was sent, and not read. */
  readonly lost: number
  readonly doubled: number
  readonly unread: number
  /** Replies that cannot be right: another key's value, none where one was written, an increment out of its bounds. */
  readonly wrongReplies: number
  /** The first counters that are wrong. */
  readonly examples: readonly { counter: number; read: number; least: number; most: number }[]
}

const EXAMPLES = 8

export class Counters {
  wrongReplies = 0
  #increments = 0
  readonly #acknowledged: Float64Array
  readonly #unanswered: Float64Array
  /** Read at the end; NaN: not yet. */
  readonly #read: Float64Array

  constructor(count: number) {
    this.#acknowledged = new Float64Array(count)
    this.#unanswered = new Float64Array(count)
    this.#read = new Float64Array(count).fill(Number.NaN)
  }

  /**
   * An increment by `added` was acknowledged with the counter's new value. False: it cannot be that. Replies of a counter's
   * connection come in order, so what is behind this increment in the queue has not been done.
   */
  acknowledge(counter: number, added: number, value: number): boolean {
    const least = (this.#acknowledged[counter] as number) + added
    this.#acknowledged[counter] = least
    this.#increments++
    return value >= least && value <= least + (this.#unanswered[counter] as number)
  }

  /** An increment may have been done. */
  doubt(counter: number, added: number): void {
    this.#unanswered[counter] = (this.#unanswered[counter] as number) + added
    this.#increments++
  }

  /** A counter's value at the end; NaN: the reply was no number. */
  read(counter: number, value: number): void {
    this.#read[counter] = value
  }

  verdict(): CountersVerdict {
    let [acknowledged, unanswered, read, lost, doubled, unread] = [0, 0, 0, 0, 0, 0]
    const examples: { counter: number; read: number; least: number; most: number }[] = []
    for (let counter = 0; counter < this.#read.length; counter++) {
      const [least, value] = [this.#acknowledged[counter] as number, this.#read[counter] as number]
      const most = least + (this.#unanswered[counter] as number)
      acknowledged += least
      unanswered += most - least
      if (Number.isNaN(value)) {
        unread++
        continue
      }
      read += value
      if (value < least) lost++
      if (value > most) doubled++
      if ((value < least || value > most) && examples.length < EXAMPLES) {
        examples.push({ counter, read: value, least, most })
      }
    }
    const { wrongReplies } = this
    const ok = lost === 0 && doubled === 0 && unread === 0 && wrongReplies === 0
    const counters = this.#read.length
    const sums = { acknowledged, unanswered, read, lost, doubled, unread, wrongReplies, examples }
    return { ok, counters, increments: this.#increments, ...sums }
  }
}
