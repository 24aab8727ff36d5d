// A guest for decoders: payloads, good and hostile, go into its staging and are decoded onto a run of pages with pages
// before and after it that must not change, and with bytes behind the payload that must not matter.

import assert from 'node:assert/strict'
import fc from 'fast-check'
import { expect } from 'vitest'
import type { EncodingContext, PageEncoding } from '../../src/encoding/encoding.ts'
import type { ErrorCode } from '../../src/errors.ts'
import { GuestMemory } from '../../src/guest/memory.ts'
import { loadKernels } from '../../src/kernels/kernels.ts'
import { PAGE_BYTES, sameBytes } from '../kernels/memory-fixture.ts'

const PAGES = 16
const memory = GuestMemory.create(PAGES * PAGE_BYTES, 1)
/** Encoders and decoders of the lab work in lane 0's area. */
export const context: EncodingContext = { memory, kernels: loadKernels(memory), area: memory.layout.codecs }
/** Where a page copy lies, and where an encoder writes; guards of GUARD_BYTES on both sides. */
export const COPY = memory.layout.codecs
export const OUTPUT = memory.layout.staging + PAGE_BYTES
const GUARD_BYTES = 64
const GUARD = 0xa5

/** Puts a copy of a page where encoders read it. */
export const stage = (page: Uint8Array): void => memory.controlBytes.set(page, COPY)

/** Runs an encoder with the output guarded; returns what it wrote, or undefined for −1. */
export function encoded(encode: (to: number, limit: number) => number, limit: number): Uint8Array | undefined {
  const { controlBytes } = memory
  const guarded = controlBytes.subarray(OUTPUT - GUARD_BYTES, OUTPUT + PAGE_BYTES + GUARD_BYTES)
  guarded.fill(GUARD)
  const bytes = encode(OUTPUT, limit)
  const outside = [
    guarded.subarray(0, GUARD_BYTES),
    guarded.subarray(GUARD_BYTES + Math.min(PAGE_BYTES, Math.max(0, limit))),
  ]
  for (const guard of outside) assert.ok(isGuard(guard), 'written outside the limit')
  if (bytes === -1) return undefined
  expect(bytes).toBeLessThanOrEqual(limit)
  return controlBytes.slice(OUTPUT, OUTPUT + bytes)
}

/** Encodes at the exact length, one below it and at a limit of the caller's: all or nothing. */
export function expectExactLimit(encode: (to: number, limit: number) => number, limit: number): void {
  const whole = encoded(encode, PAGE_BYTES)
  for (const tried of [limit, whole?.length ?? PAGE_BYTES, (whole?.length ?? PAGE_BYTES) - 1]) {
    expect(encoded(encode, tried)).toEqual(whole !== undefined && whole.length <= tried ? whole : undefined)
  }
}

/**
 * Decodes a payload onto the run from page `first` on, over `before` (one page content each). Returns the run's new bytes,
 * or the code of the error. Expects that no other page changes and that bytes behind the payload do not count.
 */
export function decoded(
  encoding: PageEncoding,
  first: number,
  before: readonly Uint8Array[],
  payload: Uint8Array,
): Uint8Array | ErrorCode {
  const results = [0x00, 0x01, 0xff].map((behind) => decodeOnce(encoding, first, before, payload, behind))
  const [result] = results as [Uint8Array | ErrorCode]
  for (const other of results) assert.ok(sameResult(other, result), 'bytes behind the payload count')
  return result
}

function decodeOnce(
  encoding: PageEncoding,
  first: number,
  before: readonly Uint8Array[],
  payload: Uint8Array,
  behind: number,
): Uint8Array | ErrorCode {
  memory.bytes.fill(GUARD)
  for (const [index, page] of before.entries()) memory.bytes.set(page, (first + index) * PAGE_BYTES)
  memory.controlBytes.fill(behind, OUTPUT, OUTPUT + payload.length + PAGE_BYTES)
  memory.controlBytes.set(payload, OUTPUT)
  let found: ErrorCode | undefined
  try {
    encoding.checkPayload(before.length, payload.length)
    decoderOf(encoding).decodeRun(first, before.length, OUTPUT, payload.length)
  } catch (error) {
    found = (error as { code?: ErrorCode }).code
    if (found === undefined) throw error
  }
  const [start, end] = [first * PAGE_BYTES, (first + before.length) * PAGE_BYTES]
  assert.ok(isGuard(memory.bytes.subarray(0, start)) && isGuard(memory.bytes.subarray(end)), 'another page changed')
  return found ?? memory.bytes.slice(start, end)
}
const GUARDS = new Uint8Array(PAGES * PAGE_BYTES).fill(GUARD)
const isGuard = (bytes: Uint8Array): boolean => sameBytes(bytes, GUARDS.subarray(0, bytes.length))
const sameResult = (a: Uint8Array | ErrorCode, b: Uint8Array | ErrorCode): boolean =>
  typeof a === 'string' || typeof b === 'string' ? a === b : sameBytes(a, b)

const decoders = new Map<PageEncoding, ReturnType<PageEncoding['createDecoder']>>()
function decoderOf(encoding: PageEncoding): ReturnType<PageEncoding['createDecoder']> {
  const decoder = decoders.get(encoding) ?? encoding.createDecoder(context)
  decoders.set(encoding, decoder)
  return decoder
}

/** First page of a run of `count`, also at both ends of the guest. */
export const placeOf = (count: number): fc.Arbitrary<number> =>
  fc.oneof(fc.constantFrom(0, PAGES - count), fc.nat(PAGES - count))

/** One change to a valid payload: a byte set, removed or put in, the end cut off or made longer. */
const mutation = fc.record({
  kind: fc.constantFrom('set', 'remove', 'insert', 'cut', 'extend'),
  at: fc.double({ min: 0, max: 1, maxExcluded: true, noNaN: true }),
  byte: fc.oneof(fc.constantFrom(0, 1, 2, 127, 128, 129, 255), fc.nat(255)),
})
export type Mutation = typeof mutation extends fc.Arbitrary<infer T> ? T : never
/** None in some cases: then the payload is good. Positions lean to the front, where lengths are. */
export const mutations = fc.array(mutation, { maxLength: 4 })

export function mutate(payload: Uint8Array, changes: readonly Mutation[]): Uint8Array {
  let bytes = Buffer.from(payload)
  for (const { kind, at, byte } of changes) {
    const index = Math.floor(at * at * bytes.length)
    const [front, back] = [bytes.subarray(0, index), bytes.subarray(index)]
    if (kind === 'set' && index < bytes.length) bytes[index] = byte
    if (kind === 'remove') bytes = Buffer.concat([front, back.subarray(1)])
    if (kind === 'insert') bytes = Buffer.concat([front, Uint8Array.of(byte), back])
    if (kind === 'cut') bytes = bytes.subarray(0, Math.floor(at * bytes.length))
    if (kind === 'extend') bytes = Buffer.concat([bytes, Uint8Array.of(byte)])
  }
  return bytes
}
