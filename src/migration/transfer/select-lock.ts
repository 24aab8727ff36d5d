// The lock that puts the batches of all channels into one order. Its holders have event loops of their own with sockets
// in them, so nobody blocks: a waiter spins a little and then waits asynchronously. Used by the source's threads.

import { GodwitError } from '../../errors.ts'
import { HEADER } from '../../guest/layout.ts'
import type { GuestMemory } from '../../guest/memory.ts'
import { ABORT_POLL_MS } from '../../limits.ts'

/** Free again: the holder is microseconds away from its release unless it waits for grants. */
const SPINS = 200

/** By guest: the transfer that began last. */
const latest = new WeakMap<GuestMemory, () => void>()

/**
 * Makes abort word and lock a new transfer's. Returns what asks its threads to stop early, and does nothing any more once
 * another has begun: a guest that has just arrived may leave again while the lanes it came by are still being closed.
 */
export function beginTransfer(memory: GuestMemory): () => void {
  const words = memory.controlWords
  Atomics.store(words, HEADER.abort, 0)
  Atomics.store(words, HEADER.selectLock, 0)
  const abort = (): void => {
    if (latest.get(memory) === abort) Atomics.store(words, HEADER.abort, 1)
  }
  latest.set(memory, abort)
  return abort
}

/** Throws `cancelled` when the migration asks its threads to stop early. */
export function throwIfAborted(memory: GuestMemory): void {
  if (Atomics.load(memory.controlWords, HEADER.abort) !== 0) {
    throw new GodwitError('cancelled', 'the transfer was stopped')
  }
}

/** Waits until the word differs from `value`, is notified, or some time has passed. */
export async function wordChanged(words: Int32Array<SharedArrayBuffer>, index: number, value: number): Promise<void> {
  const wait = Atomics.waitAsync(words, index, value, ABORT_POLL_MS)
  if (wait.async) await wait.value
}

/** Takes the select lock. Throws `cancelled`. */
export async function acquireSelectLock(memory: GuestMemory): Promise<void> {
  const words = memory.controlWords
  for (;;) {
    throwIfAborted(memory)
    for (let spin = 0; spin < SPINS; spin++) {
      if (Atomics.compareExchange(words, HEADER.selectLock, 0, 1) === 0) return
    }
    await wordChanged(words, HEADER.selectLock, 1)
  }
}

export function releaseSelectLock(memory: GuestMemory): void {
  Atomics.store(memory.controlWords, HEADER.selectLock, 0)
  Atomics.notify(memory.controlWords, HEADER.selectLock, 1)
}
