// How many steps a vCPU may take now: the pace of its guest, grants of a locked one, the throttle's duty cycle, and the
// size of a batch between two polls. Every wait is a park at a step boundary (R4), never a busy loop.

import { POLL_STEPS } from '../limits.ts'
import type { GuestConfig } from './config.ts'
import { HEADER } from './layout.ts'
import type { GuestMemory } from './memory.ts'
import type { VcpuWords } from './safepoint.ts'
import type { VcpuSafepoint } from './vcpu-safepoint.ts'

/** A batch that takes longer makes the next one smaller, so that a handshake waits about this long at most. */
const SLOW_BATCH_MS = 0.2
const QUICK_BATCH_MS = 0.1
/** A paced vCPU sleeps at least this long, so that it wakes 500 times a second and not 20,000. */
const PACE_SLEEP_MS = 2
/** Steps a paced vCPU may catch up after the processor was away. */
const PACE_BURST_MS = 20
/** One run and one rest of the throttle; QEMU's slice of 10 ms is of the same size. */
const THROTTLE_PERIOD_MS = 20
const IDLE_MS = 10
const FLUSH_INTERVAL_MS = 1

export class Pacer {
  readonly #memory: GuestMemory
  readonly #words: VcpuWords
  readonly #safepoint: VcpuSafepoint
  readonly #locked: boolean
  readonly #stepsPerMs: number
  #batch = POLL_STEPS
  #now = performance.now()
  #flushedAt = 0
  #limit = 0
  #credit = 0
  #creditAt = performance.now()
  #pausesLeft = 0
  /** The throttle's slice: runs until `#restFrom`, rests until `#runFrom`. */
  #throttleShare = 0
  #restFrom = 0
  #runFrom = 0

  constructor(memory: GuestMemory, words: VcpuWords, safepoint: VcpuSafepoint, config: GuestConfig) {
    this.#memory = memory
    this.#words = words
    this.#safepoint = safepoint
    this.#locked = config.pace.kind === 'locked'
    const perSecond = config.pace.kind === 'free' ? config.pace.perSecond : null
    this.#stepsPerMs = perSecond === null ? Number.POSITIVE_INFINITY : perSecond / config.vcpus / 1000
  }

  /** Steps until the next poll; 0 after a park, when everything must be looked at again. */
  budget(): number {
    const safepoint = this.#safepoint
    if (safepoint.pausesLeft !== this.#pausesLeft) this.#startAnew()
    if ((safepoint.throttleShare > 0 || this.#throttleShare > 0) && this.#rests()) return 0
    if (this.#locked) return this.#granted()
    if (this.#stepsPerMs === Number.POSITIVE_INFINITY) return this.#batch
    return this.#paced()
  }

  /** `done` steps were taken between the two times (performance.now()). */
  did(done: number, endedAt: number, startedAt: number): void {
    this.#now = endedAt
    this.#credit -= done
    const took = endedAt - startedAt
    if (took > SLOW_BATCH_MS) this.#batch = Math.max(1, Math.min(this.#batch, done) >>> 1)
    else if (took < QUICK_BATCH_MS && this.#batch < POLL_STEPS) this.#batch = Math.min(POLL_STEPS, this.#batch * 2)
    if (endedAt - this.#flushedAt < FLUSH_INTERVAL_MS) return
    this.#flushedAt = endedAt
    this.#safepoint.flush()
    this.#memory.controlWords[this.#words.stepMicros] = Math.round((took * 1000) / done)
  }

  /** The program had nothing to do after `wakeSeen` was read. A locked guest must use up its grants and does not rest. */
  idle(wakeSeen: number): void {
    if (this.#locked) return
    this.#safepoint.park(wakeSeen, IDLE_MS)
    this.#now = performance.now()
  }

  #startAnew(): void {
    this.#pausesLeft = this.#safepoint.pausesLeft
    this.#now = performance.now()
    this.#creditAt = this.#now
    this.#credit = 0
    this.#limit = 0
  }

  #granted(): number {
    const { steps } = this.#safepoint
    if (steps < this.#limit) return Math.min(this.#batch, this.#limit - steps)
    const wake = this.#safepoint.wakeSeen()
    this.#limit = Number(Atomics.load(this.#memory.controlLongs, this.#words.stepLimit))
    if (steps < this.#limit) return Math.min(this.#batch, this.#limit - steps)
    this.#safepoint.flush()
    Atomics.add(this.#memory.controlWords, HEADER.grantsDone, 1)
    Atomics.notify(this.#memory.controlWords, HEADER.grantsDone)
    this.#safepoint.park(wake, Number.POSITIVE_INFINITY)
    this.#now = performance.now()
    return 0
  }

  #paced(): number {
    const rate = this.#stepsPerMs
    this.#earn()
    if (this.#credit >= 1) return Math.min(this.#batch, Math.floor(this.#credit))
    let sleepMs = Math.max(PACE_SLEEP_MS, (1 - this.#credit) / rate)
    if (this.#throttleShare > 0) sleepMs = Math.min(sleepMs, Math.max(0.05, this.#restFrom - this.#now))
    this.#safepoint.park(this.#safepoint.wakeSeen(), sleepMs)
    this.#now = performance.now()
    return 0
  }

  #earn(): void {
    const rate = this.#stepsPerMs
    if (rate === Number.POSITIVE_INFINITY) return
    const earned = (this.#now - this.#creditAt) * rate
    this.#creditAt = this.#now
    this.#credit = Math.min(this.#credit + earned, Math.max(1, rate * PACE_BURST_MS))
  }

  /** The duty cycle; true after a rest. A change of the share ends a rest at once. */
  #rests(): boolean {
    const share = this.#safepoint.throttleShare
    if (share !== this.#throttleShare) {
      this.#throttleShare = share
      this.#restFrom = this.#now + THROTTLE_PERIOD_MS * (1 - share)
      this.#runFrom = 0
    }
    if (share === 0 || this.#now < this.#restFrom) return false
    if (this.#runFrom === 0) {
      this.#earn()
      this.#runFrom = this.#now + THROTTLE_PERIOD_MS * share
    }
    if (this.#now < this.#runFrom) {
      this.#safepoint.park(this.#safepoint.wakeSeen(), this.#runFrom - this.#now)
      this.#now = performance.now()
      return true
    }
    this.#runFrom = 0
    this.#restFrom = this.#now + THROTTLE_PERIOD_MS * (1 - share)
    // A rest earns no steps: a paced guest slows down as one at full speed does.
    this.#creditAt = this.#now
    return false
  }
}
