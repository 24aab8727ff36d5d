// Sizes, rates and durations: examples, and formatting and parsing as inverses within three digits.

import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { GodwitError } from '../src/errors.ts'
import {
  formatBytes,
  formatCount,
  formatMs,
  formatRate,
  parseBytes,
  parseDuration,
  parseRate,
} from '../src/quantities.ts'

const close = (a: number, b: number): boolean => Math.abs(a - b) <= Math.max(0.006 * Math.abs(b), 1)
const codeOf = (action: () => unknown): string => {
  try {
    action()
  } catch (error) {
    return error instanceof GodwitError ? error.code : 'another error'
  }
  return 'nothing thrown'
}

describe('parseBytes', () => {
  it.each([
    ['64MiB', 64 * 1024 ** 2],
    ['1GiB', 1024 ** 3],
    ['1.5 gib', 1.5 * 1024 ** 3],
    ['4096', 4096],
    ['100MB', 1e8],
    ['64k', 65536],
  ])('%s', (text, bytes) => expect(parseBytes(text)).toBe(bytes))

  it.each(['', 'MiB', '-1', '1e3', '12 apples', '1..2', 'NaN', '9'.repeat(40), '1MiB/s'])('refuses %j', (text) => {
    expect(codeOf(() => parseBytes(text))).toBe('bad-size')
  })

  it('reads back what formatBytes wrote', () => {
    fc.assert(
      fc.property(fc.integer({ min: 0, max: 2 ** 42 }), (bytes) => close(parseBytes(formatBytes(bytes)), bytes)),
    )
  })

  it('throws nothing but GodwitError', () => {
    fc.assert(
      fc.property(fc.string(), (text) => {
        for (const parse of [parseBytes, parseRate, parseDuration]) {
          try {
            expect(parse(text)).toBeGreaterThanOrEqual(0)
          } catch (error) {
            expect(error).toBeInstanceOf(GodwitError)
          }
        }
      }),
    )
  })
})

describe('parseRate', () => {
  it.each([
    ['40MB/s', 4e7],
    ['250MB', 2.5e8],
    ['1Gbit/s', 1.25e8],
    ['1.25 GB/s', 1.25e9],
  ])('%s', (text, rate) => expect(parseRate(text)).toBe(rate))

  it.each(['0', '0MB/s', '-1MB/s', 'fast', '40MB/h', '100Mbps'])('refuses %j', (text) => {
    expect(codeOf(() => parseRate(text))).toBe('bad-size')
  })

  it('reads back what formatRate wrote', () => {
    fc.assert(fc.property(fc.integer({ min: 1, max: 1e12 }), (rate) => close(parseRate(formatRate(rate)), rate)))
  })
})

describe('parseDuration', () => {
  it.each([
    ['50ms', 50],
    ['20', 20],
    ['2s', 2000],
    ['1.5min', 90_000],
    ['250us', 0.25],
    ['1h', 3_600_000],
  ])('%s', (text, ms) => expect(parseDuration(text)).toBe(ms))

  it.each(['', '0', '-5ms', 'soon', '5 days'])('refuses %j', (text) => {
    expect(codeOf(() => parseDuration(text))).toBe('usage')
  })

  it('reads back what formatMs wrote, below two minutes', () => {
    fc.assert(
      fc.property(fc.double({ min: 0.001, max: 119_000, noNaN: true }), (ms) => {
        const back = parseDuration(formatMs(ms))
        return Math.abs(back - ms) <= Math.max(0.006 * ms, 0.0006)
      }),
    )
  })
})

describe('formats', () => {
  it('reads well', () => {
    expect([0, 17, 1000, 512 * 1024 ** 2, 1.5 * 1024 ** 3].map(formatBytes)).toEqual([
      '0 B',
      '17 B',
      '0.98 KiB',
      '512 MiB',
      '1.5 GiB',
    ])
    expect([250e6, 1.32e9, 999.6e6].map(formatRate)).toEqual(['250 MB/s', '1.32 GB/s', '1 GB/s'])
    expect([0, 0.85, 3.214, 50, 2345, 125_000].map(formatMs)).toEqual([
      '0 ms',
      '850 µs',
      '3.21 ms',
      '50 ms',
      '2.35 s',
      '2 min 5 s',
    ])
    expect([950, 5120, 20_400, 1_200_000].map(formatCount)).toEqual(['950', '5,120', '20.4k', '1.2M'])
  })
})
