// The page socket of a guest process: other guests of the same agent ask here for hashes of its pages and for the pages, so
// that what this host has already need not cross the network again. Beside the guest's rpc socket, for the same user only;
// main.ts opens it where the agent says so. Pages are sent as they are, live: whoever asked hashes what it got (R13).

import { rmSync } from 'node:fs'
import { createServer, type Server, type Socket } from 'node:net'
import { setImmediate as breathe } from 'node:timers/promises'
import { GodwitError } from '../errors.ts'
import { THREAD_BLOCK } from '../guest/layout.ts'
import type { GuestMemory } from '../guest/memory.ts'
import { createCopyHashes } from '../kernels/copy-hashes.ts'
import { MAX_LANES, MAX_PAGE_CLIENTS, PAGE_BYTES, TOLD_PAGES } from '../limits.ts'
import { type PageRequest, PageRequestReader } from '../wire/page-request.ts'

export interface PageService {
  close(): Promise<void>
}

/** Serves the pages of the guest that `memoryOf` names, on a unix socket; a stale socket file is replaced. */
export async function servePages(path: string, memoryOf: () => Promise<GuestMemory>): Promise<PageService> {
  rmSync(path, { force: true })
  const clients = new Set<Socket>()
  const server: Server = createServer((socket) => {
    clients.add(socket)
    socket.on('error', () => {})
    socket.on('close', () => clients.delete(socket))
    // Whoever breaks a rule, or comes before there is a guest, is cut off.
    serve(socket, memoryOf).catch(() => socket.destroy())
  })
  server.maxConnections = MAX_PAGE_CLIENTS
  await new Promise<void>((resolve, reject) => {
    server.once('error', reject)
    server.listen(path, resolve)
  })
  return {
    close: async () => {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()))
      for (const socket of clients) socket.destroy()
      await closed
      rmSync(path, { force: true })
    },
  }
}

/** One request after the other; the next is read when the answer to this one has left. */
async function serve(socket: Socket, memoryOf: () => Promise<GuestMemory>): Promise<void> {
  const memory = await memoryOf()
  const reader = new PageRequestReader(memory.layout.pageCount)
  for await (const bytes of socket) {
    const request = reader.push(bytes as Buffer)
    if (request === null) continue
    // The memory of this process may be another guest's by now.
    if ((await memoryOf()) !== memory) throw new GodwitError('guest-not-running', 'another guest is here')
    if (request.what === 'hashes') await tellHashes(socket, memory, request)
    else await write(socket, viewsOf(memory, request.pages))
  }
}

async function tellHashes(
  socket: Socket,
  memory: GuestMemory,
  { first, count, seed }: Extract<PageRequest, { what: 'hashes' }>,
): Promise<void> {
  const { layout, controlBytes } = memory
  const hashes = createCopyHashes(memory, seed)
  const told = layout.threadBlocks + MAX_LANES * THREAD_BLOCK.bytes + THREAD_BLOCK.told
  for (let page = first; page < first + count; page += TOLD_PAGES) {
    const pages = Math.min(TOLD_PAGES, first + count - page)
    // The kernel takes a table that begins with page 0; this one has the pages in hand alone.
    hashes.tell(page, pages, told - 8 * page)
    await write(socket, [controlBytes.slice(told, told + 8 * pages)])
    await breathe()
  }
}

/** The pages where they lie in the guest, neighbours together. */
function viewsOf({ bytes }: GuestMemory, pages: Uint32Array): Uint8Array[] {
  const views: Uint8Array[] = []
  for (let from = 0, to = 1; from < pages.length; from = to++) {
    while (to < pages.length && pages[to] === (pages[to - 1] as number) + 1) to++
    const start = (pages[from] as number) * PAGE_BYTES
    views.push(bytes.subarray(start, start + (to - from) * PAGE_BYTES))
  }
  return views
}

/** Resolves when the kernel has taken everything. */
function write(socket: Socket, views: readonly Uint8Array[]): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>()
  const last = views.length - 1
  socket.cork()
  for (const [index, view] of views.entries()) {
    if (index < last) socket.write(view)
    else socket.write(view, (error) => (error ? reject(error) : resolve()))
  }
  socket.uncork()
  return promise
}
