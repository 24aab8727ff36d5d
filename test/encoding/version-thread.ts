// A thread of version-store.test.ts: keeps, takes and forgets versions of its own pages in slots that all threads want. A
// version is one number all over, so a torn one shows. A page is sent by one thread in a round: so is it here.

import { parentPort, workerData } from 'node:worker_threads'
import { type SharedVersions, VersionStore } from '../../src/encoding/version-store.ts'

const { versions, clock, puts, thread } = workerData as {
  versions: SharedVersions
  /** Threads that are there, and turns that all have taken together. */
  clock: Int32Array
  /** Versions that each thread keeps. */
  puts: number
  thread: number
}
const store = new VersionStore(versions)
const words = new Int32Array(versions.memory.buffer)
const result = { puts: 0, takes: 0, torn: 0, foreign: 0 }
/** The version that this thread kept last of each of its pages. */
const kept = new Map<number, number>()
let state = thread + 1
const below = (limit: number): number => {
  state = (Math.imul(state, 1664525) + 1013904223) >>> 0
  return (state >>> 8) % limit
}

function check(stored: number, expected: number): void {
  const first = words[stored / 4] as number
  for (let at = 0; at < 1024; at += 31) if (words[stored / 4 + at] !== first) result.torn++
  if (first !== expected) result.foreign++
}

Atomics.add(clock, 0, 1)
Atomics.notify(clock, 0)
for (let there = 1; there < 3; there++) Atomics.wait(clock, 0, there)

// Not so many turns: while both slots are those of threads that the processor was taken from, turns come to nothing.
while (result.puts < puts) {
  // Pages of three threads share two slots; rounds go on fast enough for slots to change hands.
  const page = 3 * below(4) + thread
  const round = Atomics.add(clock, 1, 1) >> 2
  const what = below(8)
  if (what === 0) {
    store.forget(page)
    if (store.has(page)) result.foreign++
    continue
  }
  const taken = what < 4 ? store.take(page) : -1
  if (taken >= 0) {
    result.takes++
    check(taken, kept.get(page) ?? -1)
  }
  const stored = taken >= 0 ? taken : store.claim(page, round)
  if (stored < 0) continue
  const version = 4 * result.puts++ + thread
  words.fill(version, stored / 4, stored / 4 + 1024)
  kept.set(page, version)
  store.release(page, round)
}
parentPort?.postMessage(result)
