// Sizes, rates and durations as people write and read them. The command line, the demo and the library's Guest use it;
// everything inside the engine is plain bytes, bytes per second and milliseconds.

import { GodwitError } from './errors.ts'

const BYTE_UNITS: Record<string, number> = {
  '': 1,
  b: 1,
  kb: 1e3,
  mb: 1e6,
  gb: 1e9,
  tb: 1e12,
  kib: 1024,
  mib: 1024 ** 2,
  gib: 1024 ** 3,
  tib: 1024 ** 4,
  // Without the B people mean what their tools mean: powers of two.
  k: 1024,
  m: 1024 ** 2,
  g: 1024 ** 3,
}
const BIT_UNITS: Record<string, number> = { bit: 1 / 8, kbit: 1e3 / 8, mbit: 1e6 / 8, gbit: 1e9 / 8 }
const TIME_UNITS: Record<string, number> = { '': 1, us: 1e-3, µs: 1e-3, ms: 1, s: 1e3, min: 60e3, m: 60e3, h: 3600e3 }

const NUMBER_AND_UNIT = /^(\d+(?:\.\d+)?|\.\d+)\s*([a-zµ]*)$/i

/** The number and the factor of its unit (looked up in lower case); null when `text` is not of that form. */
function parse(text: string, units: Record<string, number>): number | null {
  const match = NUMBER_AND_UNIT.exec(text.trim())
  const unit = match?.[2]?.toLowerCase() ?? ''
  if (match === null || !Object.hasOwn(units, unit)) return null
  return Number(match[1]) * (units[unit] as number)
}

/** '64MiB', '1.5 GiB', '4096' or '100MB' → whole bytes. Throws `bad-size`. */
export function parseBytes(text: string): number {
  const bytes = parse(text, BYTE_UNITS)
  if (bytes === null || !Number.isSafeInteger(Math.round(bytes))) {
    throw new GodwitError('bad-size', `'${text}' is no size`, { hint: 'write a number and a unit, such as 512MiB' })
  }
  return Math.round(bytes)
}

/** '40MB/s', '1Gbit/s', '250MiB' (the /s may be left out) → bytes per second, above 0. Throws `bad-size`. */
export function parseRate(text: string): number {
  const rate = parse(text.trim().replace(/\/s$/i, ''), { ...BYTE_UNITS, ...BIT_UNITS })
  if (rate === null || !(rate > 0) || !Number.isFinite(rate)) {
    throw new GodwitError('bad-size', `'${text}' is no rate`, {
      hint: 'write a number, a unit and /s, such as 250MB/s or 1Gbit/s',
    })
  }
  return rate
}

/** '50ms', '2s', '1.5min' or '20' (milliseconds) → milliseconds, above 0. Throws `usage`. */
export function parseDuration(text: string): number {
  const ms = parse(text, TIME_UNITS)
  if (ms === null || !(ms > 0) || !Number.isFinite(ms)) {
    throw new GodwitError('usage', `'${text}' is no duration`, {
      hint: 'write a number and a unit, such as 50ms or 2s',
    })
  }
  return ms
}

/** About three digits: 1.23, 12.3, 123. */
function threeDigits(value: number): string {
  const digits = value >= 99.95 ? 0 : value >= 9.995 ? 1 : 2
  return value.toFixed(digits).replace(/\.0+$|(\.\d*?)0+$/, '$1')
}

/** Bytes in binary units, about three digits: '512 MiB', '1.5 GiB', '17 B'. */
export function formatBytes(bytes: number): string {
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB']
  let value = bytes
  let unit = 0
  while (Math.abs(value) >= 999.5 && unit < units.length - 1) {
    value /= 1024
    unit++
  }
  return `${unit === 0 ? String(Math.round(value)) : threeDigits(value)} ${units[unit]}`
}

/** Bytes per second in decimal units, as links are sold: '250 MB/s', '1.32 GB/s'. */
export function formatRate(bytesPerSecond: number): string {
  return `${scaled(bytesPerSecond, ['B', 'kB', 'MB', 'GB', 'TB'], ' ')}/s`
}

/** A plain count, shortened from ten thousand on: '950', '5,120', '20.4k', '1.2M'. */
export function formatCount(count: number): string {
  const whole = Math.round(count)
  return whole < 10_000 ? whole.toLocaleString('en-US') : scaled(whole, ['', 'k', 'M', 'G'], '')
}

function scaled(amount: number, units: string[], space: string): string {
  let value = amount
  let unit = 0
  while (Math.abs(value) >= 999.5 && unit < units.length - 1) {
    value /= 1000
    unit++
  }
  return `${unit === 0 ? String(Math.round(value)) : threeDigits(value)}${space}${units[unit]}`
}

/** Milliseconds in the unit that reads best: '850 µs', '3.21 ms', '2.35 s', '2 min 5 s'. */
export function formatMs(ms: number): string {
  if (ms === 0) return '0 ms'
  if (ms < 0.9995) return `${Math.round(ms * 1000)} µs`
  if (ms < 999.5) return `${threeDigits(ms)} ms`
  const seconds = ms / 1000
  if (seconds < 119.5) return `${threeDigits(seconds)} s`
  const whole = Math.round(seconds)
  return `${Math.floor(whole / 60)} min ${whole % 60} s`
}
