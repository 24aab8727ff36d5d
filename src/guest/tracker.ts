// How written pages are found. Cards: the program's accessors mark them, and the retired table is read after a swap (R1).
// Scan: for programs that cannot mark, every page is hashed and compared with its last hash; slower, always right.

import type { Kernels } from '../kernels/kernels.ts'
import { VCPU_BLOCK } from './layout.ts'
import type { GuestMemory } from './memory.ts'
import type { Table } from './safepoint-machine.ts'

/** Finds the pages written since the last look. */
export interface DirtyTracker {
  /**
   * Adds the pages written since the last call to the bitmap (a byte offset into the control memory). Called after a
   * swap, with the table that retired. Returns how many pages were found.
   */
  harvest(bitmapOffset: number, retired: Table): number
}

/** Pages marked by the write barrier; costs a pass over one byte a page. */
export function cardTracker(memory: GuestMemory, kernels: Kernels): DirtyTracker {
  const { cards, pageCount } = memory.layout
  return { harvest: (bitmapOffset, retired) => kernels.harvest(cards[retired], pageCount, bitmapOffset) }
}

const SCAN_PAGES = 256

/**
 * Pages whose hash changed since the last look; the first look is taken now. A page that changes while it is hashed is
 * found now or at the next look. The guest must be paused for the last look, as it must for the last harvest.
 */
export function scanTracker(memory: GuestMemory, kernels: Kernels): DirtyTracker {
  const { scanHashes, pageCount, vcpuBlocks } = memory.layout
  const { controlLongs, controlBytes } = memory
  const first = scanHashes / 8
  const before = new BigInt64Array(SCAN_PAGES)
  // hashRun keeps a digest too, which nobody reads here: the unused tail of the first vCPU's words takes it.
  const scratch = vcpuBlocks + VCPU_BLOCK.registers - 8
  const look = (bitmapOffset: number | null): number => {
    let found = 0
    for (let page = 0; page < pageCount; page += SCAN_PAGES) {
      const count = Math.min(SCAN_PAGES, pageCount - page)
      before.set(controlLongs.subarray(first + page, first + page + count))
      kernels.hashRun(page, count, scanHashes, scratch)
      for (let index = 0; index < count && bitmapOffset !== null; index++) {
        if (before[index] === controlLongs[first + page + index]) continue
        const at = bitmapOffset + ((page + index) >>> 3)
        controlBytes[at] = (controlBytes[at] as number) | (1 << ((page + index) & 7))
        found++
      }
    }
    return found
  }
  look(null)
  return { harvest: (bitmapOffset) => look(bitmapOffset) }
}
