// What a destination with a stale copy says before it is ready, and what the source makes of it, hostile words included.

import { describe, expect, it } from 'vitest'
import { GuestMemory } from '../../src/guest/memory.ts'
import { createCopyHashes } from '../../src/kernels/copy-hashes.ts'
import { digestTotal, loadKernels } from '../../src/kernels/kernels.ts'
import { COPY_HASHES, MAX_CONTROL_FRAME_BYTES, PAGE_BYTES } from '../../src/limits.ts'
import { Inbox } from '../../src/migration/inbox.ts'
import { learnCopy, sayReady } from '../../src/migration/kept-copy.ts'
import type { ControlLink, PageDestination } from '../../src/migration/ports.ts'
import { encodeControl } from '../../src/wire/message-frame.ts'
import { type ControlMessage, messageSchemas } from '../../src/wire/messages.ts'

const SEED = 0xfedc_ba98_7654_3210n
const clock = { now: () => 0, nowNs: () => 0n, sleep: async () => {} }

/** A link from which these messages come. */
function inboxOf(messages: readonly ControlMessage[]): Inbox {
  const left = [...messages]
  const receive = (): Promise<ControlMessage> => {
    const next = left.shift()
    return next === undefined ? new Promise(() => {}) : Promise.resolve(next)
  }
  return new Inbox({ receive } as unknown as ControlLink, 'destination')
}

async function saidBy(memory: GuestMemory, copy: { seed: bigint; hash: boolean } | null): Promise<ControlMessage[]> {
  const said: ControlMessage[] = []
  const control = { send: (message: ControlMessage) => said.push(message), flushed: async () => {} }
  const pages = {} as unknown as PageDestination
  const world = { memory, kernels: loadKernels(memory), clock, copy, neighbours: null }
  await sayReady(control as unknown as ControlLink, pages, world)
  return said
}

const entries = ({ layout, controlBytes }: GuestMemory): Buffer =>
  Buffer.from(controlBytes.slice(layout.scanHashes, layout.scanHashes + 8 * layout.pageCount))

describe('the destination', () => {
  it('without a copy is just ready', async () => {
    expect(await saidBy(GuestMemory.create(16 * PAGE_BYTES, 1), null)).toEqual([{ type: 'ready' }])
  })

  it('tells of every page, in frames within the cap, and begins its digest with them', async () => {
    const pages = COPY_HASHES + 48
    const [memory, source] = [GuestMemory.create(pages * PAGE_BYTES, 1), GuestMemory.create(pages * PAGE_BYTES, 1)]
    for (let page = 0; page < pages; page += 7) memory.bytes[page * PAGE_BYTES + (page % 4096)] = 1 + (page % 255)
    const said = await saidBy(memory, { seed: SEED, hash: true })
    expect(said.map(({ type }) => type)).toEqual(['copy', 'copy', 'ready'])
    for (const message of said) expect(encodeControl(message).length).toBeLessThan(MAX_CONTROL_FRAME_BYTES)
    expect(await learnCopy(inboxOf(said), source, true)).toBe(true)
    createCopyHashes(memory, SEED).tell(0, pages, memory.layout.scanHashes)
    expect(entries(source).equals(entries(memory))).toBe(true)
    const { hashes, pageCount } = memory.layout
    expect(digestTotal(memory)).toBe(loadKernels(memory).digestOf(hashes, 0, pageCount))
    expect(digestTotal(memory)).not.toBe(0n)
  })
})

describe('the source', () => {
  const memory = GuestMemory.create(32 * PAGE_BYTES, 1)
  const copy = (first: number, pages: number): ControlMessage => ({
    type: 'copy',
    first,
    hashes: new Uint8Array(8 * pages).fill(3),
  })
  const ready: ControlMessage = { type: 'ready' }

  it('hears of no copy', async () => {
    expect(await learnCopy(inboxOf([ready]), memory, false)).toBe(false)
  })

  it.each([
    ['one that may not come', [copy(0, 32), ready], false],
    ['a part', [copy(0, 16), ready], true],
    ['a hole', [copy(0, 8), copy(16, 16)], true],
    ['a page twice', [copy(0, 16), copy(8, 24)], true],
    ['pages outside the guest', [copy(0, 16), copy(16, 17)], true],
    ['a beginning far away', [copy(2 ** 40, 1)], true],
  ] as const)('refuses %s', async (_, messages, mayCome) => {
    const before = Buffer.from(memory.controlBytes.slice(memory.layout.vcpuBlocks))
    const learning = learnCopy(inboxOf(messages), memory, mayCome)
    await expect(learning).rejects.toMatchObject({ code: 'unexpected-message', side: 'destination' })
    expect(Buffer.from(memory.controlBytes.slice(memory.layout.vcpuBlocks)).equals(before)).toBe(true)
  })

  it('takes no hashes that are none', () => {
    const parsed = (hashes: unknown): boolean =>
      messageSchemas.copy.safeParse({ type: 'copy', first: 0, hashes }).success
    expect(parsed(new Uint8Array(8))).toBe(true)
    for (const bad of [new Uint8Array(0), new Uint8Array(7), new Uint8Array(8 * COPY_HASHES + 8), [1], null]) {
      expect(parsed(bad)).toBe(false)
    }
  })
})
