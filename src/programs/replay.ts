// The replay: what a guest's memory must be after given numbers of steps of each vCPU, computed in one thread without
// ever moving. Right for programs whose vCPUs own disjoint words, because then the order of their steps does not
// matter. Used by the oracle's process and by tests.

import { Accessors } from '../guest/accessors.ts'
import type { GuestConfig } from '../guest/config.ts'
import { GuestMemory } from '../guest/memory.ts'
import type { ProgramModule } from '../guest/program.ts'
import { registersOf } from '../guest/safepoint.ts'

/** A replayed guest: its memory, with the registers in the vCPU blocks. */
export interface Replayed {
  readonly memory: GuestMemory
  /** Registers of each vCPU, 256 words. */
  readonly registers: Uint32Array[]
}

/** First content of a guest, filled in this thread. */
export function freshMemory(config: GuestConfig, module: ProgramModule): GuestMemory {
  const memory = GuestMemory.create(config.memoryBytes, config.vcpus)
  const { memoryBytes, vcpus, options, seed } = config
  const { bytes, free } = memory
  module.fill?.({ memoryBytes, vcpus, options, seed, bytes, free, firstPage: 0, pageCount: memory.layout.pageCount })
  return memory
}

/**
 * Runs vCPU 0 for `steps[0]` steps, then vCPU 1 and so on. `recreate(step)` true: the program object is made anew
 * before that step, as after a migration; state in a closure shows as a difference.
 */
export function replaySteps(
  memory: GuestMemory,
  config: GuestConfig,
  module: ProgramModule,
  steps: readonly number[],
  recreate: (step: number) => boolean = () => false,
): Replayed {
  const { memoryBytes, vcpus, options, seed } = config
  const all = steps.map((count, vcpu) => {
    const registers = registersOf(memory, vcpu)
    const accessors = new Accessors(memory, registers)
    const create = () => module.create({ vcpu, vcpus, memoryBytes, options, seed, registers })
    let program = create()
    for (let step = 0; step < count; step++) {
      if (recreate(step)) program = create()
      program.step(accessors)
    }
    return registers
  })
  return { memory, registers: all }
}
