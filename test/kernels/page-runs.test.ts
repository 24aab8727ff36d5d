// The kernels for runs of pages against the same done page by page.

import { expect, test } from 'vitest'
import { GuestMemory } from '../../src/guest/memory.ts'
import { addPage, hasPage } from '../../src/guest/page-set.ts'
import { arrivalsOf, beginSharing, generationsOf, homesOf, presenceOf } from '../../src/guest/sharing.ts'
import { loadKernels } from '../../src/kernels/kernels.ts'
import { loadPageRuns } from '../../src/kernels/page-runs.ts'
import { EXCHANGE_CHANNEL, STAGING_BYTES } from '../../src/limits.ts'

const RUNS = [3, 1, 2, 1, 8, 17, 2, 0, 40, 2, 5, 2]
const memory = GuestMemory.create(64 * 4096, 2)
const { layout, controlBytes, controlWords } = memory
const runs = loadPageRuns(memory)
const at = layout.staging + EXCHANGE_CHANNEL * STAGING_BYTES
controlWords.set(RUNS, at / 4)
const pages = [...new Uint8Array(64).keys()]
const runOf = (page: number): number =>
  [0, 4, 8].find((run) => page >= (RUNS[run] as number) && page < (RUNS[run] as number) + (RUNS[run + 1] as number)) ??
  -1
const inRuns = pages.filter((page) => runOf(page) >= 0)

test('the sum of the digest terms is that of each page', () => {
  const kernels = loadKernels(memory)
  memory.bytes.fill(7, 9 * 4096, 45 * 4096)
  kernels.hashRun(0, 64, layout.hashes, layout.threadBlocks)
  const terms = inRuns.map((page) => kernels.digestOf(layout.hashes, page, 1))
  const sum = BigInt.asUintN(
    64,
    terms.reduce((one, other) => one + other, 0n),
  )
  expect(BigInt.asUintN(64, runs.sum(at, 3, layout.hashes))).toBe(sum)
  expect(sum).not.toBe(0n)
})

test('what is ours, or of a generation that is not just below, is refused', () => {
  const [presence, generations] = [presenceOf(memory), generationsOf(memory)]
  const refused = (): number => runs.refused(at, 3, layout.presence, 1, generations.byteOffset, 2)
  beginSharing(memory, false)
  // The last run's pages come in generation 5.
  generations.fill(3, 40, 42)
  presence[9] = 1
  expect(refused()).toBe(-1)
  presence[41] = 5
  expect(refused()).toBe(41)
  generations[24] = 2
  expect(refused()).toBe(24)
  presence[7] = 5
  generations[24] = 1
  expect(refused()).toBe(41)
  presence[41] = 0
  expect(refused()).toBe(-1)
  for (const far of [2, 0, 5, 6, 2 ** 32 - 1]) {
    generations[41] = far
    expect(refused()).toBe(41)
  }
})

test('an arrival enters what the run says and nothing beside it', () => {
  beginSharing(memory, false)
  for (const table of layout.cards) controlBytes.fill(1, table, table + 64)
  for (const page of pages) addPage(memory, layout.dirty, page)
  const [homes, generations, arrivals] = [homesOf(memory), generationsOf(memory), arrivalsOf(memory)]
  homes.fill(9)
  const tables = [generations.byteOffset, homes.byteOffset, arrivals.byteOffset] as const
  runs.arrive(at, 3, ...layout.cards, layout.dirty, ...tables, 0xfedc)
  runs.fill(at, 3, layout.presence, 3)
  for (const page of pages) {
    const run = runOf(page)
    const here = run >= 0
    const home = here ? (RUNS[run + 3] as number) || 9 : 9
    const found = [
      generations[page],
      arrivals[page],
      homes[page],
      presenceOf(memory)[page],
      hasPage(memory, layout.dirty, page),
    ]
    expect(found).toEqual(here ? [RUNS[run + 2], 0xfedc, home, 3, false] : [0, 0, 9, 0, true])
    for (const table of layout.cards) expect(controlBytes[table + page]).toBe(here ? 0 : 1)
  }
})
