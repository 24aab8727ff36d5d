// A source that refers to pages of another guest, and does not prove that it holds them: it gets neither the guest across nor
// the digest to try again with.

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test, vi } from 'vitest'
import { GuestMemory } from '../../src/guest/memory.ts'
import { type PageService, servePages } from '../../src/guest-process/page-service.ts'
import { contentSeed, fillPage } from '../../src/programs/contents.ts'
import { SocketControlLink } from '../../src/wire/control-link.ts'
import type { ControlMessage, MessageOf } from '../../src/wire/messages.ts'
import { MIB } from '../support/config.ts'
import { Journey } from '../support/journey.ts'

const MEMORY = 4 * MIB
let directory: string
let service: PageService
let journey: Journey

beforeEach(async () => {
  directory = mkdtempSync(join(tmpdir(), 'godwit-test-'))
  const path = join(directory, 'pages.sock')
  const neighbour = GuestMemory.create(MEMORY, 1)
  const bytes = neighbour.bytes as unknown as Uint8Array
  const words = new Uint32Array(bytes.buffer)
  for (let page = 0; page < MEMORY / 4096; page++) fillPage(bytes, words, 'mix', contentSeed(99, 0.6, page), page)
  service = await servePages(path, async () => neighbour)
  const options = { workload: 'web', content: 'mix', common: 0.6 }
  journey = await Journey.begin({ memoryBytes: MEMORY, options, pace: { kind: 'free', perSecond: 100 } })
  journey.agent.neighbours = [{ path, pages: MEMORY / 4096 }]
})
afterEach(async () => {
  vi.restoreAllMocks()
  await journey.close()
  await service.close()
  rmSync(directory, { recursive: true, force: true })
})

/** Alters the state that the source sends. */
function alterState(alter: (state: MessageOf<'state'>) => ControlMessage): void {
  const { send } = SocketControlLink.prototype
  vi.spyOn(SocketControlLink.prototype, 'send').mockImplementation(function (this: SocketControlLink, message) {
    send.call(this, message.type === 'state' ? alter(message) : message)
  })
}

test('an honest one refers and arrives', async () => {
  const report = await journey.move({ encode: 'dedup' })
  await journey.expectArrived(report)
  expect(report.pages.encodings.shared?.pages).toBeGreaterThan(200)
})

test.each(['none', 'full'] as const)('a state of verify %s is refused', async (verify) => {
  alterState((state) => ({ ...state, verify, digest: null }))
  const report = await journey.move({ encode: 'dedup' })
  expect(report).toMatchObject({ outcome: 'failed', owner: 'source', error: { code: 'unexpected-message' } })
  await journey.expectStayed(report)
})

test('a wrong digest is refused, and the right one not told', async () => {
  alterState((state) => ({ ...state, digest: '0123456789abcdef' }))
  const report = await journey.move({ encode: 'dedup' })
  expect(report).toMatchObject({ outcome: 'failed', owner: 'source', error: { code: 'digest-mismatch' } })
  expect(report.error?.message).not.toMatch(/[0-9a-f]{16}/)
  await journey.expectStayed(report)
})
