// All vCPUs of a guest, from its main thread: starts and ends their threads, publishes the safepoint word (R2) and
// awaits handshakes. The host of a guest and the migration sessions use it through vcpus-port.ts.

import { Worker } from 'node:worker_threads'
import { assert, GodwitError } from '../errors.ts'
import { HANDSHAKE_TIMEOUT_MS } from '../limits.ts'
import { workerUrl } from '../worker-url.ts'
import type { GuestConfig } from './config.ts'
import { fillGuest } from './fill.ts'
import { grantSteps } from './grants.ts'
import { HEADER, VCPU_BLOCK } from './layout.ts'
import type { GuestMemory } from './memory.ts'
import { Patience } from './patience.ts'
import type { ProgramSource } from './program.ts'
import { arrive, loadWord, publishWord, type VcpuWords, vcpuWords, wake } from './safepoint.ts'
import { acknowledged, type HandshakeKind, isPause, nextWord, reached, tableOf, VCPU } from './safepoint-machine.ts'
import type { ServiceRings } from './service-ports.ts'
import { earlier, later } from './stamps.ts'
import { StepRate } from './step-rate.ts'
import type { VcpuThreadData, VcpuThreadMessage } from './vcpu-thread.ts'
import type { HandshakeTime, VcpuState, Vcpus } from './vcpus-port.ts'

/** A handshake with running vCPUs takes 4–6 µs: worth spinning for before giving the event loop a turn. */
const SPIN_MS = 0.02
/** A waiting handshake looks again this often, whatever was notified. */
const LOOK_AGAIN_MS = 20
const REGISTER_BYTES = 4 * VCPU_BLOCK.registerCount
const MAX_THROTTLE = 0.99

export interface GuestVcpusOptions {
  readonly memory: GuestMemory
  readonly config: GuestConfig
  readonly programs: ProgramSource
  /** True at a destination: memory stays as it is, and nothing steps before `resume`. */
  readonly startPaused: boolean
  /** Until then, performance.now(), no thread starts before the one before it has; the others start at once. */
  readonly oneByOneUntil?: number
  /** One a vCPU, of a program that serves. */
  readonly rings?: readonly ServiceRings[] | null
  /** Called once, with `guest-crashed`, when a vCPU throws or its thread ends (R7). */
  readonly onCrash: (error: GodwitError) => void
}

export class GuestVcpus implements Vcpus {
  /** Handshakes so far, for the report. */
  readonly handshakes = { count: 0, totalMs: 0, maxMs: 0 }
  readonly #memory: GuestMemory
  readonly #words: readonly VcpuWords[]
  readonly #onCrash: (error: GodwitError) => void
  readonly #workers: Worker[] = []
  #turn: Promise<unknown> = Promise.resolve()
  #resumeWord: number
  #pausedAtNs = 0n
  #obeyedAtNs = 0n
  #resumedAtNs = 0n
  #pulling = false
  #closed = false
  #crashed = false
  #halted = false
  /** Every vCPU has obeyed the pause in force. */
  #stopped = false
  readonly #rate = new StepRate(() => this.steps())

