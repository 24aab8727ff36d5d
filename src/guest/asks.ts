// What vCPUs ask of the other side while pages are absent, read by the urgent lane of the puller: the page each one is
// parked for, and the pages it wrote as a whole. page-faults.ts is the side that writes.

import { HEADER, VCPU_BLOCK } from './layout.ts'
import type { GuestMemory } from './memory.ts'
import { PRESENCE } from './presence.ts'

/** Takes what was asked since the last call: calls `fault` or `unneeded` for each page, `limit` times at most; returns how often. */
export function takeAsks(
  memory: GuestMemory,
  limit: number,
  fault: (page: number) => void,
  unneeded: (page: number) => void,
): number {
  const { layout, controlWords: words, controlBytes } = memory
  const presence = new Uint8Array(controlBytes.buffer, layout.presence, layout.pageCount)
  let taken = 0
  for (let vcpu = 0; vcpu < layout.vcpus && taken < limit; vcpu++) {
    const block = layout.vcpuBlocks + vcpu * VCPU_BLOCK.bytes
    if (Atomics.exchange(words, (block + VCPU_BLOCK.faultAsk) / 4, 0) === 0) continue
    const page = Atomics.load(words, (block + VCPU_BLOCK.faultPage) / 4) - 1
    // It may have been pushed meanwhile.
    if (page < 0 || Atomics.load(presence, page) !== PRESENCE.requested) continue
    fault(page)
    taken++
  }
  for (let vcpu = 0; vcpu < layout.vcpus; vcpu++) {
    const block = layout.vcpuBlocks + vcpu * VCPU_BLOCK.bytes
    const readAt = (block + VCPU_BLOCK.notesRead) / 4
    const written = Atomics.load(words, (block + VCPU_BLOCK.notesWritten) / 4)
    let read = words[readAt] as number
    for (; read !== written && taken < limit; read = (read + 1) | 0, taken++) {
      unneeded(words[(block + VCPU_BLOCK.notes) / 4 + ((read >>> 0) % VCPU_BLOCK.noteCount)] as number)
    }
    Atomics.store(words, readAt, read)
  }
  return taken
}

/** The count that changes with every ask; read it before `takeAsks`, wait on it after. */
export const asksSeen = (memory: GuestMemory): number => Atomics.load(memory.controlWords, HEADER.asks)

/** Before a guest runs here with pages absent: no vCPU waits, nothing is noted, nothing is counted. */
export function resetAsks(memory: GuestMemory): void {
  const { layout, controlBytes } = memory
  for (let vcpu = 0; vcpu < layout.vcpus; vcpu++) {
    const block = layout.vcpuBlocks + vcpu * VCPU_BLOCK.bytes
    controlBytes.fill(0, block + VCPU_BLOCK.faultPage, block + VCPU_BLOCK.registers)
    controlBytes.fill(0, block + VCPU_BLOCK.notesWritten, block + VCPU_BLOCK.notes)
  }
}

/** Faults of one vCPU so far. */
export interface VcpuFaults {
  network: number
  localWait: number
  stallMs: number
  longestMs: number
  /** 256 counters, see fault-histogram.ts. */
  histogram: number[]
}

export function faultsOf(memory: GuestMemory): VcpuFaults[] {
  const { layout, controlWords, controlFloats } = memory
  return Array.from({ length: layout.vcpus }, (_, vcpu) => {
    const block = layout.vcpuBlocks + vcpu * VCPU_BLOCK.bytes
    const word = (offset: number): number => controlWords[(block + offset) / 4] as number
    const first = (block + VCPU_BLOCK.faultHistogram) / 4
    const histogram = [...controlWords.subarray(first, first + 256)]
    return {
      network: histogram.reduce((sum, count) => sum + count, 0),
      localWait: word(VCPU_BLOCK.localWaits),
      stallMs: (controlFloats[(block + VCPU_BLOCK.stallMicros) / 8] as number) / 1000,
      longestMs: (controlFloats[(block + VCPU_BLOCK.longestStallMicros) / 8] as number) / 1000,
      histogram,
    }
  })
}
