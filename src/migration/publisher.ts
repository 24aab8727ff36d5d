// Publishing at the puller (R8): a page that was placed before a handshake may be loaded without a fence after it. One
// publishing at a time, for the bitmap between look and handshake is one; a vCPU that is slow to answer only puts it off.

import { GodwitError } from '../errors.ts'
import { HEADER } from '../guest/layout.ts'
import type { GuestMemory } from '../guest/memory.ts'
import { PRESENCE } from '../guest/presence.ts'
import type { Kernels } from '../kernels/kernels.ts'
import type { Vcpus } from './ports.ts'

export class Publisher {
  readonly #memory: GuestMemory
  readonly #kernels: Kernels
  readonly #vcpus: Vcpus
  #turn: Promise<unknown> = Promise.resolve()

  constructor({ memory, kernels, vcpus }: { memory: GuestMemory; kernels: Kernels; vcpus: Vcpus }) {
    this.#memory = memory
    this.#kernels = kernels
    this.#vcpus = vcpus
  }

  /** Makes the pages that are installed now present. */
  publish(): Promise<void> {
    return this.#inTurn(async () => {
      const { presence, pageCount, toSend } = this.#memory.layout
      const found = this.#kernels.findBytes(presence, pageCount, PRESENCE.installed, toSend)
      if (found > 0 && (await this.#handshake())) {
        this.#kernels.publish(toSend, Math.ceil(pageCount / 32), presence)
      }
      this.#memory.controlWords.fill(0, toSend / 4, toSend / 4 + Math.ceil(pageCount / 32))
    })
  }

  /** Every page is here: all are present, and vCPUs go back to accessors without the test. */
  finish(): Promise<void> {
    return this.#inTurn(async () => {
      const { controlBytes, controlWords, layout } = this.#memory
      // R7 ends a migration that a vCPU holds up. This one cannot be ended any more: the vCPU is waited for.
      while (!(await this.#handshake()));
      controlBytes.fill(PRESENCE.present, layout.presence, layout.presence + layout.pageCount)
      this.#vcpus.setPulling(false)
      Atomics.store(controlWords, HEADER.pulling, 0)
    })
  }

  /** False: a vCPU did not answer in time. */
  async #handshake(): Promise<boolean> {
    try {
      await this.#vcpus.handshake()
      return true
    } catch (thrown) {
      if (thrown instanceof GodwitError && thrown.code === 'vcpu-stuck') return false
      throw thrown
    }
  }

  #inTurn(work: () => Promise<void>): Promise<void> {
    const result = this.#turn.then(work)
    this.#turn = result.catch(() => {})
    return result
  }
}
