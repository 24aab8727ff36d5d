// A store for the tests: a share of a guest's pages, a shard over it, and commands as text.

import { Accessors } from '../../../src/guest/accessors.ts'
import { GuestMemory } from '../../../src/guest/memory.ts'
import { registersOf } from '../../../src/guest/safepoint.ts'
import { fillStore, firstDataPage } from '../../../src/programs/kv/arena-layout.ts'
import { execute } from '../../../src/programs/kv/execute.ts'
import { Reply } from '../../../src/programs/kv/reply.ts'
import { requestOf } from '../../../src/programs/kv/request.ts'
import { Shard } from '../../../src/programs/kv/shard.ts'
import { type PageRange, shareOf, storePages } from '../../../src/programs/kv/shares.ts'

export const NOW = 1_700_000_000_000

export interface Store {
  readonly memory: GuestMemory
  readonly accessors: Accessors
  readonly range: PageRange
  readonly shard: Shard
  /** Executes one command and returns the bytes of its reply, one character each. */
  run(parts: readonly (string | Uint8Array)[], nowMs?: number): string
}

/** The store in `memory`, as a vCPU of this host finds it. */
export function openStore(memory: GuestMemory, vcpu = 0): Store {
  const { memoryBytes, vcpus } = memory.layout
  const accessors = new Accessors(memory, registersOf(memory, vcpu))
  const range = storePages(shareOf(memoryBytes, vcpu, vcpus))
  const shard = new Shard(accessors, range, 1)
  const reply = new Reply(new Uint8Array(1024), 64 * 1024 * 1024)
  const run: Store['run'] = (parts, nowMs = NOW) => {
    reply.rewind(0)
    execute(shard, requestOf(...parts), reply, nowMs)
    return Buffer.from(reply.bytes.subarray(0, reply.length)).toString('latin1')
  }
  return { memory, accessors, range, shard, run }
}

export function newStore(pages: number, vcpus = 1): Store {
  const memory = GuestMemory.create(pages * 4096, vcpus)
  const { pageCount, memoryBytes } = memory.layout
  const { bytes, free } = memory
  fillStore({ bytes, free, firstPage: 0, pageCount, memoryBytes, vcpus, options: {}, seed: 1 })
  return openStore(memory)
}

/** Data pages of the store that are not declared free. */
export function pagesInUse({ memory, range }: Store): number {
  return memory.free.subarray(firstDataPage(range), range.to).reduce((sum, free) => sum + (free === 0 ? 1 : 0), 0)
}

/** Removes what is left of removed hashes and keys whose time is over, as commands do little by little. */
export function settle({ shard }: Store): void {
  while (shard.hashes.reap(1000) || shard.sweep(1000)) {}
}
