// A vCPU thread's side of the safepoint: poll, obey, park, leave (R2–R5), and the count of its steps. What to do is
// decided by safepoint-machine.ts; this puts it into effect in the order the rules demand.

import { Accessors } from './accessors.ts'
import { CoherentAccessors } from './coherent-accessors.ts'
import type { GuestMemory } from './memory.ts'
import { PageFaults } from './page-faults.ts'
import { PullingAccessors } from './pulling-accessors.ts'
import { arrive, loadWord, registersOf, type VcpuWords, vcpuWords } from './safepoint.ts'
import { isPause, isPull, isShared, obey, parkPhase, type Table, VCPU } from './safepoint-machine.ts'

export class VcpuSafepoint {
  /** Steps since the guest was created; the block has them at every park and at least every millisecond. */
  steps = 0
  /** Share of time taken away, 0–0.99. */
  throttleShare = 0
  /** Counts pauses left behind: whoever keeps time starts anew when it changes. */
  pausesLeft = 0
  readonly #memory: GuestMemory
  readonly #words: VcpuWords
  readonly #plain: Accessors
  readonly #pulling: Accessors
  readonly #coherent: Accessors
  #seen = -1
  /** R26: this vCPU alone stands still. */
  #held = false
  #inPause = false

  constructor(memory: GuestMemory, vcpu: number) {
    const registers = registersOf(memory, vcpu)
    this.#memory = memory
    this.#words = vcpuWords(memory, vcpu)
    this.#plain = new Accessors(memory, registers)
    const faults = new PageFaults(memory, vcpu, this)
    this.#pulling = new PullingAccessors(memory, registers, faults)
    this.#coherent = new CoherentAccessors(memory, registers, faults, vcpu)
  }

  /** What the program is given for its next steps; taken at a step boundary, right after `poll` (R8). */
  get accessors(): Accessors {
    if (isShared(this.#seen)) return this.#coherent
    return isPull(this.#seen) ? this.#pulling : this.#plain
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
    if (word === this.#seen && !isPause(word) && !this.#held) return true
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

  /**
   * R4: parks inside a step, for a page, until woken. It counts as acknowledged meanwhile, but not as paused. R5: what
   * was published since is obeyed before the guest is touched; a pause waits for the boundary.
   */
  parkInside(wakeSeen: number): void {
    const { controlWords } = this.#memory
    Atomics.store(controlWords, this.#words.state, parkPhase('inside'))
    arrive(this.#memory)
    Atomics.wait(controlWords, this.#words.wake, wakeSeen)
    Atomics.store(controlWords, this.#words.state, VCPU.running)
    const word = loadWord(this.#memory)
    const order = obey('inside', this.#seen, word)
    if (!order.acknowledge) return
    this.#acknowledge(word, order.table)
    arrive(this.#memory)
  }

  /** Writes the step count into the block. */
  flush(): void {
    Atomics.store(this.#memory.controlLongs, this.#words.steps, BigInt(this.steps))
  }

  #meet(word: number): void {
    const { controlWords, controlLongs } = this.#memory
    const words = this.#words
    const wake = this.wakeSeen()
    this.#held = this.#isHeld()
    const order = obey('boundary', this.#seen, word, this.#held)
    if (this.#inPause && order.phase === VCPU.running) this.#leavePause()
    if (order.acknowledge) {
      // Who stands still has said it: by now the block may have the state that this vCPU is to go on from.
      if (!this.#inPause) this.flush()
      this.#acknowledge(word, order.table)
      if (order.phase === VCPU.running) arrive(this.#memory)
    }
    if (order.phase === VCPU.running) return
    // What has changed since they were looked at is looked at again: `wake` was loaded before.
    if (loadWord(this.#memory) !== word || this.#isHeld() !== this.#held) return
    if (!this.#inPause) {
      // The word may have been obeyed inside the step that is over now: what it did is to be in the block.
      this.flush()
      this.#inPause = true
      Atomics.store(controlLongs, words.parkedAt, process.hrtime.bigint())
    }
    // Seen: from here on it reloads its state before it goes on.
    Atomics.compareExchange(controlWords, words.held, 1, 2)
    Atomics.store(controlWords, words.state, order.phase)
    arrive(this.#memory)
    Atomics.wait(controlWords, words.wake, wake)
    Atomics.store(controlWords, words.state, VCPU.running) // R5
  }

  #acknowledge(word: number, table: Table): void {
    const { controlWords } = this.#memory
    this.#plain.useTable(table)
    this.#pulling.useTable(table)
    this.#coherent.useTable(table)
    this.throttleShare = Atomics.load(controlWords, this.#words.throttle) / 1000
    this.#held = this.#isHeld()
    this.#seen = word
    Atomics.store(controlWords, this.#words.acknowledged, word)
    Atomics.notify(controlWords, this.#words.acknowledged)
  }

  #isHeld(): boolean {
    return Atomics.load(this.#memory.controlWords, this.#words.held) !== 0
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
