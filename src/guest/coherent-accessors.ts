// The accessors of a vCPU whose pages may belong to the other host (soft, R25): each access tests presence, as in a pull,
// and notes which vCPU used the page last, so that a vCPU that crosses can take its pages along. A page that is written as a
// whole must be owned first, too: there are other writers.

import type { GuestMemory } from './memory.ts'
import type { PageFaults } from './page-faults.ts'
import { PullingAccessors } from './pulling-accessors.ts'
import { homesOf } from './sharing.ts'

export class CoherentAccessors extends PullingAccessors {
  readonly #homes: Uint8Array<SharedArrayBuffer>
  readonly #me: number

  constructor(memory: GuestMemory, registers: Uint32Array<SharedArrayBuffer>, faults: PageFaults, vcpu: number) {
    super(memory, registers, faults)
    this.#homes = homesOf(memory)
    this.#me = vcpu + 1
  }

  protected override requirePage(page: number): void {
    super.requirePage(page)
    if (this.#homes[page] !== this.#me) this.#homes[page] = this.#me
  }

  protected override replace(page: number, write: () => void): void {
    this.requirePage(page)
    write()
  }
}
