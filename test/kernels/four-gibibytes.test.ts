// The last pages of a 4 GiB guest, where end addresses do not fit 32 bits. Only a few pages are touched.

import { expect, it } from 'vitest'
import xxhash from 'xxhash-wasm'
import { GuestMemory } from '../../src/guest/memory.ts'
import { loadKernels } from '../../src/kernels/kernels.ts'
import { createTwin, digestTerm } from '../../src/kernels/twin.ts'
import { fillPage, PAGE_BYTES, placesOf, writeList } from './memory-fixture.ts'

const PAGES = 2 ** 20
const LAST = PAGES - 1

it('every kernel reaches the last page and stops there', async () => {
  const memory = GuestMemory.create(PAGES * PAGE_BYTES, 1)
  const { list, classes, hashes, digest, staging } = placesOf(memory)
  const { h64Raw } = await xxhash()
  fillPage(memory, LAST, 42)
  memory.bytes[2 ** 31] = 1
  const pageBytes = memory.bytes.subarray(LAST * PAGE_BYTES)
  const hash = h64Raw(pageBytes, 0n)
  for (const kernels of [loadKernels(memory), createTwin(memory)]) {
    memory.controlLongs[digest / 8] = 0n
    memory.controlLongs.fill(0n, hashes / 8 + LAST - 1, hashes / 8 + PAGES)
    memory.controlLongs[hashes / 8 + 2 ** 19] = 0n
    writeList(memory, list, [0, 2 ** 19, LAST - 1, LAST])
    expect(kernels.scan(list, 4, classes, hashes, digest, 1)).toBe(2)
    expect([...memory.controlBytes.subarray(classes, classes + 4)]).toEqual([1, 0, 1, 0])
    expect(BigInt.asUintN(64, memory.controlLongs[hashes / 8 + LAST] ?? 0n)).toBe(hash)
    expect(kernels.digestOf(hashes, LAST - 1, 2)).toBe(digestTerm(hash, LAST))
    kernels.hashRun(LAST - 1, 2, hashes, digest)
    expect(kernels.audit(LAST - 3, 4, hashes)).toBe(-1)
    kernels.gather(list, 4, staging)
    expect(kernels.compare(LAST, 1, staging + 3 * PAGE_BYTES)).toBe(-1)
    kernels.takeRun(LAST - 1, 2, staging)
    expect(kernels.compare(LAST - 1, 2, staging)).toBe(-1)
    pageBytes[4095] = (pageBytes[4095] ?? 0) ^ 1
    expect(kernels.compare(LAST - 1, 2, staging)).toBe(1)
    expect(kernels.audit(LAST - 3, 4, hashes)).toBe(LAST)
    kernels.zeroRun(LAST - 1, 2)
    expect(pageBytes.every((byte) => byte === 0)).toBe(true)
    kernels.placeRun(LAST - 1, 2, staging)
    expect(kernels.audit(LAST - 3, 4, hashes)).toBe(-1)
    kernels.zeroRun(LAST, 1)
    writeList(memory, list, [LAST - 1, LAST])
    kernels.scatter(list, 2, staging)
    expect(kernels.audit(LAST - 3, 4, hashes)).toBe(-1)
  }
  const { cards, dirty } = memory.layout
  memory.controlBytes[cards[0] + LAST] = 1
  expect(loadKernels(memory).harvest(cards[0], PAGES, dirty)).toBe(1)
  expect(memory.controlBytes[dirty + PAGES / 8 - 1]).toBe(0x80)
  // Page 0 was never written by work on the last page.
  expect(memory.bytes.subarray(0, PAGE_BYTES).every((byte) => byte === 0)).toBe(true)
})
