// The mutator's workload `free`: an allocator that never has more than 40 % of its pages in use, tells the engine which
// are free (R17), and checks what it reads. Each vCPU owns whole pages, so that the order of vCPUs does not matter.
//
//   pages of one vCPU, a ring:   │ free … │ oldest … in use … newest │ free … │      both ends go right, one page each

import type { Accessors } from '../guest/accessors.ts'
import type { FillContext, Program, ProgramContext } from '../guest/program.ts'
import { PAGE_BYTES } from '../limits.ts'
import { type Content, contentSeed, fillPage } from './contents.ts'
import { below, hash32, nextRandom, RANDOM_WORDS, seedRandom } from './rng.ts'

const PAGE_WORDS = PAGE_BYTES / 4
/** Share of a vCPU's pages in use; at least one page of two. */
const USED_PERCENT = 40
/** One step in this many allocates (and frees), and one reads. */
const CYCLE = 8
/** The first words of a page say whose allocation it is; the rest is written at random. */
const STAMP_WORDS = 4

/** Registers: the generator, whether it is seeded, steps, allocations so far, and the latest writes: word, value. */
const RANDOM = 0
const SEEDED = RANDOM_WORDS
const STEPS = RANDOM_WORDS + 1
const ALLOCATIONS = RANDOM_WORDS + 2
const NOTES = 16
const NOTE_COUNT = 64

const ZERO_PAGE = new Uint8Array(PAGE_BYTES)

/** The option `declare`: false makes the baseline, in which nobody is told of free pages. Throws when it is neither. */
export function declares(value: unknown): boolean {
  if (value === undefined || value === true || value === 'true') return true
  if (value === false || value === 'false') return false
  throw new Error(`declare '${value}' is unknown; use true or false`)
}

/** The pages of one vCPU: page `index * vcpus + vcpu` for each index below `count`, the first `used` in use at first. */
class Ring {
  readonly count: number
  readonly used: number
  readonly #vcpu: number
  readonly #vcpus: number

  constructor(memoryBytes: number, vcpu: number, vcpus: number) {
    this.#vcpu = vcpu
    this.#vcpus = vcpus
    this.count = Math.max(0, Math.ceil((memoryBytes / PAGE_BYTES - vcpu) / vcpus))
    this.used = this.count < 2 ? 0 : Math.max(1, Math.floor((this.count * USED_PERCENT) / 100))
  }

  /** Page of the allocation with this number; allocations go round the ring. */
  pageOf(allocation: number): number {
    return (allocation % this.count) * this.#vcpus + this.#vcpu
  }
}

/** Word `index` of a page's stamp: a function of page and allocation number; never 0. */
const stamp = (page: number, allocation: number, index: number): number =>
  (hash32(hash32(page, allocation), index) | 1) >>> 0

export class FreeWorkload implements Program {
  readonly #context: ProgramContext
  readonly #declares: boolean
  readonly #ring: Ring
  /** A page as it was read; holds nothing from one step to the next. */
  readonly #scratch = new Uint8Array(PAGE_BYTES)

  constructor(context: ProgramContext) {
    this.#context = context
    this.#declares = declares(context.options.declare)
    this.#ring = new Ring(context.memoryBytes, context.vcpu, context.vcpus)
  }

