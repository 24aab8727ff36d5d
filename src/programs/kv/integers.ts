// Whole numbers as Redis reads and writes them: 64 bits with a sign, decimal, strict. Those of up to 15 digits are
// numbers, larger ones bigints.

const MAX = 2n ** 63n - 1n
const MIN = -(2n ** 63n)
/** A sign and 19 digits. */
const MAX_DIGITS = 20
/** Numbers of so many digits, and sums of two of them, are exact. */
const EXACT_DIGITS = 15
const ZERO = 0x30
const MINUS = 0x2d

export type Integer = number | bigint

/** The integer that exactly fills the range, without spaces, plus or leading zeros; null: there is none. */
export function parseInteger(bytes: Uint8Array, start: number, length: number): Integer | null {
  const negative = length > 1 && bytes[start] === MINUS
  const first = negative ? start + 1 : start
  const end = start + length
  if (length === 0 || length > MAX_DIGITS) return null
  // "0" is one, "-0" and "01" are none.
  if (bytes[first] === ZERO && length > 1) return null
  let value = 0
  for (let at = first; at < end; at++) {
    const digit = (bytes[at] as number) - ZERO
    if (digit < 0 || digit > 9) return null
    value = value * 10 + digit
  }
  if (end - first <= EXACT_DIGITS) return negative ? -value : value
  const text = Buffer.from(bytes.buffer, bytes.byteOffset + start, length).toString('latin1')
  return within(BigInt(text))
}

const within = (value: bigint): bigint | null => (value >= MIN && value <= MAX ? value : null)

/** The sum, or null where it has more than 64 bits. */
export function addIntegers(a: Integer, b: Integer): Integer | null {
  if (typeof a === 'number' && typeof b === 'number') return a + b
  return within(BigInt(a) + BigInt(b))
}

/** The opposite, or null: the smallest integer has none. */
export function negateInteger(value: Integer): Integer | null {
  return typeof value === 'number' ? 0 - value : within(-value)
}

/** Writes the digits of a whole number, exact below 2^53, and returns where they end; there is room for 16 and a sign. */
export function writeNumber(bytes: Uint8Array, at: number, value: number): number {
  let first = at
  let rest = value
  if (value < 0) {
    bytes[first++] = MINUS
    rest = -value
  }
  let end = first + 1
  for (let power = 10; power <= rest; power *= 10) end++
  for (let index = end - 1; index >= first; index--) {
    const tenth = Math.floor(rest / 10)
    bytes[index] = ZERO + rest - tenth * 10
    rest = tenth
  }
  return end
}

/** Writes an integer's digits and returns where they end; there is room for `MAX_DIGITS`. */
export function writeInteger(bytes: Uint8Array, at: number, value: Integer): number {
  if (typeof value === 'number') return writeNumber(bytes, at, value)
  return at + Buffer.from(bytes.buffer, bytes.byteOffset).write(value.toString(), at, 'latin1')
}
