// The write barrier under real threads: vCPUs at full speed, rounds as fast as they go, and a copy made of marked pages
// only. After a pause the copy must be the guest. A coordinator that does not await the handshake is caught.

import { expect, test, vi } from 'vitest'
import { loadWord, publishWord } from '../../src/guest/safepoint.ts'
import { nextWord, type Table, tableOf } from '../../src/guest/safepoint-machine.ts'
import { cardTracker } from '../../src/guest/tracker.ts'
import { loadKernels } from '../../src/kernels/kernels.ts'
import { SEED, type Started, startGuest } from '../programs/guest-fixture.ts'

// Some hundred handshakes with threads that all want a processor: where others have the processors, each takes their time slices.
vi.setConfig({ testTimeout: 120_000 })

const MEMORY_BYTES = 1024 * 1024
const ROUNDS = 3

type Swap = (guest: Started) => Promise<Table>
const swap: Swap = async ({ vcpus }) => (await vcpus.swapCards()).retired
/** Publishes the other table and harvests at once: what R1 forbids. */
const swapWithoutHandshake: Swap = async ({ memory }) => {
  const word = loadWord(memory)
  const retired = tableOf(word)
  publishWord(memory, nextWord(word, { table: retired === 0 ? 1 : 0 }))
  return retired
}

/** Pages of the copy that are not the guest's, after each of `trials` times some rounds and a pause. */
async function lostPages(guest: Started, trials: number, swapWhileRunning: Swap): Promise<number> {
  const { memory, vcpus } = guest
  const { pageCount, dirty } = memory.layout
  const tracker = cardTracker(memory, loadKernels(memory))
  const copy = new Uint8Array(memory.bytes)
  const pageOf = (bytes: Uint8Array, page: number): Uint8Array => bytes.subarray(page * 4096, (page + 1) * 4096)
  const collect = (retired: Table): void => {
    tracker.harvest(dirty, retired)
    for (let page = 0; page < pageCount; page++) {
      const at = dirty + (page >> 3)
      if (((memory.controlBytes[at] as number) >> (page & 7)) & 1) pageOf(copy, page).set(pageOf(memory.bytes, page))
    }
    memory.controlBytes.fill(0, dirty, dirty + pageCount / 8)
  }
  let lost = 0
  for (let trial = 0; trial < trials; trial++) {
    for (let round = 0; round < ROUNDS; round++) collect(await swapWhileRunning(guest))
    await vcpus.pause()
    collect(await swap(guest))
    for (let page = 0; page < pageCount; page++) {
      if (Buffer.compare(pageOf(copy, page), pageOf(memory.bytes, page)) !== 0) lost++
    }
    copy.set(memory.bytes)
    vcpus.resume()
    await vcpus.running()
  }
  return lost
}

const options = { workload: 'diab', content: 'random' }

test.each([2, 4])('%d vCPUs: no mark is lost', async (count) => {
  const guest = await startGuest({ memoryBytes: MEMORY_BYTES, vcpus: count, options, seed: SEED })
  expect(await lostPages(guest, 100, swap), `GODWIT_SEED=${SEED}`).toBe(0)
})

test('harvesting without the handshake loses marks, and this test sees it', async () => {
  const guest = await startGuest({ memoryBytes: MEMORY_BYTES, vcpus: 2, options })
  let lost = 0
  for (let attempt = 0; attempt < 20 && lost === 0; attempt++) lost += await lostPages(guest, 20, swapWithoutHandshake)
  expect(lost).toBeGreaterThan(0)
})
