// A vCPU thread's side of the safepoint: poll, obey, park, leave (R2–R5), and the count of its steps. What to do is
// decided by safepoint-machine.ts; this puts it into effect in the order the rules demand.

import type { Accessors } from './accessors.ts'
import type { GuestMemory } from './memory.ts'
import { arrive, loadWord, type VcpuWords } from './safepoint.ts'
import { isPause, obey, parkPhase, VCPU } from './safepoint-machine.ts'

export class VcpuSafepoint {
  /** Steps since the guest was created; the block has them at every park and at least every millisecond. */
  steps = 0
  /** Share of time taken away, 0–0.99. */
  throttleShare = 0
  /** Counts pauses left behind: whoever keeps time starts anew when it changes. */
  pausesLeft = 0
  readonly #memory: GuestMemory
  readonly #words: VcpuWords
  readonly #accessors: Accessors
  #seen = -1
  #inPause = false

  constructor(memory: GuestMemory, words: VcpuWords, accessors: Accessors) {
    this.#memory = memory
    this.#words = words
    this.#accessors = accessors
  }

  /** Leaves STARTING as any park is left (R5): nothing of the guest is touched before the next poll. */
  begin(): void {
    this.#seen = loadWord(this.#memory) ^ 1
    this.#reload()
    Atomics.store(this.#memory.controlWords, this.#words.state, VCPU.running)
  }

  /** At a step boundary: true when the vCPU may step; false after a park or a new word, to poll again. */
  poll(): boolean {
    const word = loadWord(this.#memory)
    if (word === this.#seen && !isPause(word)) return true
    this.#meet(word)
    return false
  }

  /** The wake word; load it before the last look at what a park waits for. */
  wakeSeen(): number {
    return Atomics.load(this.#memory.controlWords, this.#words.wake)
  }

  /** Parks at this step boundary until woken or `timeoutMs` later; returns at once when there is news. */
  park(wakeSeen: number, timeoutMs: number): void {
    this.flush()
    if (loadWord(this.#memory) !== this.#seen) return
    const { controlWords } = this.#memory
    Atomics.store(controlWords, this.#words.state, parkPhase('boundary'))
    arrive(this.#memory)
    Atomics.wait(controlWords, this.#words.wake, wakeSeen, timeoutMs)
    Atomics.store(controlWords, this.#words.state, VCPU.running) // R5: the word is loaded next, by poll()
  }

  /** Writes the step count into the block. */
  flush(): void {
    Atomics.store(this.#memory.controlLongs, this.#words.steps, BigInt(this.steps))
  }

  #meet(word: number): void {
    const { controlWords, controlLongs } = this.#memory
    const words = this.#words
    const order = obey('boundary', this.#seen, word)
    if (order.acknowledge) {
      if (this.#inPause && order.phase === VCPU.running) this.#leavePause()
      this.flush()
      this.#accessors.useTable(order.table)
      this.throttleShare = Atomics.load(controlWords, words.throttle) / 1000
      this.#seen = word
      Atomics.store(controlWords, words.acknowledged, word)
      Atomics.notify(controlWords, words.acknowledged)
      if (order.phase === VCPU.running) arrive(this.#memory)
    }
    if (order.phase === VCPU.running) return
    const wake = this.wakeSeen()
    if (loadWord(this.#memory) !== word) return
    if (!this.#inPause) {
      this.#inPause = true
      Atomics.store(controlLongs, words.parkedAt, process.hrtime.bigint())
    }
    Atomics.store(controlWords, words.state, order.phase)
    arrive(this.#memory)
    Atomics.wait(controlWords, words.wake, wake)
    Atomics.store(controlWords, words.state, VCPU.running) // R5
  }

  #leavePause(): void {
    this.#inPause = false
    this.pausesLeft++
    this.#reload()
    Atomics.store(this.#memory.controlLongs, this.#words.leftAt, process.hrtime.bigint())
  }

  /** In a pause the state may have been replaced by that of the same vCPU of the other host. */
  #reload(): void {
    this.steps = Number(Atomics.load(this.#memory.controlLongs, this.#words.steps))
  }
}
