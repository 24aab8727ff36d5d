// The page socket: hashes and pages as they are, one answer after the other; hostile clients are cut off and nobody else;
// and the asking end, which gives a neighbour up for good at its first failure.

import { existsSync, mkdtempSync, rmSync } from 'node:fs'
import { createServer, type Server } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, expect, it } from 'vitest'
import { GuestMemory } from '../../src/guest/memory.ts'
import { type PageService, servePages } from '../../src/guest-process/page-service.ts'
import { createCopyHashes } from '../../src/kernels/copy-hashes.ts'
import { COPY_HASHES, PAGE_BYTES, TOLD_PAGES } from '../../src/limits.ts'
import { NeighbourLink } from '../../src/migration/transfer/neighbour-link.ts'
import { encodePageRequest, type PageRequest } from '../../src/wire/page-request.ts'
import { fillPage } from '../kernels/memory-fixture.ts'

const PAGES = 2 * TOLD_PAGES + 16
const SEED = 0x0123_4567_89ab_cdefn
const memory = GuestMemory.create(PAGES * PAGE_BYTES, 1)
for (let page = 0; page < PAGES; page += 3) fillPage(memory, page, page)

let directory: string
let path: string
let service: PageService
let current: GuestMemory = memory
const links: NeighbourLink[] = []

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'godwit-test-'))
  path = join(directory, 'pages.sock')
  current = memory
  service = await servePages(path, async () => current)
})
afterEach(async () => {
  for (const link of links.splice(0)) link.close()
  await service.close()
  rmSync(directory, { recursive: true, force: true })
})

function linkTo(where = path): { link: NeighbourLink; area: Uint8Array } {
  const area = new Uint8Array(256 * PAGE_BYTES)
  const link = new NeighbourLink(where, area)
  links.push(link)
  return { link, area }
}
const pagesOf = (...pages: number[]): PageRequest => ({ what: 'pages', pages: Uint32Array.from(pages) })
const contentOf = (...pages: number[]): Buffer =>
  Buffer.concat(pages.map((page) => memory.bytes.slice(page * PAGE_BYTES, (page + 1) * PAGE_BYTES)))

describe('a page service', () => {
  it('sends the pages that are asked for, in that order, time and again', async () => {
    const { link, area } = linkTo()
    const all = Array.from({ length: 256 }, (_, index) => index * 3)
    for (const pages of [[0], [7, 8, 9, 3, 3, PAGES - 1], all, [6]]) {
      await link.ask(pagesOf(...pages), 5000)
      expect(contentOf(...pages).equals(area.subarray(0, pages.length * PAGE_BYTES))).toBe(true)
    }
  })

  it('tells the hashes of any range', async () => {
    const { scanHashes } = memory.layout
    createCopyHashes(memory, SEED).tell(0, PAGES, scanHashes)
    const { link, area } = linkTo()
    for (const [first, count] of [
      [0, PAGES],
      [5, 1],
      [TOLD_PAGES - 1, TOLD_PAGES + 3],
      [PAGES - 2, 2],
    ] as const) {
      await link.ask({ what: 'hashes', first, count, seed: SEED }, 5000)
      const expected = memory.controlBytes.slice(scanHashes + 8 * first, scanHashes + 8 * (first + count))
      expect(Buffer.compare(area.subarray(0, 8 * count), expected)).toBe(0)
    }
  })

  it('serves many at once', async () => {
    const asked = Array.from({ length: 20 }, async (_, index) => {
      const { link, area } = linkTo()
      for (let turn = 0; turn < 5; turn++) {
        const pages = Array.from({ length: 200 }, (_, at) => (index * 31 + at * 7 + turn) % PAGES)
        await link.ask(pagesOf(...pages), 10_000)
        expect(contentOf(...pages).equals(area.subarray(0, pages.length * PAGE_BYTES))).toBe(true)
      }
    })
    await Promise.all(asked)
  })

  it.each([
    ['a page outside the guest', encodePageRequest(pagesOf(PAGES))],
    ['no page', encodePageRequest(pagesOf())],
    ['hashes outside the guest', encodePageRequest({ what: 'hashes', first: 1, count: PAGES, seed: 0n })],
    [
      'more hashes than one answer has',
      encodePageRequest({ what: 'hashes', first: 0, count: COPY_HASHES + 1, seed: 0n }),
    ],
    ['two things at once', Buffer.concat([encodePageRequest(pagesOf(1)), encodePageRequest(pagesOf(2))])],
    ['nonsense', Buffer.alloc(5000, 2)],
  ])('cuts off who asks for %s, and nobody else', async (_, bytes) => {
    const { connect } = await import('node:net')
    const socket = connect(path)
    const { link, area } = linkTo()
    await link.ask(pagesOf(3), 5000)
    let answered = 0
    socket.on('data', (chunk) => {
      answered += chunk.length
    })
    socket.on('error', () => {})
    socket.write(bytes)
    await new Promise((resolve) => socket.once('close', resolve))
    expect(answered).toBe(0)
    await link.ask(pagesOf(6), 5000)
    expect(contentOf(6).equals(area.subarray(0, PAGE_BYTES))).toBe(true)
  })

  it('shows no other guest than the one that was asked for', async () => {
    const { link } = linkTo()
    await link.ask(pagesOf(3), 5000)
    current = GuestMemory.create(PAGES * PAGE_BYTES, 1)
    await expect(link.ask(pagesOf(3), 5000)).rejects.toMatchObject({ code: 'link-lost' })
  })

  it('leaves no socket behind', async () => {
    const { link } = linkTo()
    await link.ask(pagesOf(3), 5000)
    await service.close()
    expect(existsSync(path)).toBe(false)
    await expect(link.ask(pagesOf(3), 5000)).rejects.toMatchObject({ code: 'link-lost' })
  })
})

