// Content, blocks and places for the tests of the LZ4 kernel: what real pages look like, sequences built by hand, and
// inputs and outputs with guard bytes on one side and the end of the memory on the other.

import fc from 'fast-check'
import { expect } from 'vitest'
import type { GuestMemory } from '../../src/guest/memory.ts'

const GUARD_BYTES = 128
const GUARD = 0xc3

/** `size` bytes with a guard on either side, `last` in front of the end of the memory instead of the guard behind. */
export interface Place {
  readonly at: number
  check(): void
}

/** Guards around [at, at + size); `check` expects them untouched. */
export function guarded(memory: GuestMemory, at: number, size: number): Place {
  const before = memory.controlBytes.subarray(at - GUARD_BYTES, at)
  const after = memory.controlBytes.subarray(at + size, at + size + GUARD_BYTES)
  before.fill(GUARD)
  after.fill(GUARD)
  return {
    at,
    check() {
      const whole = before.every((byte) => byte === GUARD) && after.every((byte) => byte === GUARD)
      if (!whole) expect.fail(`a guard of [${at}, ${at + size}) was written`)
    },
  }
}

/** The last `size` bytes of the memory, guarded in front: a step too far traps. */
export const atTheEnd = (memory: GuestMemory, size: number): Place =>
  guarded(memory, memory.controlBytes.length - size, size)

/** A small generator for bytes of an alphabet: 1 letter repeats, 256 do not compress. */
function letters(seed: number, length: number, alphabet: number): Uint8Array {
  let state = (seed * 2654435761 + 1) >>> 0
  return Uint8Array.from({ length }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return (state >>> 24) % alphabet
  })
}

/** A piece of content: letters of an alphabet, a short word again and again, or a word far back once more. */
const piece = fc.oneof(
  fc.record({
    kind: fc.constant('letters' as const),
    seed: fc.nat(),
    length: fc.oneof(fc.nat(40), fc.nat(600)),
    alphabet: fc.constantFrom(1, 2, 4, 16, 256),
  }),
  fc.record({
    kind: fc.constant('word' as const),
    word: fc.uint8Array({ minLength: 1, maxLength: 20 }),
    times: fc.oneof(fc.nat(10), fc.nat(300)),
  }),
  fc.record({ kind: fc.constant('again' as const), back: fc.nat(70_000), length: fc.oneof(fc.nat(20), fc.nat(700)) }),
)

/** Structured content of up to `most` bytes. */
export function contentOf(most: number): fc.Arbitrary<Uint8Array> {
  return fc
    .tuple(fc.array(piece, { maxLength: 24 }), fc.constantFrom(0, 1, 12, 13, 64, most))
    .map(([pieces, floor]) => {
      const bytes: number[] = []
      for (const one of pieces) {
        if (one.kind === 'letters') bytes.push(...letters(one.seed, one.length, one.alphabet))
        else if (one.kind === 'word') for (let time = 0; time < one.times; time++) bytes.push(...one.word)
        else bytes.push(...bytes.slice(Math.max(0, bytes.length - one.back)).slice(0, one.length))
      }
      while (bytes.length < floor && pieces.length % 2 === 0) bytes.push(bytes.length & 255)
      return Uint8Array.from(bytes.slice(0, most))
    })
}

/** A number as the bytes that follow a nibble of 15. */
const chain = (count: number): number[] => [...Array<number>(Math.floor(count / 255)).fill(255), count % 255]

/** What one sequence says; lengths above 14 are written as chains, whatever stands behind them. */
export interface Said {
  literals: number
  given: Uint8Array
  offset: number
  match: number
}

export function write(sequences: readonly Said[], last: Uint8Array): Uint8Array {
  const bytes: number[] = []
  for (const { literals, given, offset, match } of sequences) {
    bytes.push((Math.min(15, literals) << 4) | Math.min(15, match))
    if (literals >= 15) bytes.push(...chain(literals - 15))
    bytes.push(...given, offset & 255, offset >> 8)
    if (match >= 15) bytes.push(...chain(match - 15))
  }
  const end = last.subarray(0, 14)
  return Uint8Array.from([...bytes, end.length << 4, ...end])
}
