// Which pages a page may refer to: sent in an earlier round, or on the same channel (R12), from a copy (R13).

import fc from 'fast-check'
import { beforeEach, describe, expect, it } from 'vitest'
import { ReferenceIndex } from '../../src/encoding/reference-index.ts'
import { GuestMemory } from '../../src/guest/memory.ts'
import { seeded } from '../kernels/memory-fixture.ts'

const memory = GuestMemory.create(64 * 4096, 1)
const [a, b] = [new ReferenceIndex(memory, 0), new ReferenceIndex(memory, 15)]
const hashes = new BigUint64Array(memory.controlBytes.buffer, memory.layout.hashes, 64)

beforeEach(() => {
  ReferenceIndex.clear(memory)
  hashes.fill(0n)
})
function hash(value: bigint, ...pages: number[]): void {
  for (const page of pages) hashes[page] = value
}

describe('find', () => {
  it('finds nothing before anything was sent, nor the page itself', () => {
    hash(7n, 1, 2)
    expect(a.find(2, 0)).toBe(-1)
    a.note(2, 0)
    expect(a.find(2, 0)).toBe(-1)
    expect(a.find(1, 0)).toBe(2)
  })

  it('in one round sees its own channel alone', () => {
    hash(7n, 1, 2)
    a.note(1, 3)
    expect([a.find(2, 3), b.find(2, 3)]).toEqual([1, -1])
  })

  it('sees every channel of earlier rounds', () => {
    hash(7n, 1, 2)
    b.note(1, 3)
    expect([a.find(2, 4), b.find(2, 4), a.find(2, 3)]).toEqual([1, 1, -1])
  })

  it('a page that is sent once more is there on that channel alone until the round is over', () => {
    hash(7n, 1, 2)
    a.note(1, 0)
    b.note(1, 1)
    expect([a.find(2, 1), b.find(2, 1), a.find(2, 2)]).toEqual([-1, 1, 1])
  })

  it('compares whole hashes, not the bits that name a slot', () => {
    hash(7n, 1)
    hash(7n + (1n << 32n), 2)
    hash(7n + (1n << 20n), 3)
    a.note(1, 0)
    expect([a.find(2, 1), a.find(3, 1)]).toEqual([-1, -1])
  })

  it('goes by the hash that the origin has now', () => {
    hash(7n, 1, 2)
    a.note(1, 0)
    hash(8n, 1)
    expect(a.find(2, 1)).toBe(-1)
  })

  it('does not find what was forgotten: sent live, as zeros or as a reference (R13)', () => {
    hash(7n, 1, 2)
    a.note(1, 0)
    b.forget(1)
    expect([a.find(2, 0), a.find(2, 1)]).toEqual([-1, -1])
  })

  it('of the pages of one slot the latest is found', () => {
    hash(7n, 1, 2, 3)
    a.note(1, 0)
    a.note(2, 0)
    expect(a.find(3, 1)).toBe(2)
  })

  it('takes whatever another thread may have left in the index', () => {
    hash(7n, 1, 2)
    for (const slot of [0x7fffffff, -1, 65, 64]) {
      memory.controlWords.fill(slot, memory.layout.references / 4, memory.layout.sentStamps / 4)
      const found = a.find(2, 1)
      expect(found).toBeLessThan(memory.layout.pageCount)
    }
  })

  it('survives the latest round there can be', () => {
    hash(7n, 1, 2)
    b.note(1, 100_000)
    expect([a.find(2, 100_000), b.find(2, 100_000), a.find(2, 100_001)]).toEqual([-1, 1, 1])
  })
})

it('agrees with a plain model', () => {
  type Sent = { round: number; channel: number } | null
  const step = fc.record({
    kind: fc.constantFrom('note', 'note', 'forget', 'round', 'find', 'find'),
    page: fc.nat(7),
    value: fc.nat(2),
    channel: fc.nat(1),
  })
  fc.assert(
    fc.property(fc.array(step, { maxLength: 80 }), (steps) => {
      ReferenceIndex.clear(memory)
      hashes.fill(0n)
      const sent: Sent[] = Array(8).fill(null)
      let round = 0
      for (const { kind, page, value, channel } of steps) {
        const index = channel === 0 ? a : b
        if (kind === 'round') round++
        else if (kind === 'forget') {
          index.forget(page)
          sent[page] = null
        } else {
          // `scan` has hashed the page just before, whatever comes of it.
          hash(BigInt(value) + 1n, page)
          if (kind === 'note') {
            index.note(page, round)
            sent[page] = { round, channel: channel === 0 ? 0 : 15 }
            continue
          }
          const origin = index.find(page, round)
          if (origin < 0) continue
          const there = sent[origin] as Sent
          expect(origin).not.toBe(page)
          expect(hashes[origin]).toBe(hashes[page])
          expect(there !== null && (there.round < round || there.channel === (channel === 0 ? 0 : 15))).toBe(true)
        }
      }
    }),
    seeded(2000),
  )
})
