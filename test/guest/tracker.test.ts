// Both trackers find exactly the pages that were written between two looks.

import fc from 'fast-check'
import { expect, test } from 'vitest'
import { Accessors } from '../../src/guest/accessors.ts'
import { GuestMemory } from '../../src/guest/memory.ts'
import { registersOf } from '../../src/guest/safepoint.ts'
import { cardTracker, scanTracker } from '../../src/guest/tracker.ts'
import { loadKernels } from '../../src/kernels/kernels.ts'

const BYTES = 16 * 65_536

test.each([
  ['cards', cardTracker],
  ['scan', scanTracker],
])('%s', (_, makeTracker) => {
  const memory = GuestMemory.create(BYTES, 1)
  const accessors = new Accessors(memory, registersOf(memory, 0))
  const tracker = makeTracker(memory, loadKernels(memory))
  const { dirty, pageCount } = memory.layout
  let table: 0 | 1 = 0
  let value = 1
  const bits = (): number[] =>
    Array.from({ length: pageCount }, (_unused, page) => page).filter(
      (page) => ((memory.controlBytes[dirty + (page >> 3)] as number) >> (page & 7)) & 1,
    )
  fc.assert(
    fc.property(fc.array(fc.nat(BYTES / 4 - 1)), (words) => {
      memory.controlBytes.fill(0, dirty, dirty + pageCount / 8)
      for (const word of words) accessors.storeU32(word * 4, value++)
      const retired = table
      table = table === 0 ? 1 : 0
      accessors.useTable(table)
      const pages = [...new Set(words.map((word) => word >> 10))].sort((a, b) => a - b)
      expect(tracker.harvest(dirty, retired)).toBe(pages.length)
      expect(bits()).toEqual(pages)
    }),
  )
})
