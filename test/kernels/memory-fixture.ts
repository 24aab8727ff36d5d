// Guests for the kernel, encoding and page-set tests: two with equal content, one for the kernels and one for the twin,
// and the seed that GODWIT_SEED may give.

import { GuestMemory } from '../../src/guest/memory.ts'

/** Parameters for fc.assert; fast-check prints the seed of a failure. */
export function seeded(numRuns: number): { numRuns: number; seed?: number } {
  const given = process.env.GODWIT_SEED
  return given === undefined ? { numRuns } : { numRuns, seed: Number(given) | 0 }
}

export const PAGE_BYTES = 4096

/** Where the tests put things: thread 0's block and staging, as a transfer thread does. */
export function placesOf(memory: GuestMemory): {
  list: number
  classes: number
  hashes: number
  digest: number
  staging: number
} {
  const { threadBlocks, hashes, staging } = memory.layout
  return { list: threadBlocks + 4096, classes: threadBlocks + 8192, hashes, digest: threadBlocks, staging }
}

/** A small generator, so that a page's content is one number in a counterexample. */
export function fillPage(memory: GuestMemory, page: number, seed: number): void {
  const bytes = memory.bytes.subarray(page * PAGE_BYTES, (page + 1) * PAGE_BYTES)
  let state = (seed * 2654435761 + 1) >>> 0
  for (let index = 0; index < PAGE_BYTES; index++) {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    bytes[index] = state >>> 24
  }
}

/** One page's content: zero, a single bit somewhere, or random. */
export type Content = { kind: 'zero' } | { kind: 'bit'; bit: number } | { kind: 'random'; seed: number }

export function writeContent(memory: GuestMemory, page: number, content: Content): void {
  memory.bytes.fill(0, page * PAGE_BYTES, (page + 1) * PAGE_BYTES)
  if (content.kind === 'random') fillPage(memory, page, content.seed)
  if (content.kind === 'bit') memory.bytes[page * PAGE_BYTES + (content.bit >> 3)] = 1 << (content.bit & 7)
}

export function writeList(memory: GuestMemory, offset: number, list: readonly number[]): void {
  memory.controlWords.set(list, offset / 4)
}

export const sameBytes = (a: Uint8Array, b: Uint8Array): boolean => Buffer.compare(a, b) === 0

export function twoGuests(pages: number): [GuestMemory, GuestMemory] {
  return [GuestMemory.create(pages * PAGE_BYTES, 1), GuestMemory.create(pages * PAGE_BYTES, 1)]
}
