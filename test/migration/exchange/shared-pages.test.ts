// The page table that both sides share with their vCPUs: who says that it waits for a page is woken when it comes.

import { expect, test } from 'vitest'
import { GuestMemory } from '../../../src/guest/memory.ts'
import { PRESENCE } from '../../../src/guest/presence.ts'
import { vcpuWords } from '../../../src/guest/safepoint.ts'
import { beginSharing, presenceOf } from '../../../src/guest/sharing.ts'
import { loadKernels } from '../../../src/kernels/kernels.ts'
import { SharedPages } from '../../../src/migration/exchange/shared-pages.ts'

const PAGE = 17

/** Ways for a page to come; one vCPU has said that it waits for it. */
const ways: { readonly how: string; readonly come: (pages: SharedPages) => void }[] = [
  { how: 'it was given', come: (pages) => pages.arrive(PAGE, 1, 1) },
  { how: 'it was not taken by the other side', come: (pages) => pages.bringBack(PAGE, true) },
  { how: 'it came in runs', come: (pages) => pages.arriveRuns(Uint32Array.of(PAGE - 1, 3, 1, 1)) },
]

// Not asked for: the vCPU found the page absent, and it came before the vCPU could ask. It parks all the same.
for (const asked of [true, false]) {
  test.each(ways)(
    `a vCPU that waits and has ${asked ? '' : 'not yet '}asked for a page is woken when $how`,
    ({ come }) => {
      const memory = GuestMemory.create(256 * 4096, 2)
      beginSharing(memory, false)
      const pages = new SharedPages(memory, loadKernels(memory), false)
      const words = vcpuWords(memory, 1)
      const wakes = (): number => Atomics.load(memory.controlWords, words.wake)
      const before = wakes()
      Atomics.store(memory.controlWords, words.faultPage, PAGE + 1)
      if (asked) presenceOf(memory)[PAGE] = PRESENCE.requested
      come(pages)
      expect(presenceOf(memory)[PAGE]).toBe(PRESENCE.installed)
      expect(wakes()).toBe(before + 1)
    },
  )
}
