// The lz4 encoding: groups through both backends, the rules of blocks over several runs, and the choice of a backend.

import fc from 'fast-check'
import { beforeEach, describe, expect, it } from 'vitest'
import type { RunDecoder } from '../../src/encoding/encoding.ts'
import { createLz4Encoder, lz4 } from '../../src/encoding/lz4.ts'
import { chooseLz4Backend, LZ4_KERNEL, type Lz4Backend } from '../../src/encoding/lz4-backend.ts'
import type { GodwitError } from '../../src/errors.ts'
import { CODEC_AREA } from '../../src/guest/layout.ts'
import type { GuestMemory } from '../../src/guest/memory.ts'
import { loadKernels } from '../../src/kernels/kernels.ts'
import { GROUP_PAGES } from '../../src/limits.ts'
import { CONTENTS, fillPage } from '../../src/programs/contents.ts'
import { guarded } from '../kernels/lz4-fixture.ts'
import { PAGE_BYTES, sameBytes, seeded, twoGuests } from '../kernels/memory-fixture.ts'

const PAGES = 64
const [source, destination] = twoGuests(PAGES)
const contextOf = (memory: GuestMemory) => ({
  memory,
  kernels: loadKernels(memory),
  area: memory.layout.codecs + CODEC_AREA.bytes,
})
const from = contextOf(source)
const to = contextOf(destination)
const chosen = await chooseLz4Backend('lz4-napi')
const backends: Lz4Backend[] = [LZ4_KERNEL, chosen.backend]
const ROOM = 70_000
const { staging } = source.layout

const coded = (action: () => unknown): string => {
  try {
    action()
  } catch (error) {
    return `${(error as GodwitError).code}: ${(error as Error).message}`
  }
  return 'fine'
}

/** Copies the pages to the group and encodes them at `at`; returns the length. */
function encode(pages: readonly number[], backend: Lz4Backend, at = staging, limit = ROOM): number {
  pages.forEach((page, index) => {
    const copy = source.bytes.subarray(page * PAGE_BYTES, (page + 1) * PAGE_BYTES)
    source.controlBytes.set(copy, from.area + CODEC_AREA.group + index * PAGE_BYTES)
  })
  return createLz4Encoder(from, backend).encodeGroup(pages.length, at, limit)
}

/** Carries a payload over the wire to the same place of the other staging. */
const carry = (length: number, at = staging): void =>
  destination.controlBytes.set(source.controlBytes.subarray(at, at + length), at)

function fillSource(content: (typeof CONTENTS)[number], seed: number): void {
  source.bytes.fill(0)
  const words = new Uint32Array(source.bytes.buffer)
  for (let page = 0; page < PAGES; page++) fillPage(source.bytes, words, content, seed, page)
}

const arrived = (pages: readonly number[]): boolean =>
  pages.every((page) => {
    const [begin, end] = [page * PAGE_BYTES, (page + 1) * PAGE_BYTES]
    return sameBytes(source.bytes.subarray(begin, end), destination.bytes.subarray(begin, end))
  })

let decoder: RunDecoder = lz4.createDecoder(to)
beforeEach(() => {
  decoder = lz4.createDecoder(to)
  destination.bytes.fill(0)
})

/** Pages → runs of neighbours, [first, count]. */
function runsOf(pages: readonly number[]): [number, number][] {
  const runs: [number, number][] = []
  for (const page of pages) {
    const last = runs.at(-1)
    if (last !== undefined && last[0] + last[1] === page) last[1]++
    else runs.push([page, 1])
  }
  return runs
}

const group = fc
  .uniqueArray(fc.nat(PAGES - 1), { minLength: 1, maxLength: GROUP_PAGES })
  .map((pages) => pages.sort((a, b) => a - b))