  step(accessors: Accessors): boolean {
    if (this.#ring.used === 0) return false
    const { registers } = accessors
    if (registers[SEEDED] === 0) this.#begin(registers)
    const steps = registers[STEPS] as number
    registers[STEPS] = steps + 1
    if (steps % CYCLE === 0) this.#turn(accessors)
    else if (steps % CYCLE === CYCLE - 1) this.#checkNote(accessors, below(nextRandom(registers, RANDOM), NOTE_COUNT))
    else this.#write(accessors)
    return true
  }

  #begin(registers: Uint32Array): void {
    seedRandom(registers, RANDOM, this.#context.seed, this.#context.vcpu)
    registers[ALLOCATIONS] = this.#ring.used
    registers[SEEDED] = 1
  }

  /** Frees the oldest page, then allocates the next: never more pages in use than `used`. */
  #turn(accessors: Accessors): void {
    const { registers } = accessors
    const allocation = registers[ALLOCATIONS] as number
    registers[ALLOCATIONS] = allocation + 1
    const oldest = this.#ring.pageOf(allocation - this.#ring.used)
    this.#checkStamp(accessors, oldest, allocation - this.#ring.used)
    this.#forget(registers, oldest)
    if (this.#declares) accessors.free(oldest)
    const page = this.#ring.pageOf(allocation)
    if (this.#declares) accessors.reuse(page)
    else accessors.storeBytes(page * PAGE_BYTES, ZERO_PAGE)
    accessors.loadBytes(page * PAGE_BYTES, this.#scratch)
    if (Buffer.compare(this.#scratch, ZERO_PAGE) !== 0) {
      throw new Error(`page ${page} is not zero when it is used again`)
    }
    for (let index = 0; index < STAMP_WORDS; index++) {
      accessors.storeU32(page * PAGE_BYTES + 4 * index, stamp(page, allocation, index))
    }
  }

  /** Writes a word of a page in use and notes it. */
  #write(accessors: Accessors): void {
    const { registers } = accessors
    const age = 1 + below(nextRandom(registers, RANDOM), this.#ring.used)
    const allocation = (registers[ALLOCATIONS] as number) - age
    const page = this.#ring.pageOf(allocation)
    this.#checkStamp(accessors, page, allocation)
    const random = nextRandom(registers, RANDOM)
    const word = page * PAGE_WORDS + STAMP_WORDS + below(random, PAGE_WORDS - STAMP_WORDS)
    const value = nextRandom(registers, RANDOM)
    accessors.storeU32(word * 4, value)
    // An older note of this word lies in the same place; any other there is forgotten.
    const note = NOTES + 2 * (hash32(word, 0x10a) % NOTE_COUNT)
    registers[note] = word
    registers[note + 1] = value
  }

  #checkStamp(accessors: Accessors, page: number, allocation: number): void {
    for (let index = 0; index < STAMP_WORDS; index++) {
      const [found, expected] = [accessors.loadU32(page * PAGE_BYTES + 4 * index), stamp(page, allocation, index)]
      if (found !== expected) throw new Error(`stale page ${page}: stamp ${index} is ${found}, not ${expected}`)
    }
  }

  /** Throws when a word does not hold what was written there last, as the journal of the other workloads does. */
  #checkNote(accessors: Accessors, note: number): void {
    const word = accessors.registers[NOTES + 2 * note] as number
    if (word === 0) return
    const expected = accessors.registers[NOTES + 2 * note + 1] as number
    const found = accessors.loadU32(word * 4)
    if (found === expected) return
    const page = Math.floor(word / PAGE_WORDS)
    throw new Error(`stale page ${page}: word ${word} holds ${found} where ${expected} was written last`)
  }

  /** Notes of a page that is given back: nobody may read there. */
  #forget(registers: Uint32Array, page: number): void {
    for (let note = NOTES; note < NOTES + 2 * NOTE_COUNT; note += 2) {
      if (Math.floor((registers[note] as number) / PAGE_WORDS) === page) registers[note] = 0
    }
  }
}

/** First content: every page has some, the free ones garbage that need not travel; those in use begin with a stamp. */
export function fillFree(context: FillContext, content: Content, common = 0): void {
  const { bytes, free, firstPage, pageCount, memoryBytes, vcpus, seed } = context
  const declared = declares(context.options.declare)
  const words = new Uint32Array(bytes.buffer, bytes.byteOffset, memoryBytes / 4)
  const rings = Array.from({ length: vcpus }, (_, vcpu) => new Ring(memoryBytes, vcpu, vcpus))
  for (let page = firstPage; page < firstPage + pageCount; page++) {
    fillPage(bytes, words, content, contentSeed(seed, common, page), page)
    const allocation = Math.floor(page / vcpus)
    if (allocation >= (rings[page % vcpus] as Ring).used) {
      if (declared) free[page] = 1
      continue
    }
    for (let index = 0; index < STAMP_WORDS; index++) words[page * PAGE_WORDS + index] = stamp(page, allocation, index)
  }
}
