// The small parts: shares and slots, the hash function, integers, and deadlines in order.

import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { fillStore, firstDataPage } from '../../../src/programs/kv/arena-layout.ts'
import { findCommand, slotOfRequest } from '../../../src/programs/kv/command-table.ts'
import { addIntegers, negateInteger, parseInteger, writeInteger } from '../../../src/programs/kv/integers.ts'
import { keyHash } from '../../../src/programs/kv/key-hash.ts'
import { requestOf } from '../../../src/programs/kv/request.ts'
import {
  SLOTS,
  sessionPages,
  shareOf,
  slotOf,
  slotsOf,
  storePages,
  vcpuOfSlot,
} from '../../../src/programs/kv/shares.ts'
import { seeded } from '../../kernels/memory-fixture.ts'

const slot = (key: string): number => slotOf(Buffer.from(key), 0, Buffer.byteLength(key))

describe('slots', () => {
  test.each([
    ['', 0],
    ['123456789', 0x31c3],
    ['foo', 12_182],
    ['{user1000}.following', slot('user1000')],
    ['foo{}{bar}', slot('foo{}{bar}')],
    ['foo{{bar}}zap', slot('{bar')],
    ['foo{bar}{zap}', slot('bar')],
    ['foo{bar', slot('foo{bar')],
  ])('of %j', (key, expected) => {
    expect(slot(key)).toBe(expected)
  })

  test('a tag that is empty counts for nothing', () => {
    expect(slot('a{}{bar}')).not.toBe(slot('b{}{bar}'))
    expect(slot('a{bar}')).toBe(slot('b{bar}'))
  })

  test.each([1, 2, 3, 5, 64])('%d vCPUs share all of them, and all pages', (vcpus) => {
    for (let vcpu = 0; vcpu < vcpus; vcpu++) {
      const { first, last } = slotsOf(vcpu, vcpus)
      expect([vcpuOfSlot(first, vcpus), vcpuOfSlot(last, vcpus)]).toEqual([vcpu, vcpu])
      expect(first).toBe(vcpu === 0 ? 0 : slotsOf(vcpu - 1, vcpus).last + 1)
      const { from, to } = shareOf(2 ** 24, vcpu, vcpus)
      expect(from).toBe(vcpu === 0 ? 0 : shareOf(2 ** 24, vcpu - 1, vcpus).to)
      expect(to).toBeGreaterThan(from)
    }
    expect([slotsOf(vcpus - 1, vcpus).last, shareOf(2 ** 24, vcpus - 1, vcpus).to]).toEqual([SLOTS - 1, 4096])
  })

  test('a guest that is too small is refused', () => {
    expect(() => shareOf(65_536, 0, 2)).toThrow(expect.objectContaining({ code: 'bad-size' }))
  })

  test('a new store is free but for headers, page tables and sessions, in whatever ranges it is filled', () => {
    const [memoryBytes, vcpus, pageCount] = [2 ** 24, 3, 4096]
    const filled = (...ranges: (readonly [number, number])[]): Uint8Array => {
      const [bytes, free] = [new Uint8Array(0), new Uint8Array(pageCount)]
      for (const [firstPage, end] of ranges) {
        fillStore({ bytes, free, firstPage, pageCount: end - firstPage, memoryBytes, vcpus, options: {}, seed: 1 })
      }
      return free
    }
    const whole = filled([0, pageCount])
    expect(filled([0, 3], [3, 1366], [1366, 2000], [2000, pageCount])).toEqual(whole)
    const shares = Array.from({ length: vcpus }, (_, vcpu) => shareOf(memoryBytes, vcpu, vcpus))
    const pages = (from: number, to: number): number[] => Array.from({ length: to - from }, (_, n) => from + n)
    const kept = shares.flatMap((range) => [
      ...pages(range.from, firstDataPage(storePages(range))),
      ...pages(sessionPages(range).from, range.to),
    ])
    expect([...whole.keys()].filter((page) => whole[page] === 0)).toEqual(kept)
  })

  test('of requests', () => {
    const of = (...parts: string[]): unknown => {
      const request = requestOf(...parts)
      const spec = findCommand(request)
      return spec === null ? null : slotOfRequest(spec, request)
    }
    expect(of('GET', 'foo')).toBe(12_182)
    expect(of('MSET', 'a{foo}', 'x', 'b{foo}', 'y')).toBe(12_182)
    expect(of('MSET', 'foo', 'x', 'bar', 'x')).toBe('cross')
    expect(of('DEL', 'foo', 'bar')).toBe('cross')
    expect(of('HSET', 'foo', 'bar', 'zap')).toBe(12_182)
    expect(of('PING')).toBe('none')
    expect(of('MGET')).toBe('none')
  })
})