describe('groups of pages', () => {
  it('has both backends here', () => {
    expect(backends.map(({ name }) => name)).toEqual(['kernel', 'lz4-napi'])
    expect(chosen.notice).toBeNull()
  })

  it.each(backends)('travel by $name in blocks of 1 to 16 pages over any runs', (backend) => {
    fc.assert(
      fc.property(
        fc.constantFrom(...CONTENTS),
        fc.nat(1000),
        fc.array(group, { maxLength: 3 }),
        (kind, seed, groups) => {
          fillSource(kind, seed)
          destination.bytes.fill(0)
          for (const pages of groups) {
            const length = encode(pages, backend)
            if (length >= pages.length * PAGE_BYTES) continue
            carry(length)
            runsOf(pages).forEach(([first, count], index) => {
              const payload = index === 0 ? length : 0
              lz4.checkPayload(count, payload)
              decoder.decodeRun(first, count, staging + (index === 0 ? 0 : length), payload)
            })
            if (!arrived(pages)) expect.fail('a page differs')
          }
          decoder.endFrame?.()
        },
      ),
      seeded(150),
    )
  })

  it.each(backends)('$name keeps the limit to the byte and writes nothing beside it', (backend) => {
    fillSource('mix', 3)
    for (const pages of [[0], [1, 2, 3], [...Array(GROUP_PAGES).keys()], [5, 9, 40, 41]]) {
      const length = encode(pages, backend)
      for (const limit of [length, length - 1, 100, 0]) {
        const room = guarded(source, staging + 1024, limit)
        const before = source.controlBytes.slice(room.at, room.at + limit)
        const found = encode(pages, backend, room.at, limit)
        expect(found).toBe(limit < length ? -1 : length)
        room.check()
        if (backend.library !== null && found < 0) {
          expect(sameBytes(source.controlBytes.subarray(room.at, room.at + limit), before)).toBe(true)
        }
      }
    }
  })
})

describe('blocks over runs', () => {
  /** A block of pages 3, 4, 5 and 9 at the destination's staging. */
  const block = (pages = [3, 4, 5, 9]): number => {
    fillSource('text', 1)
    const length = encode(pages, LZ4_KERNEL)
    carry(length)
    return length
  }

  it('may have other runs between them and end with the frame', () => {
    const length = block()
    decoder.decodeRun(3, 3, staging, length)
    to.kernels.zeroRun(6, 2)
    decoder.decodeRun(9, 1, staging + length, 0)
    decoder.endFrame?.()
    expect(arrived([3, 4, 5, 9])).toBe(true)
  })

  it('a frame cannot begin with a run that goes on', () => {
    expect(coded(() => decoder.decodeRun(3, 1, staging, 0))).toMatch(/bad-payload.* 0 left/)
    const length = block()
    decoder.decodeRun(3, 3, staging, length)
    decoder.decodeRun(9, 1, staging, 0)
    decoder.endFrame?.()
    expect(coded(() => decoder.decodeRun(12, 1, staging, 0))).toMatch(/bad-payload.* 0 left/)
  })

  it('a frame or the next block cannot begin while pages are left', () => {
    const length = block()
    decoder.decodeRun(3, 3, staging, length)
    expect(coded(() => decoder.endFrame?.())).toMatch(/bad-payload.* 1 pages more/)
    expect(
      coded(() => decoder.endFrame?.()),
      'said once',
    ).toBe('fine')
    decoder.decodeRun(3, 3, staging, length)
    expect(coded(() => decoder.decodeRun(20, 4, staging, length))).toMatch(/bad-payload.* 1 pages more/)
    expect(
      coded(() => decoder.decodeRun(9, 1, staging, 0)),
      'not after an error',
    ).toMatch(/bad-payload/)
  })

  it('runs cannot take more pages than the block has, and place none then', () => {
    const length = block()
    expect(coded(() => decoder.decodeRun(3, 5, staging, length))).toMatch(/bad-payload.* 4 left/)
    expect(destination.bytes.every((byte) => byte === 0)).toBe(true)
    decoder.decodeRun(3, 3, staging, length)
    expect(coded(() => decoder.decodeRun(9, 2, staging, 0))).toMatch(/bad-payload.* 1 left/)
    expect(destination.bytes.subarray(9 * PAGE_BYTES).every((byte) => byte === 0)).toBe(true)
  })

  it('a block is whole pages, 16 at most, and shorter than they are', () => {
    const put = (bytes: readonly number[]): number => {
      destination.controlBytes.set(bytes, staging)
      return bytes.length
    }
    const run = (bytes: readonly number[]): string => coded(() => decoder.decodeRun(0, 1, staging, put(bytes)))
    /** One literal again and again: 1 + 4 + 15 + 255 × `chains` + `rest` bytes. */
    const repeated = (chains: number, rest: number): number[] => [0x1f, 7, 1, 0, ...Array(chains).fill(255), rest, 0]
    expect(run(repeated(15, 251))).toBe('fine')
    decoder.endFrame?.()
    expect(run(repeated(15, 250))).toMatch(/bad-payload.* 4095 bytes, not whole pages/)
    expect(run(repeated(15, 252))).toMatch(/bad-payload.* 4097 bytes, not whole pages/)
    expect(run(repeated(256, 237))).toMatch(/bad-payload.* no block/)
    expect(run([0])).toMatch(/bad-payload.* 0 bytes, not whole pages/)
    expect(run([0xf0, ...Array(16).fill(255), 1, ...Array(4096).fill(9)])).toMatch(/bad-payload.* in a block of 4114/)
  })

  it('checks numbers before content', () => {
    for (const count of [0, -1, 0.5, Number.NaN, GROUP_PAGES + 1]) {
      expect(coded(() => lz4.checkPayload(count, 10))).toMatch(/bad-payload/)
    }
    for (const bytes of [-1, 0.5, Number.NaN, GROUP_PAGES * PAGE_BYTES]) {
      expect(coded(() => lz4.checkPayload(1, bytes))).toMatch(/bad-payload/)
    }
    expect(lz4.maxPayloadBytes(1)).toBe(GROUP_PAGES * PAGE_BYTES - 1)
    for (const bytes of [0, 1, GROUP_PAGES * PAGE_BYTES - 1]) lz4.checkPayload(GROUP_PAGES, bytes)
  })

  it('takes hostile runs and payloads with one named error, and touches no page outside the run', () => {
    const length = block([...Array(GROUP_PAGES).keys()])
    const valid = destination.controlBytes.slice(staging, staging + length)
    const untouched = new Uint8Array(PAGES * PAGE_BYTES).fill(0xc3)
    destination.bytes.set(untouched)
    const turn = fc.record({
      change: fc.array(fc.tuple(fc.nat(length - 1), fc.nat(255)), { maxLength: 2 }),
      payload: fc.constantFrom(0, 0, length, length, length - 1, 10),
      first: fc.nat(PAGES - GROUP_PAGES),
      count: fc.integer({ min: 1, max: GROUP_PAGES }),
      ends: fc.boolean(),
    })
    fc.assert(
      fc.property(fc.array(turn, { minLength: 1, maxLength: 5 }), (turns) => {
        decoder = lz4.createDecoder(to)
        for (const { change, payload, first, count, ends } of turns) {
          destination.controlBytes.set(valid, staging)
          for (const [at, value] of change) destination.controlBytes[staging + at] = value
          const said = coded(() => decoder.decodeRun(first, count, staging, payload))
          const end = ends ? coded(() => decoder.endFrame?.()) : 'fine'
          for (const one of [said, end]) if (one !== 'fine' && !one.startsWith('bad-payload')) expect.fail(one)
          const [from, to] = said === 'fine' ? [first * PAGE_BYTES, (first + count) * PAGE_BYTES] : [0, 0]
          destination.bytes.fill(0xc3, from, to)
          if (!sameBytes(destination.bytes, untouched)) expect.fail('a page outside the run was written')
        }
      }),
      seeded(4000),
    )
  })
})

