// Which replies gateways have, told to a vCPU beside its ring of requests: an acknowledgement must reach a vCPU that takes
// no request because it has no room for replies (R30). A table in host memory; the main thread writes, the vCPU reads.

import { MAX_GATEWAYS } from '../limits.ts'

/** One gateway: its number (Int32), and behind it the sequence (BigInt64). */
const ENTRY_BYTES = 16

export const newAcknowledgements = (): SharedArrayBuffer => new SharedArrayBuffer(MAX_GATEWAYS * ENTRY_BYTES)

/** The main thread's end. */
export class AcknowledgementWriter {
  readonly #numbers: Int32Array<SharedArrayBuffer>
  readonly #sequences: BigInt64Array<SharedArrayBuffer>
  /** Entry and sequence of each gateway; the one that spoke last is last. */
  readonly #known = new Map<number, { entry: number; sequence: number }>()

  constructor(table: SharedArrayBuffer) {
    this.#numbers = new Int32Array(table)
    this.#sequences = new BigInt64Array(table)
  }

  /** The gateway has every reply up to this sequence. */
  set(gateway: number, sequence: number): void {
    const known = this.#known.get(gateway)
    if (known !== undefined && known.sequence >= sequence) return
    const entry = known?.entry ?? this.#entry(gateway)
    this.#known.delete(gateway)
    this.#known.set(gateway, { entry, sequence })
    Atomics.store(this.#sequences, entry * 2 + 1, BigInt(sequence))
  }

  /** A free entry, or that of the gateway that was silent for the longest time. */
  #entry(gateway: number): number {
    let entry = this.#known.size
    const [oldest] = this.#known
    if (entry === MAX_GATEWAYS && oldest !== undefined) {
      entry = oldest[1].entry
      this.#known.delete(oldest[0])
    }
    Atomics.store(this.#numbers, entry * 4, 0)
    Atomics.store(this.#sequences, entry * 2 + 1, 0n)
    Atomics.store(this.#numbers, entry * 4, gateway | 0)
    return entry
  }
}

/** The vCPU's end. */
export class AcknowledgementReader {
  readonly #numbers: Int32Array<SharedArrayBuffer>
  readonly #sequences: BigInt64Array<SharedArrayBuffer>

  constructor(table: SharedArrayBuffer) {
    this.#numbers = new Int32Array(table)
    this.#sequences = new BigInt64Array(table)
  }

  /** The sequence up to which the gateway has its replies, as far as it has said; 0: it has said nothing. */
  of(gateway: number): number {
    for (let entry = 0; entry < MAX_GATEWAYS; entry++) {
      if (Atomics.load(this.#numbers, entry * 4) !== (gateway | 0)) continue
      const sequence = Atomics.load(this.#sequences, entry * 2 + 1)
      // An entry changes hands through number 0: the sequence is this gateway's if the number is the same around it.
      return Atomics.load(this.#numbers, entry * 4) === (gateway | 0) ? Number(sequence) : 0
    }
    return 0
  }
}
