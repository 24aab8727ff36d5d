// What a destination remembers of pages that came, and what is left of it when the guest goes back.

import { expect, it } from 'vitest'
import { Arrivals, keepOnlyCopied } from '../../src/encoding/arrivals.ts'
import { raw } from '../../src/encoding/raw.ts'
import { appendPage, createRunTable } from '../../src/encoding/runs.ts'
import { shared } from '../../src/encoding/shared.ts'
import { createVersions, type SharedVersions, VersionStore } from '../../src/encoding/version-store.ts'
import { zero } from '../../src/encoding/zero.ts'
import { CODEC_AREA } from '../../src/guest/layout.ts'
import { GuestMemory } from '../../src/guest/memory.ts'
import { createCopyHashes } from '../../src/kernels/copy-hashes.ts'
import { fillPage, PAGE_BYTES, sameBytes } from '../kernels/memory-fixture.ts'

const PAGES = 32
const SEED = 0xfedc_ba98_7654_3210n

function arrived(slots: number, round = 0): { memory: GuestMemory; versions: SharedVersions; store: VersionStore } {
  const memory = GuestMemory.create(PAGES * PAGE_BYTES, 1)
  const versions = createVersions(slots * PAGE_BYTES, PAGES) as SharedVersions
  const table = createRunTable(PAGES)
  for (let page = 0; page < PAGES; page++) {
    if (page !== 5) fillPage(memory, page, page)
    appendPage(table, page, page === 5 ? zero.id : page === 6 ? shared.id : raw.id, 0)
  }
  new Arrivals(memory, versions).keep(table, round)
  return { memory, versions, store: new VersionStore(versions) }
}

it('keeps pages as they came, but for zeros and pages that are still to be fetched', () => {
  const { memory, versions, store } = arrived(PAGES)
  for (let page = 0; page < PAGES; page++) {
    expect(store.has(page)).toBe(page !== 5 && page !== 6)
    if (!store.has(page)) continue
    const stored = store.take(page)
    const at = page * PAGE_BYTES
    const version = new Uint8Array(versions.memory.buffer, stored, PAGE_BYTES)
    expect(sameBytes(version, memory.bytes.subarray(at, at + PAGE_BYTES))).toBe(true)
    store.release(page, 0)
  }
})

it('a cache that cannot hold all pages is not filled by the first round', () => {
  const pages = [...Array(PAGES).keys()]
  const kept = (round: number): number => pages.filter((page) => arrived(8, round).store.has(page)).length
  expect(kept(0)).toBe(0)
  expect(kept(1)).toBe(8)
})

it('a copy that the guest comes back into is kept, by every thread a part', () => {
  const memory = GuestMemory.create(PAGES * PAGE_BYTES, 1)
  for (let page = 0; page < PAGES; page++) fillPage(memory, page, page)
  for (const [slots, parts, kept] of [
    [PAGES, 1, PAGES],
    [PAGES, 3, PAGES],
    [PAGES - 1, 2, 0],
  ] as const) {
    const versions = createVersions(slots * PAGE_BYTES, PAGES) as SharedVersions
    const store = new VersionStore(versions)
    for (let part = 0; part < parts; part++) new Arrivals(memory, versions).keepCopy(PAGES, part, parts)
    const has = [...Array(PAGES).keys()].filter((page) => store.has(page))
    expect(has).toHaveLength(kept)
    for (const page of has) {
      const version = new Uint8Array(versions.memory.buffer, store.take(page), PAGE_BYTES)
      expect(sameBytes(version, memory.bytes.subarray(page * PAGE_BYTES, (page + 1) * PAGE_BYTES))).toBe(true)
    }
  }
})

it('the way back has what the copy has, bit for bit, under the seed of the session', () => {
  for (const seed of [SEED, SEED ^ 1n]) {
    const { memory, versions, store } = arrived(PAGES)
    const { layout } = memory
    // Another page of the copy has changed by one bit, and then the guest goes on writing here.
    memory.bytes[9 * PAGE_BYTES + 77] = (memory.bytes[9 * PAGE_BYTES + 77] as number) ^ 8
    createCopyHashes(memory, SEED).tell(0, PAGES, layout.scanHashes)
    memory.bytes.fill(1, 11 * PAGE_BYTES, 12 * PAGE_BYTES)
    store.claim(12, 0)
    keepOnlyCopied(memory, versions, seed, layout.codecs + CODEC_AREA.tables)
    for (let page = 0; page < PAGES; page++) {
      expect(store.has(page)).toBe(seed === SEED && ![5, 6, 9, 12].includes(page))
    }
  }
})
