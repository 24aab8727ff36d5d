// Which part of the store is whose: Redis Cluster's slots and the guest's pages, both divided evenly among the vCPUs.
// A gateway routes by `vcpuOfSlot`; a vCPU opens the pages of its share and touches no others.

import { GodwitError } from '../../errors.ts'
import { KV_KEPT_REPLY_PAGES, KV_MIN_SHARE_PAGES, PAGE_BYTES } from '../../limits.ts'

/** Hash slots of Redis Cluster. */
export const SLOTS = 16_384

/** Guest pages from `from` up to, not including, `to`. */
export interface PageRange {
  readonly from: number
  readonly to: number
}

/** The pages of one vCPU's shard. Throws `bad-size` when they are too few to hold anything. */
export function shareOf(memoryBytes: number, vcpu: number, vcpus: number): PageRange {
  const pages = memoryBytes / PAGE_BYTES
  const range = { from: Math.floor((pages * vcpu) / vcpus), to: Math.floor((pages * (vcpu + 1)) / vcpus) }
  if (range.to - range.from >= KV_MIN_SHARE_PAGES) return range
  throw new GodwitError('bad-size', `${pages} pages are too few for a key-value store on ${vcpus} vCPUs`, {
    hint: `give the guest ${(KV_MIN_SHARE_PAGES * PAGE_BYTES) / 1024} KiB a vCPU or more`,
  })
}

/** A sixteenth of a share, up to 1 MiB and a page, keeps what R30 asks for (sessions.ts): the pages at its end. */
export function sessionPages({ from, to }: PageRange): PageRange {
  const ring = Math.min(KV_KEPT_REPLY_PAGES, Math.floor((to - from) / 16))
  return { from: to - 1 - ring, to }
}

/** The pages in front of them hold the shard. */
export const storePages = (share: PageRange): PageRange => ({ from: share.from, to: sessionPages(share).from })

/** The vCPU that serves a slot. */
export const vcpuOfSlot = (slot: number, vcpus: number): number => Math.floor((slot * vcpus) / SLOTS)

/** The slots of one vCPU, first and last. */
export function slotsOf(vcpu: number, vcpus: number): { first: number; last: number } {
  return { first: Math.ceil((SLOTS * vcpu) / vcpus), last: Math.ceil((SLOTS * (vcpu + 1)) / vcpus) - 1 }
}

/** CRC-16/XMODEM, polynomial 0x1021, as the Redis Cluster specification has it. */
const CRC = Uint16Array.from({ length: 256 }, (_, byte) => {
  let crc = byte << 8
  for (let bit = 0; bit < 8; bit++) crc = (crc << 1) ^ (crc & 0x8000 ? 0x1021 : 0)
  return crc
})

const OPEN = 0x7b
const CLOSE = 0x7d

/** The slot of a key, or of what stands between its first { and the next }, unless that is nothing. */
export function slotOf(bytes: Uint8Array, start: number, length: number): number {
  let [from, to] = [start, start + length]
  const open = indexOf(bytes, OPEN, from, to)
  const close = open < 0 ? -1 : indexOf(bytes, CLOSE, open + 1, to)
  if (close > open + 1) [from, to] = [open + 1, close]
  let crc = 0
  for (let at = from; at < to; at++) {
    crc = ((crc << 8) & 0xffff) ^ (CRC[(crc >>> 8) ^ (bytes[at] as number)] as number)
  }
  return crc & (SLOTS - 1)
}

function indexOf(bytes: Uint8Array, byte: number, from: number, to: number): number {
  for (let at = from; at < to; at++) if (bytes[at] === byte) return at
  return -1
}
