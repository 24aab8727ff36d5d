// Commands of the store's tests: few keys, so that they meet, and values of all the lengths that are kept differently.

import fc from 'fast-check'

const key = fc.oneof(
  { weight: 8, arbitrary: fc.nat(30).map((n) => `key:${n}`) },
  { weight: 1, arbitrary: fc.nat(2000).map((n) => `k${n}`) },
  { weight: 1, arbitrary: fc.nat(3).map((n) => `${n}`.repeat(500 * n)) },
)
const field = fc.oneof(
  fc.nat(20).map((n) => `f${n}`),
  fc.nat(3000).map((n) => `field:${n}`),
)
const LENGTHS = [0, 1, 3, 16, 17, 130, 2047, 2048, 2049, 4096, 4097, 9000]
const value = fc.oneof(
  { weight: 4, arbitrary: fc.integer({ min: -1000, max: 1000 }).map(String) },
  { weight: 4, arbitrary: fc.tuple(fc.constantFrom(...LENGTHS), fc.nat(25)).map(([n, c]) => letters(n, c)) },
)
const letters = (length: number, first: number): string =>
  Array.from({ length }, (_, index) => String.fromCharCode(97 + ((first + index) % 26))).join('')

const words = (...parts: (string | fc.Arbitrary<string | string[]>)[]): fc.Arbitrary<string[]> =>
  fc.tuple(...parts.map((part) => (typeof part === 'string' ? fc.constant(part) : part))).map((all) => all.flat())
const some = <T>(arbitrary: fc.Arbitrary<T>, maxLength: number): fc.Arbitrary<T[]> =>
  fc.array(arbitrary, { minLength: 1, maxLength })
const several = some(key, 5)
const pairsOf = (name: fc.Arbitrary<string>, most: number): fc.Arbitrary<string[]> =>
  some(fc.tuple(name, value), most).map((pairs) => pairs.flat())
const seconds = fc.nat(3).map(String)

export interface Step {
  readonly parts: string[]
  /** Milliseconds since the step before. */
  readonly after: number
}

const command = fc.oneof(
  { weight: 6, arbitrary: words('SET', key, value) },
  { weight: 2, arbitrary: words('SET', key, value, 'PX', fc.integer({ min: 1, max: 3000 }).map(String)) },
  { weight: 6, arbitrary: words('GET', key) },
  { weight: 1, arbitrary: words('SETNX', key, value) },
  { weight: 1, arbitrary: words('MSET', pairsOf(key, 6)) },
  { weight: 3, arbitrary: words('DEL', several) },
  { weight: 1, arbitrary: words('EXISTS', several) },
  { weight: 3, arbitrary: words('APPEND', key, value) },
  { weight: 2, arbitrary: words('INCRBY', key, fc.integer({ min: -99, max: 99 }).map(String)) },
  { weight: 2, arbitrary: words('EXPIRE', key, seconds) },
  { weight: 1, arbitrary: words('PERSIST', key) },
  { weight: 1, arbitrary: words('TTL', key) },
  { weight: 1, arbitrary: words('TYPE', key) },
  { weight: 5, arbitrary: words('HSET', key, pairsOf(field, 40)) },
  { weight: 2, arbitrary: words('HGET', key, field) },
  { weight: 2, arbitrary: words('HDEL', key, some(field, 10)) },
)

export const step: fc.Arbitrary<Step> = fc.record({
  parts: command,
  after: fc.oneof({ weight: 9, arbitrary: fc.nat(5) }, { weight: 1, arbitrary: fc.nat(1000) }),
})
export const steps = (minLength: number, maxLength: number): fc.Arbitrary<Step[]> =>
  fc.array(step, { minLength, maxLength, size: 'max' })
