// Virtual vCPUs: they store, then mark, on the virtual clock, through the same card tables and safepoint order as the
// real ones, and complain when they run where the guest may not run.

import type { GuestMemory } from '../../src/guest/memory.ts'
import type { HandshakeTime, Vcpus } from '../../src/migration/ports.ts'
import type { VcpuState } from '../../src/wire/messages.ts'
import type { Random } from './random.ts'
import type { VirtualClock } from './virtual-clock.ts'

/** What the guest's memory must be, whatever host it runs on: the oracle of the simulation. */
export class ExpectedMemory {
  readonly words: Uint32Array
  /** One byte a page: 1 while the page is free; what it holds then does not matter (R17). */
  readonly free: Uint8Array
  /** The one host whose vCPUs run now. */
  runningOn: string | null = null

  constructor(memoryBytes: number) {
    this.words = new Uint32Array(memoryBytes / 4)
    this.free = new Uint8Array(memoryBytes / 4096)
  }
}

export class SimulatedVcpus implements Vcpus {
  readonly handshakes = { count: 0, totalMs: 0, maxMs: 0 }
  dead = false
  readonly #name: string
  readonly #memory: GuestMemory
  readonly #clock: VirtualClock
  readonly #random: Random
  readonly #expected: ExpectedMemory
  readonly #words: Uint32Array
  readonly #hotPages: number
  readonly #stepMs: number
  #table: 0 | 1 = 0
  #paused = true
  #ticking = false
  #states: { steps: number; registers: Uint8Array }[]
  #parkedAt: bigint[]
  #leftAt: bigint[]

  constructor(options: {
    name: string
    memory: GuestMemory
    clock: VirtualClock
    random: Random
    expected: ExpectedMemory
    hotPages: number
    stepMs: number
  }) {
    this.#name = options.name
    this.#memory = options.memory
    this.#clock = options.clock
    this.#random = options.random
    this.#expected = options.expected
    this.#hotPages = options.hotPages
    this.#stepMs = options.stepMs
    this.#words = new Uint32Array(options.memory.pages.buffer)
    const { vcpus } = options.memory.layout
    this.#states = Array.from({ length: vcpus }, () => ({ steps: 0, registers: new Uint8Array(1024) }))
    this.#parkedAt = Array.from({ length: vcpus }, () => 0n)
    this.#leftAt = Array.from({ length: vcpus }, () => 0n)
  }

  get paused(): boolean {
    return this.#paused
  }

  /** The states a peer would compare. */
  get states(): readonly VcpuState[] {
    return this.#states
  }

  async swapCards(): Promise<HandshakeTime & { retired: 0 | 1 }> {
    const retired = this.#table
    this.#table = retired === 0 ? 1 : 0
    const word = this.#memory.controlWords[0] ?? 0
    this.#memory.controlWords[0] = (word & ~1) | this.#table
    await this.#clock.sleep(0.01)
    return { ms: 0.01, retired }
  }

  async handshake(): Promise<HandshakeTime> {
    await this.#clock.sleep(0.01)
    return { ms: 0.01 }
  }

  setPulling(): void {}

  // Soft is explored and run on real threads, not simulated.
  setShared = unsupported
  beginHeld = unsupported
  hold = unsupported
  release = unsupported
  saveOne = unsupported
  loadOne = unsupported

  halt(): void {}

  async pause(): Promise<HandshakeTime> {
    await this.#clock.sleep(0.01)
    if (!this.#paused) {
      this.#paused = true
      if (this.#expected.runningOn === this.#name) this.#expected.runningOn = null
      this.#parkedAt.fill(this.#clock.nowNs())
    }
    return { ms: 0.01 }
  }

  resume(): void {
    if (!this.#paused || this.dead) return
    if (this.#expected.runningOn !== null) throw new Error(`${this.#name} runs while ${this.#expected.runningOn} does`)
    this.#paused = false
    this.#expected.runningOn = this.#name
    this.#leftAt.fill(this.#clock.nowNs())
    if (!this.#ticking) this.#tick()
  }

  /** The host process is gone. */
  kill(): void {
    this.dead = true
    if (this.#expected.runningOn === this.#name) this.#expected.runningOn = null
  }

  throttle(): void {}

  save(): VcpuState[] {
    return structuredClone(this.#states)
  }

  load(states: readonly VcpuState[]): void {
    this.#states = structuredClone([...states])
  }

  steps(): number {
    return this.#states.reduce((sum, { steps }) => sum + steps, 0)
  }

  parkedAt(): bigint[] {
    return [...this.#parkedAt]
  }

  leftAt(): bigint[] {
    return [...this.#leftAt]
  }

  async running(): Promise<void> {}

  #tick(): void {
    this.#ticking = true
    this.#clock.after(this.#stepMs, () => {
      this.#ticking = false
      if (this.dead || this.#paused) return
      for (const state of this.#states) this.#step(state)
      this.#tick()
    })
  }

  /** One store, or a page freed or taken into use again, then the mark (R1). */
  #step(state: { steps: number; registers: Uint8Array }): void {
    const page = this.#random.below(this.#hotPages)
    state.steps++
    if (this.#expected.free[page] === 1) this.#reuse(page)
    else if (this.#random.below(16) === 0) this.#setFree(page, 1)
    else this.#store(state, page)
    const card = this.#memory.layout.cards[this.#table] + page
    if (this.#memory.controlBytes[card] === 0) this.#memory.controlBytes[card] = 1
  }

  #reuse(page: number): void {
    for (const words of [this.#words, this.#expected.words]) words.fill(0, page * 1024, (page + 1) * 1024)
    this.#setFree(page, 0)
  }

  #setFree(page: number, value: 0 | 1): void {
    this.#memory.free[page] = value
    this.#expected.free[page] = value
  }

  #store(state: { steps: number; registers: Uint8Array }, page: number): void {
    const index = page * 1024 + this.#random.below(1024)
    const value = this.#random.below(3) === 0 ? 0 : this.#random.word()
    this.#words[index] = value
    this.#expected.words[index] = value
    state.registers[state.steps % 1024] = value & 0xff
  }
}

function unsupported(): never {
  throw new Error('the simulation has no soft migration')
}
