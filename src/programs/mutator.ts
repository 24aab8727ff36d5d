// The built-in guest of demos, tests and benchmarks: writes words by a workload, checks what it reads, and is
// deterministic, so that the replay oracle can compute what its memory must be. Options: workload, content, common, for
// `local` streams and jump, for `free` declare.

import type { Accessors } from '../guest/accessors.ts'
import type { FillContext, Program, ProgramContext } from '../guest/program.ts'
import { PAGE_BYTES } from '../limits.ts'
import { CONTENTS, type Content, contentSeed, fillPage, pageKind, valueFor } from './contents.ts'
import { declares, FreeWorkload, fillFree } from './free-workload.ts'
import { Journal, journalPages } from './journal.ts'
import { below, hash32, nextRandom, RANDOM_WORDS, seedRandom } from './rng.ts'
import { firstOwned, ownedCount } from './words.ts'
import { HOT_SETS, PageChooser, PHASE_STEPS, WORKLOADS, type Workload } from './workloads.ts'

/** Register numbers: the generator, whether it is seeded, steps taken, and positions of `local` streams. */
const RANDOM = 0
const SEEDED = RANDOM_WORDS
const STEPS = RANDOM_WORDS + 1
const STREAMS = 16
const MAX_STREAMS = 64
/** One step in this many reads. */
const READ_EVERY = 8
/** `sparse`: a page is only ever changed within one window of this many words, 64 bytes. */
const WINDOW_WORDS = 16
/** Words a stream of `local` goes on by: 16 steps a page. */
const STREAM_STRIDE_WORDS = 64

export interface MutatorOptions {
  readonly workload: Workload
  readonly content: Content
  /** Share of pages whose content does not depend on the seed: guests have them in common. */
  readonly common: number
  /** `local`: sequential streams, every second one reads. */
  readonly streams: number
  /** `local`: probability that a stream jumps instead of going on. */
  readonly jump: number
  /** `free`: whether the engine is told which pages are free; false is the baseline to compare with. */
  readonly declare: boolean
}

const OPTIONS = ['workload', 'content', 'common', 'streams', 'jump', 'declare']

function oneOf<T extends string>(names: readonly T[], value: unknown, what: string): T {
  if (names.includes(value as T)) return value as T
  throw new Error(`${what} '${value}' is unknown; use one of ${names.join(', ')}`)
}

/** Checks the options of a mutator guest and fills in defaults. Throws when one is unknown or out of range. */
export function mutatorOptions(options: ProgramContext['options']): MutatorOptions {
  const unknown = Object.keys(options).find((name) => !OPTIONS.includes(name))
  if (unknown !== undefined) throw new Error(`option '${unknown}' is unknown; there are ${OPTIONS.join(', ')}`)
  const { workload = 'web', content = 'mix', common = 0, streams = 4, jump = 0.01 } = options
  if (!Number.isInteger(streams) || Number(streams) < 1 || Number(streams) > MAX_STREAMS) {
    throw new Error(`streams: give 1 to ${MAX_STREAMS}`)
  }
  if (!(Number(common) >= 0 && Number(common) <= 1)) throw new Error('common: give a share, 0 to 1')
  if (!(Number(jump) >= 0 && Number(jump) <= 1)) throw new Error('jump: give a probability, 0 to 1')
  return {
    workload: oneOf(WORKLOADS, workload, 'workload'),
    content: oneOf(CONTENTS, content, 'content'),
    common: Number(common),
    streams: Number(streams),
    jump: Number(jump),
    declare: declares(options.declare),
  }
}

class Mutator implements Program {
  readonly #context: ProgramContext
  readonly #options: MutatorOptions
  readonly #journal: Journal
  readonly #firstPage: number
  readonly #pageCount: number
  readonly #choosers: Record<keyof typeof HOT_SETS, PageChooser>
  readonly #phaseSteps: number

