// The smallest useful program: every vCPU counts its steps in one word on each page in turn. An example for authors.

import type { Accessors, Program, ProgramContext } from './program.ts'

export function create({ vcpu, vcpus, memoryBytes }: ProgramContext): Program {
  const pageCount = memoryBytes / 4096
  return {
    step(accessors: Accessors): void {
      const page = (accessors.registers[0] as number) % pageCount
      // Word `vcpu` of every page is this vCPU's own; with one vCPU it is word 0.
      const address = page * 4096 + (vcpu % vcpus) * 4
      accessors.storeU32(address, accessors.loadU32(address) + 1)
      accessors.registers[0] = page + 1
    },
  }
}
