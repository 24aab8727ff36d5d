// The safepoint in shared memory: how the main thread publishes a word and how vCPUs answer. Atomic accesses only;
// what the values mean is in safepoint-machine.ts. Used by vcpu-thread.ts, vcpus.ts and grants.ts.

import { HEADER, VCPU_BLOCK } from './layout.ts'
import type { GuestMemory } from './memory.ts'

/** Word indices of one vCPU's block, for Atomics on `controlWords` and `controlLongs`. */
export interface VcpuWords {
  readonly state: number
  readonly acknowledged: number
  readonly wake: number
  readonly throttle: number
  readonly stepMicros: number
  readonly faultPage: number
  readonly faultAsk: number
  readonly held: number
  readonly steps: number
  readonly stepLimit: number
  readonly parkedAt: number
  readonly leftAt: number
  /** Byte offset of the registers. */
  readonly registers: number
}

/** Where vCPU `vcpu` keeps its words. */
export function vcpuWords(memory: GuestMemory, vcpu: number): VcpuWords {
  const block = memory.layout.vcpuBlocks + vcpu * VCPU_BLOCK.bytes
  const word = (offset: number): number => (block + offset) / 4
  const long = (offset: number): number => (block + offset) / 8
  return {
    state: word(VCPU_BLOCK.state),
    acknowledged: word(VCPU_BLOCK.acknowledged),
    wake: word(VCPU_BLOCK.wake),
    throttle: word(VCPU_BLOCK.throttle),
    stepMicros: word(VCPU_BLOCK.stepMicros),
    faultPage: word(VCPU_BLOCK.faultPage),
    faultAsk: word(VCPU_BLOCK.faultAsk),
    held: word(VCPU_BLOCK.held),
    steps: long(VCPU_BLOCK.steps),
    stepLimit: long(VCPU_BLOCK.stepLimit),
    parkedAt: long(VCPU_BLOCK.parkedAt),
    leftAt: long(VCPU_BLOCK.leftAt),
    registers: block + VCPU_BLOCK.registers,
  }
}

/** The registers of a vCPU, 256 u32. */
export function registersOf(memory: GuestMemory, vcpu: number): Uint32Array<SharedArrayBuffer> {
  const { registers } = vcpuWords(memory, vcpu)
  return new Uint32Array(memory.controlBytes.buffer, registers, VCPU_BLOCK.registerCount)
}

export const loadWord = (memory: GuestMemory): number => Atomics.load(memory.controlWords, HEADER.safepoint)

/** R2: only the guest's main thread calls this. */
export function publishWord(memory: GuestMemory, word: number): void {
  Atomics.store(memory.controlWords, HEADER.safepoint, word)
}

/** R5: ends any park of this vCPU, so that it looks again at what it waits for. */
export function wake(memory: GuestMemory, words: VcpuWords): void {
  Atomics.add(memory.controlWords, words.wake, 1)
  Atomics.notify(memory.controlWords, words.wake)
}

/** Tells the coordinator that this vCPU acknowledged, parked or died. */
export function arrive(memory: GuestMemory): void {
  Atomics.add(memory.controlWords, HEADER.arrivals, 1)
  Atomics.notify(memory.controlWords, HEADER.arrivals)
}

/** Wakes the vCPUs that are parked for this page. */
export function wakeWaiters(memory: GuestMemory, page: number): void {
  const { vcpus, vcpuBlocks } = memory.layout
  for (let vcpu = 0; vcpu < vcpus; vcpu++) {
    const block = vcpuBlocks + vcpu * VCPU_BLOCK.bytes
    if (Atomics.load(memory.controlWords, (block + VCPU_BLOCK.faultPage) / 4) !== page + 1) continue
    const word = (block + VCPU_BLOCK.wake) / 4
    Atomics.add(memory.controlWords, word, 1) // R5
    Atomics.notify(memory.controlWords, word)
  }
}