/** HalfSipHash as its authors' reference has it, with any numbers of rounds. */
function halfSipHash(inner: number, outer: number, key: Buffer, data: Buffer): number {
  const [k0, k1] = [key.readInt32LE(0), key.readInt32LE(4)]
  const v = Int32Array.of(k0, k1, 0x6c796765 ^ k0, 0x74656462 ^ k1)
  const xor = (index: number, value: number): void => {
    v[index] = (v[index] as number) ^ value
  }
  const step = (a: number, b: number, bits: number, high: boolean): void => {
    v[a] = (v[a] as number) + (v[b] as number)
    const turned = v[b] as number
    v[b] = ((turned << bits) | (turned >>> (32 - bits))) ^ (v[a] as number)
    if (high) v[a] = ((v[a] as number) << 16) | ((v[a] as number) >>> 16)
  }
  const rounds = (count: number): void => {
    for (let round = 0; round < count; round++) {
      step(0, 1, 5, true)
      step(2, 3, 8, false)
      step(0, 3, 7, false)
      step(2, 1, 13, true)
    }
  }
  const padded = Buffer.concat([data, Buffer.alloc(4 - (data.length % 4))])
  padded[padded.length - 1] = data.length
  for (let at = 0; at < padded.length; at += 4) {
    const word = padded.readInt32LE(at)
    xor(3, word)
    rounds(inner)
    xor(0, word)
  }
  xor(2, 0xff)
  rounds(outer)
  return ((v[1] as number) ^ (v[3] as number)) >>> 0
}

test('HalfSipHash-1-3, by a reference that gives the published words of 2-4', () => {
  const key = Buffer.from([0, 1, 2, 3, 4, 5, 6, 7])
  const data = Buffer.from(Array.from({ length: 64 }, (_, index) => index))
  expect(halfSipHash(2, 4, key, data.subarray(0, 0))).toBe(Buffer.from('a9359f5b', 'hex').readUInt32LE())
  expect(halfSipHash(2, 4, key, data.subarray(0, 1))).toBe(Buffer.from('27475ab8', 'hex').readUInt32LE())
  for (let length = 0; length < data.length; length++) {
    const expected = halfSipHash(1, 3, key, data.subarray(0, length))
    expect(keyHash(key.readInt32LE(0), key.readInt32LE(4), data, 0, length)).toBe(expected)
  }
})

test('every bit of a key counts', () => {
  const key = Buffer.from('user:1000')
  const hash = keyHash(1, 2, key, 0, key.length)
  expect(keyHash(1, 2, key, 0, key.length)).toBe(hash)
  expect(keyHash(1, 3, key, 0, key.length)).not.toBe(hash)
  const others = new Set<number>()
  for (let bit = 0; bit < 8 * key.length; bit++) {
    const other = Buffer.from(key)
    other[bit >> 3] = (other[bit >> 3] as number) ^ (1 << (bit & 7))
    others.add(keyHash(1, 2, other, 0, other.length))
  }
  for (let length = 0; length < key.length; length++) others.add(keyHash(1, 2, key, 0, length))
  expect(others.size).toBe(9 * key.length)
  // Neighbouring keys fill the buckets as chance would: 16 a bucket, give or take.
  const buckets = new Uint32Array(1024)
  for (let index = 0; index < 16_384; index++) {
    const name = Buffer.from(`key:${index}`)
    const bucket = keyHash(7, 11, name, 0, name.length) & 1023
    buckets[bucket] = (buckets[bucket] as number) + 1
  }
  expect(Math.max(...buckets)).toBeLessThan(40)
})

describe('integers', () => {
  const bytes = new Uint8Array(64)
  const int64 = fc.oneof(
    fc.bigInt({ min: -(2n ** 63n), max: 2n ** 63n - 1n }),
    fc.bigInt({ min: -(10n ** 16n), max: 10n ** 16n }),
    fc.bigInt({ min: -100n, max: 100n }),
  )
  const read = (text: string) => parseInteger(Buffer.from(`x${text}y`), 1, text.length)
  const fits = (value: bigint): boolean => BigInt.asIntN(64, value) === value

  test('are read and written as they are, and added in 64 bits', () => {
    fc.assert(
      fc.property(int64, int64, (a, b) => {
        const [first, second] = [read(String(a)), read(String(b))]
        if (first === null || second === null) throw new Error('not read')
        expect([BigInt(first), BigInt(second)]).toEqual([a, b])
        expect(Buffer.from(bytes.subarray(3, writeInteger(bytes, 3, first))).toString()).toBe(String(a))
        const sum = addIntegers(first, second)
        expect(sum === null ? null : BigInt(sum)).toBe(fits(a + b) ? a + b : null)
        const negative = negateInteger(first)
        expect(negative === null ? null : BigInt(negative)).toBe(fits(-a) ? -a : null)
      }),
      seeded(1000),
    )
  })

  test('anything else is none', () => {
    fc.assert(
      fc.property(fc.string({ unit: fc.constantFrom(...'0123456789-+ .e'), maxLength: 22 }), (text) => {
        const isOne = /^(0|-?[1-9]\d*)$/.test(text) && fits(BigInt(text))
        expect(read(text) !== null, text).toBe(isOne)
      }),
      seeded(1000),
    )
  })
})
