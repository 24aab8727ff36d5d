// What a channel's link carries, from the writes of its transfer thread: the median of the last few, so that neither a
// thread that was interrupted nor a short last round changes the adaptive chooser's mind. Pure; no clock.

/** Writes that count. */
const WRITES = 9

export class LinkEstimate {
  readonly #msPerByte = new Float64Array(WRITES)
  readonly #sorted = new Float64Array(WRITES)
  #noted = 0

  /** A write of `bytes` took `ms`. */
  note(bytes: number, ms: number): void {
    if (bytes <= 0) return
    this.#msPerByte[this.#noted++ % WRITES] = Math.max(ms, 0) / bytes
  }

  /** Milliseconds a byte; null: nothing was written yet. */
  get msPerByte(): number | null {
    const count = Math.min(this.#noted, WRITES)
    if (count === 0) return null
    const sorted = this.#sorted.subarray(0, count)
    sorted.set(this.#msPerByte.subarray(0, count))
    sorted.sort()
    return sorted[(count - 1) >>> 1] as number
  }
}