  private constructor({ memory, onCrash }: GuestVcpusOptions) {
    this.#memory = memory
    this.#words = Array.from({ length: memory.layout.vcpus }, (_, vcpu) => vcpuWords(memory, vcpu))
    this.#onCrash = onCrash
    this.#resumeWord = nextWord(loadWord(memory), { pause: true })
    this.#pausedAtNs = process.hrtime.bigint()
    publishWord(memory, this.#resumeWord)
  }

  /**
   * Starts the threads of a guest; a fresh one is filled and runs when this resolves. Throws `program-missing`,
   * `program-differs` or `program-invalid`.
   */
  static async create(options: GuestVcpusOptions): Promise<GuestVcpus> {
    const { memory, config, programs, startPaused, oneByOneUntil = 0, rings } = options
    const programUrl = await programs.locate(config.program, config.programHash)
    const vcpus = new GuestVcpus(options)
    try {
      const common = { memory: memory.shared, config, programUrl }
      const ready: Promise<void>[] = []
      for (const vcpu of vcpus.#words.keys()) {
        ready.push(vcpus.#start({ ...common, vcpu, rings: rings?.[vcpu] ?? null }))
        if (performance.now() < oneByOneUntil) await ready[vcpu]
      }
      if (!startPaused) ready.push(fillGuest(memory, config, programUrl))
      await Promise.all(ready)
      await vcpus.pause()
    } catch (thrown) {
      await vcpus.close()
      throw thrown
    }
    if (!startPaused) vcpus.resume()
    return vcpus
  }

  swapCards(): Promise<HandshakeTime & { retired: 0 | 1 }> {
    return this.#serialised(async () => {
      const word = loadWord(this.#memory)
      const retired = tableOf(word)
      // A table published with marks in it is sound: they are harvested when it retires (R2 asks for zeroes).
      const { ms } = await this.#publishAndAwait(nextWord(word, { table: retired === 0 ? 1 : 0 }), 'round')
      return { ms, retired }
    })
  }

  handshake(): Promise<HandshakeTime> {
    return this.#serialised(() => this.#publishAndAwait(nextWord(loadWord(this.#memory), {}), 'revocation'))
  }

  setPulling(pulling: boolean): void {
    this.#pulling = pulling
    const word = loadWord(this.#memory)
    // Not in a pause: waking vCPUs only to park them again costs downtime.
    if (!isPause(word)) this.#publish(nextWord(word, { pull: pulling }))
  }

  setShared(shared: boolean): Promise<HandshakeTime> {
    return this.#serialised(() => this.#publishAndAwait(nextWord(loadWord(this.#memory), { shared }), 'revocation'))
  }

  async beginHeld(paused = false): Promise<void> {
    for (const words of this.#words) Atomics.store(this.#memory.controlWords, words.held, 1)
    await this.setShared(true)
    if (paused) return
    this.resume()
    await this.running()
  }

  async hold(vcpu: number): Promise<HandshakeTime> {
    const words = this.#of(vcpu)
    const word = await this.#serialised(async () => {
      // R5: stored before the word, so that whoever meets the word finds it.
      Atomics.store(this.#memory.controlWords, words.held, 1)
      const next = nextWord(loadWord(this.#memory), {})
      publishWord(this.#memory, next)
      wake(this.#memory, words)
      return next
    })
    // Not in its turn: the vCPU may wait for a page of the other host, and handshakes for pages that go there must not wait for it.
    return this.#await(word, 'hold', [words]).catch((thrown) => {
      this.release(vcpu)
      throw thrown
    })
  }

  release(vcpu: number): void {
    const words = this.#of(vcpu)
    Atomics.store(this.#memory.controlWords, words.held, 0)
    wake(this.#memory, words)
  }

  saveOne(vcpu: number): VcpuState {
    this.#requireHeld(vcpu)
    return this.#stateOf(this.#of(vcpu))
  }

  loadOne(vcpu: number, state: VcpuState): void {
    this.#requireHeld(vcpu)
    const { steps } = this.#stateOf(this.#of(vcpu))
    this.#load(this.#of(vcpu), state)
    this.#rate.skip(state.steps - steps)
  }

  /** Throws `vcpu-stuck`, after which the guest runs on, or `cancelled` when `resume` came first. */
  pause(): Promise<HandshakeTime> {
    return this.#serialised(async () => {
      const word = loadWord(this.#memory)
      if (!isPause(word)) this.#pausedAtNs = process.hrtime.bigint()
      const time = isPause(word)
        ? await this.#await(word, 'pause')
        : await this.#publishAndAwait(nextWord(word, { pause: true }), 'pause')
      if (!this.#stopped) this.#obeyedAtNs = process.hrtime.bigint()
      this.#stopped = true
      return time
    })
  }

  halt(): void {
    this.#halted = true
    this.#publish(nextWord(loadWord(this.#memory), { pause: true }))
  }

  resume(): void {
    const word = loadWord(this.#memory)
    if (!isPause(word) || this.#crashed || this.#halted) return
    this.#stopped = false
    this.#resumeWord = nextWord(word, { pause: false, pull: this.#pulling })
    this.#resumedAtNs = process.hrtime.bigint()
    this.#rate.begin()
    this.#publish(this.#resumeWord)
  }

  throttle(share: number): void {
    const thousandths = Math.round(Math.min(Math.max(share, 0), MAX_THROTTLE) * 1000)
    for (const words of this.#words) Atomics.store(this.#memory.controlWords, words.throttle, thousandths)
    this.#publish(nextWord(loadWord(this.#memory), {}))
  }

  /** Grants steps to a locked guest (see grants.ts, which transfer threads call themselves). */
  grant(steps: number): void {
    grantSteps(this.#memory, steps)
  }

  save(): VcpuState[] {
    // A parked vCPU may look up for a moment when it is notified late, but it goes nowhere before `resume` (R5).
    assert(this.#stopped, 'registers are read only while the guest is paused')
    return this.#words.map((words) => this.#stateOf(words))
  }

  load(states: readonly VcpuState[]): void {
    assert(states.length === this.#words.length, 'as many states as vCPUs')
    assert(isPause(loadWord(this.#memory)), 'registers are written only while the guest is paused')
    for (const [vcpu, state] of states.entries()) this.#load(this.#of(vcpu), state)
  }

  /** Steps of each vCPU since the guest was created; exact while paused, up to 1 ms old while running. */
  stepCounts(): number[] {
    return this.#words.map((words) => Number(Atomics.load(this.#memory.controlLongs, words.steps)))
  }

  steps(): number {
    return this.stepCounts().reduce((sum, steps) => sum + steps, 0)
  }

  /** Steps of all vCPUs a second, of the last one or two seconds. */
  stepsPerSecond(): number {
    return this.#rate.perSecond()
  }

  parkedAt(): bigint[] {
    // A vCPU that was parked for another reason when the pause came stands still since then, however late its thread
    // gets the processor to say so; none stood still later than the handshake's end.
    const stamp = (words: VcpuWords): bigint => Atomics.load(this.#memory.controlLongs, words.parkedAt)
    return this.#words.map((words) => earlier(later(stamp(words), this.#pausedAtNs), this.#obeyedAtNs))
  }

  leftAt(): bigint[] {
    return this.#words.map((words) => later(Atomics.load(this.#memory.controlLongs, words.leftAt), this.#resumedAtNs))
  }

  async running(): Promise<void> {
    const { controlWords } = this.#memory
    const left = (words: VcpuWords): boolean =>
      Atomics.load(controlWords, words.state) === VCPU.dead ||
      reached(Atomics.load(controlWords, words.acknowledged), this.#resumeWord)
    while (!this.#closed) {
      const seen = Atomics.load(controlWords, HEADER.arrivals)
      if (this.#words.every(left)) return
      await this.#arrival(seen)
    }
  }

  /** Ends all threads at once, wherever they are; idempotent. */
  async close(): Promise<void> {
    this.#closed = true
    this.#rate.end()
    await Promise.all(this.#workers.map((worker) => worker.terminate()))
  }

  #start(data: VcpuThreadData): Promise<void> {
    const worker = new Worker(workerUrl(import.meta.url, './vcpu-thread'), {
      workerData: data,
      name: `vcpu-${data.vcpu}`,
    })
    this.#workers.push(worker)
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const invalid = (message: string): void =>
      reject(new GodwitError('program-invalid', `program ${data.config.program}: ${message}`))
    worker.on('message', (message: VcpuThreadMessage) => {
      if (message.type === 'ready') resolve()
      else if (message.type === 'invalid') invalid(message.message)
      else this.#died(data.vcpu, message.message, message.stack)
    })
    worker.on('error', (error) => {
      invalid(String(error))
      this.#died(data.vcpu, String(error), error instanceof Error ? error.stack : undefined)
    })
    worker.on('exit', () => {
      invalid('its thread ended while it was loaded')
      this.#died(data.vcpu, 'its thread ended', undefined)
    })
    return promise
  }

  #of(vcpu: number): VcpuWords {
    const words = this.#words[vcpu]
    assert(words !== undefined, `there is no vCPU ${vcpu}`)
    return words
  }

  #stateOf({ registers, steps }: VcpuWords): VcpuState {
    const { controlBytes, controlLongs } = this.#memory
    return {
      steps: Number(Atomics.load(controlLongs, steps)),
      registers: controlBytes.slice(registers, registers + REGISTER_BYTES),
    }
  }

  #load(words: VcpuWords, { steps, registers }: VcpuState): void {
    assert(registers.length === REGISTER_BYTES, 'registers of a vCPU')
    this.#memory.controlBytes.set(registers, words.registers)
    Atomics.store(this.#memory.controlLongs, words.steps, BigInt(steps))
    Atomics.store(this.#memory.controlLongs, words.stepLimit, BigInt(steps))
  }

  #requireHeld(vcpu: number): void {
    const { controlWords } = this.#memory
    const words = this.#of(vcpu)
    const held = Atomics.load(controlWords, words.held) !== 0
    // Parked for another reason when it was held, it may look up for a moment, but it goes nowhere (R5).
    assert(held || (isPause(loadWord(this.#memory)) && this.#stopped), `vCPU ${vcpu} is not held`)
  }

  /** R7: the dead count as acknowledged; the others stop where they are. */
  #died(vcpu: number, reason: string, stack: string | undefined): void {
    if (this.#closed) return
    Atomics.store(this.#memory.controlWords, (this.#words[vcpu] as VcpuWords).state, VCPU.dead)
    if (!this.#crashed) {
      this.#crashed = true
      this.#publish(nextWord(loadWord(this.#memory), { pause: true }))
      const cause = stack === undefined ? undefined : new Error(stack)
      this.#onCrash(new GodwitError('guest-crashed', `vCPU ${vcpu} crashed: ${reason}`, { cause }))
    }
    arrive(this.#memory)
  }

  #serialised<T>(wish: () => Promise<T>): Promise<T> {
    const result = this.#turn.then(wish)
    this.#turn = result.catch(() => {})
    return result
  }

  #publish(word: number): void {
    publishWord(this.#memory, word)
    for (const words of this.#words) wake(this.#memory, words)
  }

  #publishAndAwait(word: number, kind: HandshakeKind): Promise<HandshakeTime> {
    if (kind === 'pause') this.#publish(word)
    else publishWord(this.#memory, word)
    return this.#await(word, kind)
  }

  #obeyed(words: VcpuWords, target: number, kind: HandshakeKind): boolean {
    const { controlWords } = this.#memory
    // Who rests for another reason has not seen that it is held: it would not look for the state it is given meanwhile.
    if (
      kind === 'hold' &&
      Atomics.load(controlWords, words.held) === 1 &&
      Atomics.load(controlWords, words.state) !== VCPU.dead
    )
      return false
    const state = Atomics.load(controlWords, words.state)
    return acknowledged(state, Atomics.load(controlWords, words.acknowledged), target, kind)
  }

  async #await(target: number, kind: HandshakeKind, whose = this.#words): Promise<HandshakeTime> {
    const patience = new Patience(LOOK_AGAIN_MS)
    for (;;) {
      const seen = Atomics.load(this.#memory.controlWords, HEADER.arrivals)
      const done = whose.every((words) => this.#obeyed(words, target, kind))
      patience.look()
      if (done) break
      if (this.#closed) throw new GodwitError('guest-not-running', 'the guest was closed')
      if (kind === 'pause' && !isPause(loadWord(this.#memory))) {
        throw new GodwitError('cancelled', 'the pause was withdrawn')
      }
      if (patience.countedMs > HANDSHAKE_TIMEOUT_MS) this.#giveUp(target, kind, patience.ms, whose)
      if (patience.ms > SPIN_MS) await this.#arrival(seen)
    }
    const { ms } = patience
    this.handshakes.count++
    this.handshakes.totalMs += ms
    this.handshakes.maxMs = Math.max(this.handshakes.maxMs, ms)
    return { ms }
  }

  /** R7: names the vCPU; a guest that was to pause runs on. A swap stays published: its marks are harvested later. */
  #giveUp(target: number, kind: HandshakeKind, ms: number, whose: readonly VcpuWords[]): never {
    const stuck = whose.find((words) => !this.#obeyed(words, target, kind)) as VcpuWords
    const vcpu = this.#words.indexOf(stuck)
    const micros = this.#memory.controlWords[stuck.stepMicros] as number
    if (kind === 'pause' && !this.#crashed) this.resume()
    throw new GodwitError('vcpu-stuck', `vCPU ${vcpu} reached no safepoint in ${ms.toFixed(0)} ms`, {
      hint: `its earlier steps took about ${micros} µs; a step of a program should take well under a millisecond`,
    })
  }

  /** Resolves when a vCPU arrives somewhere after `seen` was read, and at the latest soon. */
  async #arrival(seen: number): Promise<void> {
    const { controlWords } = this.#memory
    const waiting = Atomics.waitAsync(controlWords, HEADER.arrivals, seen, LOOK_AGAIN_MS)
    if (waiting.async) await waiting.value
  }
}
