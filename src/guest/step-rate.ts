// How many steps a second the vCPUs of a guest make at this host, for status and reports. Pure. vcpus.ts has one.

const SAMPLE_MS = 100

export class StepRate {
  readonly #now: () => number
  #at: number
  #steps = 0
  #perSecond = 0

  /** `now`: milliseconds. */
  constructor(now: () => number) {
    this.#now = now
    this.#at = now()
  }

  /** They begin to run; so many steps were made before. */
  begin(steps: number): void {
    this.#at = this.#now()
    this.#steps = steps
  }

  /** So many steps more were made elsewhere: a vCPU came with them. */
  skip(steps: number): void {
    this.#steps += steps
  }

  /** Over the time since it was asked last, at least 100 ms; `steps`: of all vCPUs so far. */
  perSecond(steps: number): number {
    const ms = this.#now() - this.#at
    if (ms < SAMPLE_MS) return this.#perSecond
    this.#perSecond = ((steps - this.#steps) / ms) * 1000
    this.begin(steps)
    return this.#perSecond
  }
}
