// The proof at a switchover: the running digest of pages plus the vCPU state (R15), the full digest of `--verify full`,
// and the audit of the source's frozen memory (R16). Used by both sessions.

import { GodwitError } from '../errors.ts'
import { saveFree, warmFreeMap } from '../guest/free-map.ts'
import type { GuestMemory } from '../guest/memory.ts'
import { hasPage } from '../guest/page-set.ts'
import { digestTotal, type Kernels } from '../kernels/kernels.ts'
import type { VcpuState } from '../wire/messages.ts'
import type { VerifyMode } from './settings.ts'

const MASK = (1n << 64n) - 1n
const FNV_PRIME = 0x100000001b3n
/** Pages hashed between two turns of the event loop: 16 MiB, about 2 ms. */
const SLICE_PAGES = 4096

/**
 * Digest of what crosses beside the pages: every vCPU's step count and registers, FNV-1a over 64-bit words, and the free
 * map (a bitmap as `saveFree` makes it).
 */
export function stateDigest(states: readonly VcpuState[], free: Uint8Array | null): bigint {
  let digest = 0xcbf29ce484222325n
  for (const state of states) {
    digest = ((digest ^ BigInt(state.steps)) * FNV_PRIME) & MASK
    const view = new DataView(state.registers.buffer, state.registers.byteOffset, state.registers.byteLength)
    for (let offset = 0; offset < view.byteLength; offset += 8) {
      const word = view.getBigUint64(offset, true)
      if (word !== 0n) digest = ((digest ^ word ^ BigInt(offset)) * FNV_PRIME) & MASK
    }
  }
  return free === null ? digest : ((digest ^ bitmapDigest(free)) * FNV_PRIME) & MASK
}

/** Two 32-bit hashes side by side, FNV-1a and one that begins and multiplies otherwise: 128 KiB take part of a ms. */
function bitmapDigest(bitmap: Uint8Array): bigint {
  let [low, high] = [0x811c9dc5, 0x9747b28c]
  for (let index = 0; index < bitmap.length; index++) {
    const byte = bitmap[index] as number
    low = Math.imul(low ^ byte, 0x01000193)
    high = Math.imul((high ^ byte) + (high >>> 15), 0x85ebca6b)
  }
  return (BigInt(high >>> 0) << 32n) | BigInt(low >>> 0)
}

/** The digest of the pages that were sent or placed so far: 16 hex digits. */
export const pagesDigest = (memory: GuestMemory): string => toHex(digestTotal(memory))

/** The same with the vCPU state and the free map in memory: 16 hex digits. */
export function runningDigest(memory: GuestMemory, kernels: Kernels, states: readonly VcpuState[]): string {
  return digestWith(memory, states, saveFree(memory, kernels))
}

/** The same with a free map that was saved before: in soft the guest may have changed its own since. */
export function digestWith(memory: GuestMemory, states: readonly VcpuState[], free: Uint8Array | null): string {
  return toHex(digestTotal(memory) + stateDigest(states, free))
}

/** Hashes every page now (`--verify full`); only while nothing writes. Does not touch the hash table. */
export function fullDigest(memory: GuestMemory, kernels: Kernels, states: readonly VcpuState[]): string {
  const { pageCount, hashes } = memory.layout
  const thread = memory.layout.threadBlocks
  const saved = memory.controlBytes.slice(hashes, hashes + 8 * pageCount)
  const savedDigest = memory.controlLongs[thread / 8] ?? 0n
  memory.controlBytes.fill(0, hashes, hashes + 8 * pageCount)
  memory.controlLongs[thread / 8] = 0n
  kernels.hashRun(0, pageCount, hashes, thread)
  const total = memory.controlLongs[thread / 8] ?? 0n
  memory.controlBytes.set(saved, hashes)
  memory.controlLongs[thread / 8] = savedDigest
  return toHex(BigInt.asUintN(64, total) + stateDigest(states, saveFree(memory, kernels)))
}

/** What both sides must agree on before the commit, by the migration's way to verify; null: nothing. */
export function switchDigest(
  verify: VerifyMode,
  memory: GuestMemory,
  kernels: Kernels,
  states: readonly VcpuState[],
): string | null {
  if (verify === 'none') return null
  return verify === 'full' ? fullDigest(memory, kernels, states) : runningDigest(memory, kernels, states)
}

/** Runs the code of the proof once before it is needed inside the pause: its first run takes ten times as long. */
export function warmProof(memory: GuestMemory, kernels: Kernels): void {
  const states = [{ steps: 1, registers: new Uint8Array(1024).fill(1) }]
  runningDigest(memory, kernels, states)
  // At the destination no page is free yet: what handles a free map is warmed on a map of its own.
  stateDigest(states, warmFreeMap())
}

const toHex = (digest: bigint): string => (digest & MASK).toString(16).padStart(16, '0')

/**
 * The pages of the frozen source that differ from what was sent: lost marks (R16). Empty when the audit holds. Pages of
 * the bitmap `except` were sent, or not, behind the switch: no mark of theirs can have been lost.
 */
export async function auditPages(
  memory: GuestMemory,
  kernels: Kernels,
  breathe: () => Promise<void>,
  except: number | null = null,
): Promise<number[]> {
  const { pageCount, hashes } = memory.layout
  const differing: number[] = []
  for (let first = 0; first < pageCount; first += SLICE_PAGES) {
    let from = first
    const end = Math.min(first + SLICE_PAGES, pageCount)
    while (from < end && differing.length < 16) {
      const page = kernels.audit(from, end - from, hashes)
      if (page < 0) break
      if (except === null || !hasPage(memory, except, page)) differing.push(page)
      from = page + 1
    }
    await breathe()
  }
  return differing
}

/**
 * At the destination: throws `digest-mismatch` unless both sides have the same digest. `secret`: the error travels to a
 * source that must not learn ours, which is made of pages of other guests, too.
 */
export function requireEqualDigests(ours: string | null, theirs: string | null, secret = false): void {
  if (ours === theirs) return
  const which = secret ? '' : `: digest ${ours}, source ${theirs}`
  throw new GodwitError('digest-mismatch', `the destination's memory differs${which}`, {
    hint: 'the guest stays at the source; check the network path, then migrate again',
  })
}

/** At the source: throws unless the destination has proven the same. `ours` null: nothing is verified. */
export function requireProven(theirs: string | null, ours: string | null): void {
  if (ours === null || theirs === ours) return
  throw new GodwitError('digest-mismatch', `digest ${theirs} at the destination, ${ours} here`, {
    side: 'source',
    hint: 'the guest stays at the source',
  })
}
