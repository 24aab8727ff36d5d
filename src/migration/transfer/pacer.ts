// One bandwidth limit over all channels: a token bucket kept as "the link is paid for up to this time" in control
// memory. A thread pays for a piece before it writes it, so the sum over threads never exceeds the limit by more than a
// burst. Used by the source's transfer threads; the main thread sets the rate.

import { setTimeout as sleep } from 'node:timers/promises'
import { TRANSFER_HEADER } from '../../guest/layout.ts'
import type { GuestMemory } from '../../guest/memory.ts'
import { later } from '../../guest/stamps.ts'
import {
  ABORT_POLL_MS,
  BURST_NS,
  PACING_PIECE_MAX_BYTES,
  PACING_PIECE_MIN_BYTES,
  PACING_PIECE_MS,
} from '../../limits.ts'
import { throwIfAborted } from './select-lock.ts'

/** Sets the limit, bytes per second (null: none); waiting threads pay anew at the new rate. */
export function setRate(memory: GuestMemory, bytesPerSecond: number | null): void {
  const rate = bytesPerSecond === null ? 0n : BigInt(Math.max(1, Math.round(bytesPerSecond)))
  if (Atomics.exchange(memory.controlLongs, TRANSFER_HEADER.bytesPerSecond, rate) === rate) return
  Atomics.store(memory.controlLongs, TRANSFER_HEADER.paidUntil, process.hrtime.bigint())
}

const rateOf = (memory: GuestMemory): bigint => Atomics.load(memory.controlLongs, TRANSFER_HEADER.bytesPerSecond)

/** Bytes to pay for at once under the limit in force; null: no limit. */
export function pieceBytes(memory: GuestMemory): number | null {
  const rate = rateOf(memory)
  if (rate === 0n) return null
  const bytes = Math.round((Number(rate) * PACING_PIECE_MS) / 1000)
  return Math.min(PACING_PIECE_MAX_BYTES, Math.max(PACING_PIECE_MIN_BYTES, bytes))
}

/** Resolves when `bytes` may be written. Throws `cancelled`. */
export async function pay(memory: GuestMemory, bytes: number): Promise<void> {
  for (;;) {
    const rate = rateOf(memory)
    if (rate === 0n) return
    const paidUntil = reserve(memory, (BigInt(bytes) * 1_000_000_000n) / rate)
    for (;;) {
      const waitMs = Number(paidUntil - process.hrtime.bigint()) / 1e6
      if (waitMs <= 0) return
      throwIfAborted(memory)
      await sleep(Math.min(ABORT_POLL_MS, Math.max(1, Math.floor(waitMs))))
      if (rateOf(memory) !== rate) break
    }
  }
}

/** Whether all that was booked is paid for by now: somebody who cannot wait may go on. */
export const isPaid = (memory: GuestMemory): boolean =>
  rateOf(memory) === 0n || Atomics.load(memory.controlLongs, TRANSFER_HEADER.paidUntil) <= process.hrtime.bigint()

/** Books bytes that go out at once, whatever is booked already: the answer to a fault. Others wait for it. */
export function charge(memory: GuestMemory, bytes: number): void {
  const rate = rateOf(memory)
  if (rate !== 0n) reserve(memory, (BigInt(bytes) * 1_000_000_000n) / rate)
}

/** Books `costNs` of the link behind what is booked already; returns the time at which it is paid. */
function reserve(memory: GuestMemory, costNs: bigint): bigint {
  const longs = memory.controlLongs
  for (;;) {
    const before = Atomics.load(longs, TRANSFER_HEADER.paidUntil)
    const after = later(before, process.hrtime.bigint() - BURST_NS) + costNs
    if (Atomics.compareExchange(longs, TRANSFER_HEADER.paidUntil, before, after) === before) return after
  }
}
