// A policy that decides by lot: whatever it says, the destination must end with the source's pages.

import { fill } from '../../src/encoding/fill.ts'
import { lz4 } from '../../src/encoding/lz4.ts'
import { packed } from '../../src/encoding/packed.ts'
import { pattern } from '../../src/encoding/pattern.ts'
import { ForcedPolicy } from '../../src/encoding/policy.ts'
import { raw } from '../../src/encoding/raw.ts'
import { sparse } from '../../src/encoding/sparse.ts'
import { PAGE_BYTES } from '../../src/limits.ts'

const CODECS = [fill.id, sparse.id, packed.id, pattern.id, lz4.id, lz4.id, lz4.id, raw.id]

export class RandomPolicy extends ForcedPolicy {
  #state: number
  /** Of 256 batches so many travel as they are, straight from the guest. */
  readonly #plain: number

  constructor(seed: number, plain = 64) {
    super(raw.id)
    this.#state = Math.imul(seed + 1, 0x9e3779b1) >>> 0
    this.#plain = plain
  }

  #below(limit: number): number {
    this.#state = (Math.imul(this.#state, 1664525) + 1013904223) >>> 0
    return (this.#state >>> 8) % limit
  }

  override toSample(): readonly number[] {
    return this.#below(4) === 0 ? [fill.id, sparse.id, packed.id, pattern.id, lz4.id] : []
  }

  override encodes(): boolean {
    return this.#below(256) >= this.#plain
  }

  override codecOf(): number {
    return CODECS[this.#below(CODECS.length)] as number
  }

  override limitOf(): number {
    return this.#below(2) === 0 ? PAGE_BYTES - 1 : PAGE_BYTES / 2
  }

  override insteadOf(): number {
    return this.#below(2) === 0 ? raw.id : lz4.id
  }
}
