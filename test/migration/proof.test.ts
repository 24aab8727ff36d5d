// The proof with free pages (R17): what they hold does not count, that they are free does.

import { beforeEach, describe, expect, it } from 'vitest'
import { loadFree, saveFree } from '../../src/guest/free-map.ts'
import { GuestMemory } from '../../src/guest/memory.ts'
import { type Kernels, loadKernels, resetDigest } from '../../src/kernels/kernels.ts'
import { auditPages, switchDigest } from '../../src/migration/proof.ts'
import type { VcpuState } from '../../src/wire/messages.ts'
import { fillPage } from '../kernels/memory-fixture.ts'

const PAGES = 64
const FREE = [0, 7, 8, 33, 63]
const states: VcpuState[] = [{ steps: 5, registers: new Uint8Array(1024).fill(3) }]

interface Side {
  memory: GuestMemory
  kernels: Kernels
}
const newSide = (): Side => {
  const memory = GuestMemory.create(PAGES * 4096, 1)
  return { memory, kernels: loadKernels(memory) }
}
let source: Side
let destination: Side

/** Hashes everything as scan and placement do. */
const hashAll = ({ memory, kernels }: Side): void => {
  resetDigest(memory)
  kernels.hashRun(0, PAGES, memory.layout.hashes, memory.layout.threadBlocks)
}
const digest = ({ memory, kernels }: Side, verify: 'digest' | 'full'): string | null =>
  switchDigest(verify, memory, kernels, states)

beforeEach(() => {
  source = newSide()
  destination = newSide()
  for (let page = 0; page < PAGES; page++) {
    fillPage(source.memory, page, page)
    if (!FREE.includes(page)) fillPage(destination.memory, page, page)
  }
  for (const page of FREE) source.memory.free[page] = 1
  // The destination hashes what it places and hears of the free map only at the switch.
  hashAll(source)
  hashAll(destination)
  loadFree(destination.memory, saveFree(source.memory))
})

describe.each(['digest', 'full'] as const)('verify %s', (verify) => {
  it('garbage in a free page at the source equals zero at the destination', () => {
    expect(digest(destination, verify)).toBe(digest(source, verify))
  })

  it('a page that is free on one side only is a difference, though it is zero there', () => {
    source.memory.bytes.fill(0, 4096, 2 * 4096)
    destination.memory.bytes.fill(0, 4096, 2 * 4096)
    hashAll(source)
    hashAll(destination)
    expect(digest(destination, verify)).toBe(digest(source, verify))
    destination.memory.free[1] = 1
    expect(digest(destination, verify)).not.toBe(digest(source, verify))
  })

  it('a free page that moves to another place is a difference', () => {
    const bitmap = saveFree(source.memory) as Uint8Array
    const before = digest(source, verify)
    for (const [page, other] of [
      [7, 6],
      [33, 34],
    ] as const) {
      loadFree(destination.memory, bitmap)
      destination.memory.bytes.fill(0, other * 4096, (other + 1) * 4096)
      destination.memory.free[page] = 0
      destination.memory.free[other] = 1
      hashAll(destination)
      expect(digest(destination, verify)).not.toBe(before)
    }
  })
})

it('the audit holds with garbage in free pages and finds a lost mark beside them', async () => {
  const audit = (): Promise<number[]> => auditPages(source.memory, source.kernels, async () => {})
  source.memory.bytes.fill(0xee, 7 * 4096, 8 * 4096)
  expect(await audit()).toEqual([])
  source.memory.bytes[9 * 4096] = (source.memory.bytes[9 * 4096] as number) ^ 1
  expect(await audit()).toEqual([9])
  // A reuse that no card recorded.
  source.memory.free[33] = 0
  expect(await audit()).toEqual([9, 33])
})