describe('the choice of a backend', () => {
  it('is the kernel unless lz4-napi is asked for', async () => {
    const load = (): Promise<never> => Promise.reject(new Error('not to be loaded'))
    expect(await chooseLz4Backend('auto', load)).toEqual({ backend: LZ4_KERNEL, notice: null })
    expect(await chooseLz4Backend('kernel', load)).toEqual({ backend: LZ4_KERNEL, notice: null })
  })

  it('falls back to the kernel with one line, once', async () => {
    const missing = await chooseLz4Backend('lz4-napi', () =>
      Promise.reject(new Error('Cannot find native binding.\nmore')),
    )
    expect(missing.backend).toBe(LZ4_KERNEL)
    expect(missing.notice).toBe(
      "lz4: lz4-napi does not load here (Cannot find native binding.); Godwit's own kernel compresses instead",
    )
    const again = await chooseLz4Backend('lz4-napi', () => Promise.reject(new Error('Cannot find native binding.')))
    expect(again).toEqual({ backend: LZ4_KERNEL, notice: null })
  })

  it('falls back when the library loads but does not work', async () => {
    const broken = [
      () => Buffer.alloc(0),
      () => Buffer.alloc(40),
      () => {
        throw new Error('broken')
      },
    ]
    for (const compressSync of broken) {
      expect((await chooseLz4Backend('lz4-napi', async () => ({ compressSync }))).backend).toBe(LZ4_KERNEL)
    }
  })
})
