// How many steps a second the vCPUs of a guest make at this host, for status and reports: over the last one to two seconds, whenever
// somebody asked before. vcpus.ts has one.

const SAMPLE_MS = 1000
/** A shorter time tells nothing. */
const LEAST_MS = 100

interface Mark {
  /** performance.now(). */
  readonly ms: number
  readonly steps: number
}

export class StepRate {
  readonly #steps: () => number
  readonly #timer: NodeJS.Timeout
  #older: Mark = { ms: performance.now(), steps: 0 }
  #newer: Mark = this.#older
  #elsewhere = 0
  #perSecond = 0

  /** `steps`: of all vCPUs so far, of a guest that begins with none. */
  constructor(steps: () => number) {
    this.#steps = steps
    this.#timer = setInterval(() => this.#sample(), SAMPLE_MS).unref()
  }

  /** They begin to run. */
  begin(): void {
    this.#newer = this.#mark()
    this.#older = this.#newer
  }

  /** So many steps more were made elsewhere: a vCPU came with them. */
  skip(steps: number): void {
    this.#elsewhere += steps
  }

  /** In the first moments behind `begin`: what it was when it was asked last. */
  perSecond(): number {
    const { ms, steps } = this.#mark()
    const passedMs = ms - this.#older.ms
    if (passedMs >= LEAST_MS) this.#perSecond = ((steps - this.#older.steps) / passedMs) * 1000
    return this.#perSecond
  }

  end(): void {
    clearInterval(this.#timer)
  }

  #sample(): void {
    this.#older = this.#newer
    this.#newer = this.#mark()
  }

  #mark(): Mark {
    return { ms: performance.now(), steps: this.#steps() - this.#elsewhere }
  }
}