  constructor(context: ProgramContext) {
    const { memoryBytes, vcpu, vcpus } = context
    this.#context = context
    this.#options = mutatorOptions(context.options)
    this.#journal = new Journal(memoryBytes, vcpu, vcpus)
    this.#firstPage = journalPages(memoryBytes, vcpus)
    this.#pageCount = memoryBytes / PAGE_BYTES - this.#firstPage
    const chooser = (set: keyof typeof HOT_SETS): PageChooser =>
      new PageChooser(HOT_SETS[set], this.#firstPage, this.#pageCount)
    this.#choosers = { web: chooser('web'), hot: chooser('hot'), diab: chooser('diab'), sparse: chooser('sparse') }
    this.#phaseSteps = Math.ceil(PHASE_STEPS / vcpus)
  }

  step(accessors: Accessors): boolean {
    const { workload } = this.#options
    if (workload === 'idle' || workload === 'free') return false
    const { registers } = accessors
    if (registers[SEEDED] === 0) this.#begin(registers)
    const steps = registers[STEPS] as number
    registers[STEPS] = steps + 1
    if (workload === 'local') this.#streamStep(accessors, registers, steps)
    else if (steps % READ_EVERY === READ_EVERY - 1) this.#journal.checkAny(accessors, nextRandom(registers, RANDOM))
    else if (workload === 'phased') this.#writeIn(accessors, Math.floor(steps / this.#phaseSteps) % 2 ? 'hot' : 'web')
    else this.#writeIn(accessors, workload)
    return true
  }

  #begin(registers: Uint32Array): void {
    const { seed, vcpu } = this.#context
    seedRandom(registers, RANDOM, seed, vcpu)
    for (let stream = 0; stream < this.#options.streams; stream++) registers[STREAMS + stream] = this.#jump(registers)
    registers[SEEDED] = 1
  }

  #writeIn(accessors: Accessors, set: keyof typeof HOT_SETS): void {
    const { registers } = accessors
    const { vcpu, vcpus } = this.#context
    const page = this.#choosers[set].next(registers, RANDOM)
    let first = firstOwned(page, vcpu, vcpus)
    let count = ownedCount(page, vcpu, vcpus)
    if (set === 'sparse') {
      const window = (hash32(page, 0x51) % (1024 / WINDOW_WORDS)) * WINDOW_WORDS
      first += Math.min(Math.floor(window / vcpus), count - 1) * vcpus
      count = Math.max(1, Math.floor(WINDOW_WORDS / vcpus))
    }
    this.#write(accessors, page, first + vcpus * below(nextRandom(registers, RANDOM), count))
  }

  #write(accessors: Accessors, page: number, word: number): void {
    const { content, common } = this.#options
    const kind = pageKind(content, contentSeed(this.#context.seed, common, page), page)
    const value = valueFor(kind, nextRandom(accessors.registers, RANDOM))
    accessors.storeU32(word * 4, value)
    this.#journal.write(accessors, word, value)
  }

  /** `local`: the streams take turns; even ones write, odd ones read. */
  #streamStep(accessors: Accessors, registers: Uint32Array, steps: number): void {
    const { streams, jump } = this.#options
    const { vcpu, vcpus } = this.#context
    const stream = steps % streams
    const at = STREAMS + stream
    let position = (registers[at] as number) + STREAM_STRIDE_WORDS
    const end = (this.#firstPage + this.#pageCount) * 1024
    const jumps = nextRandom(registers, RANDOM) < jump * 2 ** 32
    if (jumps || position >= end) position = this.#jump(registers)
    registers[at] = position
    const page = Math.floor(position / 1024)
    const first = firstOwned(page, vcpu, vcpus)
    const index = Math.min(Math.floor((position % 1024) / vcpus), ownedCount(page, vcpu, vcpus) - 1)
    const word = first + index * vcpus
    if (stream % 2 === 1) this.#journal.read(accessors, word)
    else this.#write(accessors, page, word)
  }

  /** A stream's new position: the first word of any data page. */
  #jump(registers: Uint32Array): number {
    return (this.#firstPage + below(nextRandom(registers, RANDOM), this.#pageCount)) * 1024
  }
}

export function create(context: ProgramContext): Program {
  return mutatorOptions(context.options).workload === 'free' ? new FreeWorkload(context) : new Mutator(context)
}

/** First content; journals begin empty. */
export function fill(context: FillContext): void {
  const { bytes, firstPage, pageCount, memoryBytes, vcpus, seed } = context
  const { workload, content, common } = mutatorOptions(context.options)
  if (workload === 'free') return fillFree(context, content, common)
  const words = new Uint32Array(bytes.buffer, bytes.byteOffset, memoryBytes / 4)
  const from = Math.max(firstPage, journalPages(memoryBytes, vcpus))
  for (let page = from; page < firstPage + pageCount; page++) {
    fillPage(bytes, words, content, contentSeed(seed, common, page), page)
  }
}
