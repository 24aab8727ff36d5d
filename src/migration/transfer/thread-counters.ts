// What a transfer thread has done so far, in its thread block: written by that thread alone, read by the main thread at
// any time without asking it.

import { THREAD_BLOCK } from '../../guest/layout.ts'
import type { GuestMemory } from '../../guest/memory.ts'

const COUNTERS = [
  'workPages',
  'pageFrameBytes',
  'controlBytes',
  'receivedBytes',
  'zeroPages',
  'askedPages',
  'droppedPages',
  'pushedPages',
  'skippedPages',
  'exchangePushed',
  'exchangeAsked',
  'exchangeWithoutData',
  'exchangeReceived',
  'exchangeReturned',
  'exchangePingPong',
  'exchangeAsks',
  'exchangeAgain',
] as const
export type Counter = (typeof COUNTERS)[number]

const indexOf = (memory: GuestMemory, channel: number, counter: Counter): number =>
  (memory.layout.threadBlocks + channel * THREAD_BLOCK.bytes + THREAD_BLOCK[counter]) / 8

export function count(memory: GuestMemory, channel: number, counter: Counter, more: number): void {
  const index = indexOf(memory, channel, counter)
  memory.controlFloats[index] = (memory.controlFloats[index] as number) + more
}

/** What one thread has done. */
export const countOf = (memory: GuestMemory, channel: number, counter: Counter): number =>
  memory.controlFloats[indexOf(memory, channel, counter)] as number

export function resetCountersOf(memory: GuestMemory, channel: number): void {
  for (const counter of COUNTERS) memory.controlFloats[indexOf(memory, channel, counter)] = 0
}

/** Sums over the first `channels` threads. */
export function totals(memory: GuestMemory, channels: number): Record<Counter, number> {
  const sum = Object.fromEntries(COUNTERS.map((counter) => [counter, 0])) as Record<Counter, number>
  for (let channel = 0; channel < channels; channel++) {
    for (const counter of COUNTERS) sum[counter] += memory.controlFloats[indexOf(memory, channel, counter)] as number
  }
  return sum
}

export function resetCounters(memory: GuestMemory, channels: number): void {
  for (let channel = 0; channel < channels; channel++) resetCountersOf(memory, channel)
}
