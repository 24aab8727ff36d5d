// The bytes of a lane's commands, a queue in one buffer that grows: each entry lies in one piece, so that neighbours can be
// copied together. Positions count up for ever and stay what they are when the buffer grows. Pure. Used by lane.ts.

const FIRST_BYTES = 64 * 1024

export class EntryStore {
  bytes = new Uint8Array(FIRST_BYTES)
  view = new DataView(this.bytes.buffer)
  #head = 0
  #tail = 0

  get bytesUsed(): number {
    return this.#tail - this.#head
  }

  /** Where in `bytes` the entry of that position lies. */
  offset(position: number): number {
    return position & (this.bytes.length - 1)
  }

  /** Room for an entry of so many bytes behind the others; its position. */
  add(size: number): number {
    for (;;) {
      const left = this.bytes.length - this.offset(this.#tail)
      const position = size > left ? this.#tail + left : this.#tail
      if (position + size - this.#head <= this.bytes.length) {
        this.#tail = position + size
        return position
      }
      this.#grow()
    }
  }

  /** The entries before that position are not needed any more. */
  freeBefore(position: number): void {
    this.#head = position
  }

  clear(): void {
    this.#head = 0
    this.#tail = 0
  }

  #grow(): void {
    const old = this.bytes
    const capacity = old.length
    this.bytes = new Uint8Array(2 * capacity)
    this.view = new DataView(this.bytes.buffer)
    // An entry lies across no multiple of the old capacity, so across none of the new one.
    for (let from = this.#head; from < this.#tail; ) {
      const at = from & (capacity - 1)
      const to = Math.min(this.#tail, from + capacity - at)
      this.bytes.set(old.subarray(at, at + to - from), this.offset(from))
      from = to
    }
  }
}
