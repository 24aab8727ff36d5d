// The typed binding of classify.wat, and what its classes mean. The adaptive chooser learns per class which encoding
// pays, so a class need only hold pages that compress alike; a page in the wrong class costs bytes, never correctness.

import type { GuestMemory } from '../guest/memory.ts'
import { MODULE_BASE64 } from './classify.bytes.ts'
import { instantiate } from './module.ts'

/** The first that applies. */
export const CONTENT_CLASS = {
  /** One 64-bit word, repeated. */
  uniform: 0,
  zeroRich: 1,
  /** Words repeat within a short distance, at least in their high 22 bits (MECOM's strong regularity). */
  strong: 2,
  /** Records whose columns have small ranges. */
  columns: 3,
  textLike: 4,
  noise: 5,
} as const
export const CONTENT_CLASSES = 6

/** zeroRich: MECOM's class begins at half of the 4,096 bytes. */
export const ZERO_BYTES_LEAST = 2048
/** Words looked up in the dictionary: every fourth line of 64 bytes. A page of one kind shows it in a quarter of its words. */
export const SIMILAR_SAMPLE = 256
/** strong: half of the words that were looked at, MECOM's limit; the dictionary's 16 words that nothing precedes weigh little. */
export const SIMILAR_LEAST = SIMILAR_SAMPLE / 2
/** columns: the four widths together, bits. `packed` takes 24 + 32 × widths bytes, so these are 3,064 of 4,096, three quarters. */
export const WIDTHS_MOST = 95
/** textLike: fewer bytes than a twentieth with the top bit set. ASCII has none, noise half of them. */
export const TOP_BITS_BELOW = 205

/** Tells the CONTENT_CLASS of the page copy at `from` (multiple of 16) of the control memory. */
export type Classifier = (from: number) => number

/** The kernel over one guest's control memory; its dictionary (64 bytes) is at `tablesOffset` during a call. */
export function loadClassifier(memory: GuestMemory, tablesOffset: number): Classifier {
  const { classify } = instantiate<{ classify(from: number, tables: number): number }>(MODULE_BASE64, memory)
  return (from) => classify(from, tablesOffset)
}
