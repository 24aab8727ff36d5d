// The cache of last versions sent: who owns a slot, for how long, and that threads never tear a version.

import { Worker } from 'node:worker_threads'
import { describe, expect, it } from 'vitest'
import {
  clearVersions,
  createVersions,
  type SharedVersions,
  VersionStore,
  versionsOf,
} from '../../src/encoding/version-store.ts'
import { GuestMemory } from '../../src/guest/memory.ts'
import { MAX_MEMORY_BYTES } from '../../src/limits.ts'

const storeOf = (slots: number): VersionStore => new VersionStore(createVersions(slots * 4096, 1000) as SharedVersions)
/** Keeps a version of the page, as the batch encoder does. */
function put(store: VersionStore, page: number, round: number): boolean {
  if (store.claim(page, round) < 0) return false
  store.release(page, round)
  return true
}

describe('size', () => {
  it.each([
    [0, 100, null],
    [4095, 100, null],
    [4096, 100, 1],
    [12_287, 100, 2],
    [1e9, 100, 100],
    [4096 * 77 + 1, 100, 77],
  ])('%i bytes for %i pages: %s slots', (bytes, pages, slots) => {
    expect(createVersions(bytes, pages)?.slots ?? null).toBe(slots)
  })

  it('a cache as large as memory can be has a slot less than pages, and fits', () => {
    const pages = MAX_MEMORY_BYTES / 4096
    const versions = createVersions(MAX_MEMORY_BYTES, pages)
    // A host without the address space for it gets none.
    if (versions === null) return
    expect(versions.slots).toBeLessThan(pages)
    const store = new VersionStore(versions)
    const last = versions.slots - 1
    const stored = store.claim(last, 0)
    expect(stored + 4096).toBeLessThanOrEqual(versions.memory.buffer.byteLength)
    new Uint8Array(versions.memory.buffer).fill(7, stored, stored + 4096)
    store.release(last, 0)
    expect(store.has(last)).toBe(true)
  })

  it('holds every page or not', () => {
    expect(storeOf(8).firstRoundFor(8)).toBe(0)
    expect(storeOf(8).firstRoundFor(9)).toBe(1)
  })
})

it('the next attempt has the memory of the one before, and none of its versions', () => {
  const guest = GuestMemory.create(16 * 4096, 1)
  const first = versionsOf(guest, 8 * 4096) as SharedVersions
  const store = new VersionStore(first)
  expect(put(store, 3, 5)).toBe(true)
  store.claim(4, 1)
  const next = versionsOf(guest, 8 * 4096) as SharedVersions
  expect(next.memory).toBe(first.memory)
  clearVersions(next)
  const empty = new VersionStore(next)
  for (let page = 0; page < 16; page++) expect(empty.has(page)).toBe(false)
  // Neither a busy slot nor an age stays behind.
  for (let page = 8; page < 16; page++) expect(put(empty, page, 0)).toBe(true)
  // The guest that comes back into its copy has the same pages.
  expect(versionsOf(GuestMemory.create(guest.layout.memoryBytes, 1, guest.pages), 8 * 4096)?.memory).toBe(first.memory)
  expect(versionsOf(guest, 4 * 4096)?.memory).not.toBe(first.memory)
  expect(versionsOf(guest, 0)).toBeNull()
})

describe('a slot', () => {
  it('is claimed, released, taken, forgotten', () => {
    const store = storeOf(4)
    expect([store.has(2), store.take(2)]).toEqual([false, -1])
    const stored = store.claim(2, 0)
    expect(stored % 4096).toBe(0)
    // While a thread works on it nobody has it.
    expect([store.has(2), store.take(2), store.claim(2, 0), store.claim(6, 9)]).toEqual([false, -1, -1, -1])
    store.release(2, 0)
    expect(store.has(2)).toBe(true)
    expect(store.take(2)).toBe(stored)
    store.release(2, 1)
    store.forget(2)
    expect([store.has(2), store.take(2)]).toEqual([false, -1])
  })

  it('is of one page: others of the same slot neither have, take nor forget it', () => {
    const store = storeOf(4)
    put(store, 2, 0)
    expect([store.has(6), store.take(6)]).toEqual([false, -1])
    store.forget(6)
    expect(store.has(2)).toBe(true)
  })

  it('is kept while its page is fresh, and goes to another page after two rounds', () => {
    const store = storeOf(4)
    put(store, 2, 5)
    expect([put(store, 6, 5), put(store, 6, 6)]).toEqual([false, false])
    expect(put(store, 2, 6)).toBe(true)
    expect(put(store, 6, 7)).toBe(false)
    expect(put(store, 6, 8)).toBe(true)
    expect([store.has(2), store.has(6)]).toEqual([false, true])
  })

  it('page 0 is a page like any other', () => {
    const store = storeOf(4)
    expect(store.has(0)).toBe(false)
    put(store, 0, 0)
    expect([store.has(0), store.has(4)]).toEqual([true, false])
  })

  it('two slots do not overlap, nor the tags', () => {
    const store = storeOf(3)
    const places = [0, 1, 2].map((page) => store.claim(page, 0))
    expect(new Set(places).size).toBe(3)
    expect(Math.min(...places)).toBeGreaterThanOrEqual(3 * 8)
    for (const [index, place] of places.entries())
      if (index > 0) expect(place - (places[index - 1] as number)).toBe(4096)
  })
})

it('threads that race for one slot never tear a version', { timeout: 60_000 }, async () => {
  const versions = createVersions(2 * 4096, 1000) as SharedVersions
  const workerData = { versions, puts: 10_000, clock: new Int32Array(new SharedArrayBuffer(8)) }
  const threads = [0, 1, 2].map((thread) => {
    const worker = new Worker(new URL('./version-thread.ts', import.meta.url), {
      workerData: { ...workerData, thread },
    })
    return new Promise<{ takes: number; torn: number; foreign: number }>((resolve, reject) => {
      worker.once('message', resolve)
      worker.once('error', reject)
    })
  })
  const results = await Promise.all(threads)
  for (const { torn, foreign } of results) expect([torn, foreign]).toEqual([0, 0])
  expect(results.some(({ takes }) => takes > 100)).toBe(true)
})
