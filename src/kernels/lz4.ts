// The typed binding of the LZ4 kernel: blocks of the plain LZ4 block format, from and to the control memory. The lz4
// encoding decodes with it always, and encodes with it where lz4-backend.ts says so.

import { assert } from '../errors.ts'
import type { GuestMemory } from '../guest/memory.ts'
import { MODULE_BASE64 } from './lz4.bytes.ts'
import { instantiate } from './module.ts'

/** Largest content of a block that is compressed here, bytes: places in it are 16-bit numbers. */
export const LZ4_CONTENT_BYTES = 65_536
/** Largest block that such content can become, bytes: literals alone, a token and their length. */
export const LZ4_BLOCK_BYTES = LZ4_CONTENT_BYTES + 1 + Math.ceil(LZ4_CONTENT_BYTES / 255)
/** Largest scratch table of `compress`, bytes. */
export const LZ4_TABLE_BYTES = 32_768

/** lz4.wat does it with SIMD, lz4-twin.ts in plain TypeScript, with equal results. Byte offsets into the control memory. */
export interface Lz4Kernel {
  /**
   * Compresses `length` (0 to LZ4_CONTENT_BYTES) bytes at `from` into a block at `to`, with a scratch table at `table`.
   * Returns the bytes of the block, or −1 when they would be more than `limit`; nothing outside [to, to + limit) and
   * the table is written either way. The same content gives the same block, whatever the table held before.
   */
  compress(from: number, length: number, to: number, limit: number, table: number): number
  /**
   * Decompresses the block of `length` bytes at `from`. Returns the bytes of its content, or −1 when the block is malformed
   * or its content longer than `capacity`; nothing outside [to, to + capacity) is written and nothing outside the block
   * read either way.
   */
  decompress(from: number, length: number, to: number, capacity: number): number
}

interface Exports {
  compress(from: number, length: number, to: number, limit: number, table: number, bits: number): number
  decompress(from: number, length: number, to: number, capacity: number): number
}

/** Entries of the table, as a power of two: short content does not pay for clearing a large one. */
export const lz4TableBits = (length: number): number => (length <= 16_384 ? 13 : 14)

/** Throws `internal` unless input, output and `length` are what the kernel can take: it must never see other ones. */
function check(memory: GuestMemory, from: number, length: number, most: number, to: number, room: number): void {
  const end = memory.controlBytes.length
  const inside = from >= 0 && to >= 0 && length >= 0 && room >= 0 && from + length <= end && to + room <= end
  assert(inside && length <= most, `lz4 of ${length} bytes at ${from} to ${room} bytes at ${to}`)
}

/** Loads the kernel over one guest's control memory. */
export function loadLz4(memory: GuestMemory): Lz4Kernel {
  const raw = instantiate<Exports>(MODULE_BASE64, memory)
  return {
    compress(from, length, to, limit, table) {
      check(memory, from, length, LZ4_CONTENT_BYTES, to, limit)
      return raw.compress(from, length, to, limit, table, lz4TableBits(length))
    },
    decompress(from, length, to, capacity) {
      check(memory, from, length, LZ4_BLOCK_BYTES, to, capacity)
      return raw.decompress(from, length, to, capacity)
    },
  }
}
