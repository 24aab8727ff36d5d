// One run of the write-barrier measurement: random stores over a hot set, tracked or not, in a process of its own so
// that neither loop is compiled in the shadow of the other. `node barrier-loop.ts tracked|untracked BYTES STORES SEED`
// prints nanoseconds per store; techniques/write-barrier.ts starts it.

import { Accessors } from '../src/guest/accessors.ts'
import { GuestMemory } from '../src/guest/memory.ts'
import { loadWord, registersOf } from '../src/guest/safepoint.ts'
import { POLL_STEPS } from '../src/limits.ts'

const WARM_UP_STORES = 2_000_000

/** A burst is what a vCPU does between two polls. Xorshift, the same in both: a number of at most `mask`. */
function untrackedBurst(words: Uint32Array, mask: number, from: number, state: number): number {
  let random = state
  for (let index = from; index < from + POLL_STEPS; index++) {
    random ^= random << 13
    random ^= random >>> 17
    random ^= random << 5
    words[random & mask] = index
  }
  return random
}

/** Through the accessors, as a program stores. */
function trackedBurst(accessors: Accessors, mask: number, from: number, state: number): number {
  let random = state
  for (let index = from; index < from + POLL_STEPS; index++) {
    random ^= random << 13
    random ^= random >>> 17
    random ^= random << 5
    accessors.storeU32((random & mask) * 4, index)
  }
  return random
}

function untracked(words: Uint32Array, mask: number, stores: number, seed: number): void {
  let random = seed | 1
  for (let done = 0; done < stores; done += POLL_STEPS) random = untrackedBurst(words, mask, done, random)
}

/** With a poll of the safepoint after each burst (R3). */
function tracked(accessors: Accessors, memory: GuestMemory, mask: number, stores: number, seed: number): void {
  let random = seed | 1
  const word = loadWord(memory)
  for (let done = 0; done < stores; done += POLL_STEPS) {
    random = trackedBurst(accessors, mask, done, random)
    if (loadWord(memory) !== word) throw new Error('nobody asks for a safepoint here')
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
