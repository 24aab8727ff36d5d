// One run of the write-barrier measurement: random stores over a hot set, tracked or not, in a process of its own so
// that neither loop is compiled in the shadow of the other. `node barrier-loop.ts tracked|untracked BYTES STORES SEED`
// prints nanoseconds per store; techniques/write-barrier.ts starts it.

import { Accessors } from '../src/guest/accessors.ts'
import { GuestMemory } from '../src/guest/memory.ts'
import { loadWord, registersOf } from '../src/guest/safepoint.ts'
import { POLL_STEPS } from '../src/limits.ts'

const WARM_UP_STORES = 2_000_000

/** Xorshift, the same in both loops: a number below a power of two, `mask` + 1. */
function untracked(words: Uint32Array, mask: number, stores: number, seed: number): void {
  let random = seed | 1
  for (let index = 0; index < stores; index++) {
    random ^= random << 13
    random ^= random >>> 17
    random ^= random << 5
    words[random & mask] = index
  }
}

/** Through the accessors, as a program does, with a poll of the safepoint as often as a vCPU makes one (R3). */
function tracked(accessors: Accessors, memory: GuestMemory, mask: number, stores: number, seed: number): void {
  let random = seed | 1
  let word = loadWord(memory)
  for (let index = 0; index < stores; index++) {
    random ^= random << 13
    random ^= random >>> 17
    random ^= random << 5
    accessors.storeU32((random & mask) * 4, index)
    if (index % POLL_STEPS === 0 && loadWord(memory) !== word) word = loadWord(memory)
  }
}

const mode = process.argv[2]
const [hotBytes, stores, seed] = process.argv.slice(3).map(Number) as [number, number, number]
const memory = GuestMemory.create(hotBytes, 1)
memory.bytes.fill(1)
const mask = hotBytes / 4 - 1
const words = new Uint32Array(memory.bytes.buffer)
const accessors = new Accessors(memory, registersOf(memory, 0))
const loop = (count: number): void =>
  mode === 'tracked' ? tracked(accessors, memory, mask, count, seed) : untracked(words, mask, count, seed)

loop(WARM_UP_STORES)
// A round has just begun: every card is clear, so that the first store to each page marks it.
for (const cards of memory.layout.cards) memory.controlBytes.fill(0, cards, cards + memory.layout.pageCount)
const started = performance.now()
loop(stores)
process.stdout.write(String(((performance.now() - started) * 1e6) / stores))