describe('a link to a neighbour', () => {
  let server: Server
  const peer = async (answer: (size: number) => Uint8Array | null): Promise<string> => {
    const where = join(directory, 'peer.sock')
    server = createServer((socket) => {
      socket.on('error', () => {})
      socket.on('data', (bytes) => {
        const said = answer(bytes.length)
        if (said === null) socket.destroy()
        else socket.write(said)
      })
    })
    await new Promise<void>((resolve) => {
      server.listen(where, () => resolve())
    })
    return where
  }
  afterEach(() => server?.close())

  it('fails for good where nobody is', async () => {
    const { link } = linkTo(join(directory, 'nobody.sock'))
    for (let turn = 0; turn < 2; turn++) await expect(link.ask(pagesOf(1), 5000)).rejects.toThrow(/neighbour at/)
    expect(link.alive).toBe(false)
  })

  it('fails for good at one that says too much, and takes no more than it asked for', async () => {
    const { link, area } = linkTo(await peer(() => new Uint8Array(2 * PAGE_BYTES)))
    area.fill(9)
    await link.ask(pagesOf(1), 5000)
    await expect.poll(() => link.alive).toBe(false)
    await expect(link.ask(pagesOf(1), 5000)).rejects.toThrow(/nobody asked for/)
    expect(area.subarray(PAGE_BYTES).every((byte) => byte === 9)).toBe(true)
  })

  // Who goes has more time than it can need: to be late would be another failure.
  it.each([
    ['is late', (): Uint8Array | null => new Uint8Array(100), 50, /in 50 ms/],
    ['goes in the middle', (): Uint8Array | null => null, 20_000, /is gone/],
  ] as const)('fails for good at one that %s', async (_, answer, withinMs, message) => {
    const { link, area } = linkTo(await peer(answer))
    area.fill(9)
    await expect(link.ask(pagesOf(1), withinMs)).rejects.toThrow(message)
    await expect(link.ask(pagesOf(1), 5000)).rejects.toThrow(message)
    // What came is within the answer that was wanted.
    expect(area.subarray(PAGE_BYTES).every((byte) => byte === 9)).toBe(true)
  })
})
