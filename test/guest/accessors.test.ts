// Accessors against typed arrays: values, marks on exactly the touched page, and every refusal.

import fc from 'fast-check'
import { beforeEach, describe, expect, test } from 'vitest'
import { Accessors } from '../../src/guest/accessors.ts'
import { GuestMemory } from '../../src/guest/memory.ts'
import { registersOf } from '../../src/guest/safepoint.ts'

const BYTES = 65_536
let memory: GuestMemory
let accessors: Accessors
beforeEach(() => {
  memory = GuestMemory.create(BYTES, 1)
  accessors = new Accessors(memory, registersOf(memory, 0))
})

const marked = (table: 0 | 1): number[] => {
  const offset = memory.layout.cards[table]
  const cards = memory.controlBytes.subarray(offset, offset + memory.layout.pageCount)
  return [...cards.entries()].filter(([, card]) => card !== 0).map(([page]) => page)
}

const sizes = { U8: 1, U16: 2, U32: 4, I32: 4, F64: 8 } as const
type Size = keyof typeof sizes
const load = (size: Size, address: number): number => accessors[`load${size}`](address)
const store = (size: Size, address: number, value: number): void => accessors[`store${size}`](address, value)

describe.each(Object.keys(sizes) as Size[])('%s', (size) => {
  test('reads back what a DataView sees, and marks that page only', () => {
    const view = new DataView(memory.bytes.buffer)
    const seen = {
      U8: (at: number) => view.getUint8(at),
      U16: (at: number) => view.getUint16(at, true),
      U32: (at: number) => view.getUint32(at, true),
      I32: (at: number) => view.getInt32(at, true),
      F64: (at: number) => view.getFloat64(at, true),
    }
    fc.assert(
      fc.property(fc.nat(BYTES / 8 - 1), fc.integer(), (slot, value) => {
        const address = slot * 8
        memory.controlBytes.fill(0, memory.layout.cards[0], memory.layout.cards[0] + memory.layout.pageCount)
        store(size, address, value)
        expect(load(size, address)).toBe(seen[size](address))
        expect(marked(0)).toEqual([address >> 12])
      }),
    )
  })

  test.each([-1, -8, BYTES, BYTES + 8, 2 ** 32, 2 ** 32 + 8, 2 ** 40, Number.NaN, Number.POSITIVE_INFINITY])(
    'refuses address %d and marks nothing',
    (address) => {
      expect(() => load(size, address)).toThrow(RangeError)
      expect(() => store(size, address, 1)).toThrow(RangeError)
      expect(marked(0)).toEqual([])
    },
  )
})

test.each(['U16', 'U32', 'I32', 'F64'] as const)('%s: refuses an address between two values', (size) => {
  expect(() => load(size, sizes[size] / 2)).toThrow(RangeError)
  expect(() => store(size, sizes[size] / 2, 1)).toThrow(RangeError)
})

test('bytes: within one page', () => {
  const source = Uint8Array.from({ length: 4096 }, (_, index) => index % 251)
  accessors.storeBytes(4096, source)
  const target = new Uint8Array(4096)
  accessors.loadBytes(4096, target)
  expect(target).toEqual(source)
  expect(marked(0)).toEqual([1])
  accessors.storeBytes(3 * 4096, new Uint8Array(0))
  expect(marked(0)).toEqual([1])
})

test.each([
  [4095, 2],
  [0, 4097],
  [BYTES - 1, 2],
  [-1, 1],
  [0.5, 1],
  [BYTES, 1],
])('bytes at %d, %d of them: refused (R6)', (address, length) => {
  expect(() => accessors.loadBytes(address, new Uint8Array(length))).toThrow(RangeError)
  expect(() => accessors.storeBytes(address, new Uint8Array(length))).toThrow(RangeError)
  expect(marked(0)).toEqual([])
})

test('marks go to the table in use', () => {
  accessors.useTable(1)
  accessors.storeU32(4096 * 5, 1)
  expect([marked(0), marked(1)]).toEqual([[], [5]])
})

describe('free pages (R17)', () => {
  const freePages = (): number[] => [...memory.free.entries()].filter(([, free]) => free !== 0).map(([page]) => page)

  test('free marks the page and leaves its bytes; reuse makes it zero and marks it', () => {
    accessors.storeU32(3 * 4096, 7)
    accessors.storeU32(4 * 4096 - 4, 8)
    accessors.useTable(1)
    accessors.free(3)
    accessors.free(3)
    expect([freePages(), marked(1), memory.bytes[3 * 4096]]).toEqual([[3], [3], 7])
    memory.controlBytes.fill(0, memory.layout.cards[1], memory.layout.cards[1] + memory.layout.pageCount)
    accessors.reuse(3)
    expect([freePages(), marked(1)]).toEqual([[], [3]])
    expect(memory.bytes.subarray(3 * 4096, 4 * 4096).every((byte) => byte === 0)).toBe(true)
    accessors.storeU8(3 * 4096, 1)
    accessors.reuse(3)
    expect([freePages(), accessors.loadU8(3 * 4096)]).toEqual([[], 0])
  })

  test('neighbours stay as they are', () => {
    for (const page of [0, 1, 2]) accessors.storeU8(page * 4096 + 4095, 9)
    accessors.free(1)
    accessors.reuse(1)
    expect([0, 1, 2].map((page) => accessors.loadU8(page * 4096 + 4095))).toEqual([9, 0, 9])
  })

  test.each([-1, BYTES / 4096, 0.5, 2 ** 32, Number.NaN])('refuses page %d and marks nothing', (page) => {
    expect(() => accessors.free(page)).toThrow(RangeError)
    expect(() => accessors.reuse(page)).toThrow(RangeError)
    expect([freePages(), marked(0)]).toEqual([[], []])
  })
})
