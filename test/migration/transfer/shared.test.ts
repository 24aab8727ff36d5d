// Pages of other guests over real threads and sockets: two neighbours that hold pages by turns, one of which dies.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, it } from 'vitest'
import { ForeignIndex } from '../../../src/encoding/foreign-index.ts'
import { seedOf } from '../../../src/encoding/seed.ts'
import { GuestMemory } from '../../../src/guest/memory.ts'
import { addPage } from '../../../src/guest/page-set.ts'
import { type PageService, servePages } from '../../../src/guest-process/page-service.ts'
import { createCopyHashes } from '../../../src/kernels/copy-hashes.ts'
import { PAGE_BYTES } from '../../../src/limits.ts'
import { fillPage } from '../../kernels/memory-fixture.ts'
import { digests, identity, openPair, type Pair, same } from './pair.ts'

const PAGES = 1024
let directory: string
let pair: Pair | null = null
let services: PageService[] = []

beforeEach(() => {
  directory = mkdtempSync(join(tmpdir(), 'godwit-test-'))
})
afterEach(async () => {
  await pair?.close()
  for (const service of services) await service.close()
  services = []
  rmSync(directory, { recursive: true, force: true })
})

const order = (round: number) => ({ round, skip: false, hash: true, final: false })

/** Neighbours that hold every even, and every odd, page of the source, at other places. */
async function begin(channels: number): Promise<Pair> {
  pair = await openPair({ memoryBytes: PAGES * PAGE_BYTES, channels, encode: 'dedup' })
  for (let page = 0; page < PAGES; page++) fillPage(pair.from, page, page)
  const index = ForeignIndex.create(2 * PAGES)
  const told = [0, 1].map(async (odd) => {
    const memory = GuestMemory.create(PAGES * PAGE_BYTES, 1)
    for (let page = odd; page < PAGES; page += 2) fillPage(memory, PAGES - 1 - page, page)
    const path = join(directory, `${odd}.sock`)
    services.push(await servePages(path, async () => memory))
    const { scanHashes } = memory.layout
    createCopyHashes(memory, seedOf(identity.token)).tell(0, PAGES, scanHashes)
    new ForeignIndex(index).add(odd * PAGES, memory.controlBytes.slice(scanHashes, scanHashes + 8 * PAGES))
    return { path, pages: PAGES }
  })
  pair.destination.share(await Promise.all(told))
  pair.source.share(index)
  return pair
}

it.each([1, 3])('come from every neighbour, over %i channels', async (channels) => {
  const { from, to, source, destination } = await begin(channels)
  const [sent, placed] = await Promise.all([source.sendRound(order(0)), destination.placed(0)])
  expect(placed.missing).toEqual([])
  expect(sent.encodings.shared?.pages).toBe(PAGES)
  expect(sent.bytes).toBeLessThan(16 * PAGES)
  expect(same(from, to)).toBe(true)
  const [ours, theirs] = digests(from, to)
  expect(theirs).toBe(ours)
})

it('are missing of one that is gone, and come with the next round', async () => {
  const { from, to, source, destination } = await begin(2)
  await services[1]?.close()
  const [, placed] = await Promise.all([source.sendRound(order(0)), destination.placed(0)])
  expect([...placed.missing].sort((a, b) => a - b)).toEqual(
    Array.from({ length: PAGES / 2 }, (_, index) => 2 * index + 1),
  )
  for (const page of placed.missing) addPage(from, from.layout.toSend, page)
  const [again, then] = await Promise.all([source.sendRound(order(1)), destination.placed(1)])
  expect([again.sent, then.missing]).toEqual([PAGES / 2, []])
  expect(again.encodings.shared).toBeUndefined()
  expect(same(from, to)).toBe(true)
  const [ours, theirs] = digests(from, to)
  expect(theirs).toBe(ours)
})
