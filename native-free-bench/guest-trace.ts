// Which pages a guest touches in which step, recorded by running its program here, in one thread and without moving it.
// A program's accesses follow from its seed alone, so a locked guest touches the same pages wherever it runs.

import { Accessors } from '../src/guest/accessors.ts'
import type { GuestConfig } from '../src/guest/config.ts'
import { registersOf } from '../src/guest/safepoint.ts'
import { PAGE_SHIFT } from '../src/limits.ts'
import { create, fill } from '../src/programs/mutator.ts'
import { freshMemory } from '../src/programs/replay.ts'

/** By step, the pages it touches, in order; a page is named once a step. */
export type Trace = readonly (readonly number[])[]

/** The first `steps` steps of a mutator with one vCPU that accesses words alone (every workload but `free`). */
export function traceOf(config: GuestConfig, steps: number): Trace {
  let touched = new Set<number>()
  class Recording extends Accessors {
    override loadU32(address: number): number {
      touched.add(address >>> PAGE_SHIFT)
      return super.loadU32(address)
    }
    override storeU32(address: number, value: number): void {
      touched.add(address >>> PAGE_SHIFT)
      super.storeU32(address, value)
    }
  }
  const memory = freshMemory(config, { create, fill })
  const registers = registersOf(memory, 0)
  const { memoryBytes, vcpus, options, seed } = config
  const program = create({ vcpu: 0, vcpus, memoryBytes, options, seed, registers })
  const accessors = new Recording(memory, registers)
  return Array.from({ length: steps }, () => {
    touched = new Set()
    program.step(accessors)
    return [...touched]
  })
}

/** Different pages of a trace. */
export const touchedPages = (trace: Trace): number => new Set(trace.flat()).size
