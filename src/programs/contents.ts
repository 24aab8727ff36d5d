// What the mutator's pages hold at first: a function of (seed, content, page number) alone, so that any thread may fill
// any range and a replay finds the same. Mixes as in docs/techniques.md: 30 % zero pages, 10 % nearly zero, 30 % integer
// and pointer words, 20 % text, 10 % random.

import { PAGE_BYTES } from '../limits.ts'
import { below, hash32, nextRandom, RANDOM_WORDS, seedRandom } from './rng.ts'

export const CONTENTS = ['zero', 'random', 'text', 'mix', 'dup'] as const
export type Content = (typeof CONTENTS)[number]
/** What one page holds. */
export type PageKind = 'zero' | 'sparse' | 'integers' | 'text' | 'random'

const PAGE_WORDS = PAGE_BYTES / 4
/** Upper ends of the shares of `mix`, percent. */
const MIX: readonly (readonly [number, PageKind])[] = [
  [30, 'zero'],
  [40, 'sparse'],
  [70, 'integers'],
  [90, 'text'],
]
/** `dup`: of 100 non-zero pages this many share their content with others of the same 64 pages. */
const DUPLICATE_PERCENT = 40
const DUPLICATES_SHIFT = 6
const DUPLICATE_CONTENTS = 4
/** Words written into a nearly zero page: 320 of 4,096 bytes. */
const SPARSE_WORDS = 80
const TEXT_POOL_BYTES = 1 << 20

function mixedKind(seed: number, key: number): PageKind {
  const percent = hash32(seed, key) % 100
  for (const [end, kind] of MIX) if (percent < end) return kind
  return 'random'
}

/** The number that decides a page's content: its own, or one that duplicates share. */
function contentKey(seed: number, page: number): number {
  const draw = hash32(seed ^ 0x5bd1e995, page)
  if (draw % 100 >= DUPLICATE_PERCENT) return page
  const shared = (page >>> DUPLICATES_SHIFT) * DUPLICATE_CONTENTS + ((draw >>> 8) % DUPLICATE_CONTENTS)
  return 0x8000_0000 + shared
}

/** In place of a guest's own seed for pages that guests have in common. */
const COMMON_SEED = 0x6a09e667

/**
 * The seed of a page's content: the guest's own, but for a `share` of the pages one that all guests have. Guests of any seed
 * agree on which pages these are, so they hold the same there.
 */
export function contentSeed(seed: number, share: number, page: number): number {
  return share > 0 && hash32(COMMON_SEED, page) < share * 2 ** 32 ? COMMON_SEED : seed
}

/** What page `page` of a guest holds at first. */
export function pageKind(content: Content, seed: number, page: number): PageKind {
  switch (content) {
    case 'mix':
      return mixedKind(seed, page)
    case 'dup': {
      const own = mixedKind(seed, page)
      return own === 'zero' ? 'zero' : duplicableKind(seed, contentKey(seed, page))
    }
    default:
      return content
  }
}

/** Kinds of `dup`: like those of the mix, but never zero. */
function duplicableKind(seed: number, key: number): PageKind {
  const kind = mixedKind(seed, key)
  return kind === 'zero' ? 'integers' : kind
}

/** Sizes that give the ratio its narrow range. */
const VOCABULARY = 150
const PHRASES = 22
const PHRASE_WORDS = 8
const CONSONANTS = 'bcdfghjklmnprstvwz'
const VOWELS = 'aeiou'

let textPool: Uint8Array | undefined

/** Log-like prose, phrases of a small vocabulary: lz4 shrinks 4 KiB of it about threefold. Depends on nothing. */
function textPoolOf(): Uint8Array {
  if (textPool !== undefined) return textPool
  const state = new Uint32Array(RANDOM_WORDS)
  seedRandom(state, 0, 0x7e87, 0)
  const draw = (limit: number): number => below(nextRandom(state, 0), limit)
  const syllable = (): string =>
    `${CONSONANTS[draw(CONSONANTS.length)]}${VOWELS[draw(VOWELS.length)]}${CONSONANTS[draw(CONSONANTS.length)]}`
  const times = (count: number, make: () => string): string[] => Array.from({ length: count }, make)
  const vocabulary = times(VOCABULARY, () => times(1 + draw(3), syllable).join(''))
  const word = (): string => vocabulary[draw(VOCABULARY)] as string
  const phrases = times(PHRASES, () => `${times(PHRASE_WORDS, word).join(' ')} `)
  const pool = Buffer.alloc(TEXT_POOL_BYTES, ' ')
  for (let at = 0, index = 0; at < pool.length; index++) {
    at += pool.write(index % 2 === 0 ? (phrases[draw(PHRASES)] as string) : `${word()} `, at)
  }
  textPool = pool
  return pool
}

function fillRandom(words: Uint32Array, at: number, key: number): void {
  let x = key | 1
  for (let index = at; index < at + PAGE_WORDS; index++) {
    x ^= x << 13
    x ^= x >>> 17
    x ^= x << 5
    words[index] = x
  }
}

/** Records of a counter, a length and a 64-bit pointer into one heap: about 1.1 by lz4. */
function fillIntegers(words: Uint32Array, at: number, key: number): void {
  let x = key | 1
  for (let index = at; index < at + PAGE_WORDS; index += 4) {
    x ^= x << 13
    x ^= x >>> 17
    x ^= x << 5
    words[index] = x & 0xffff
    words[index + 1] = (x >>> 8) & 0xfffff
    words[index + 2] = Math.imul(x, 0x9e3779b1) & ~7
    words[index + 3] = 0x7f3a
  }
}

function fillSparse(words: Uint32Array, at: number, key: number): void {
  for (let index = 0; index < SPARSE_WORDS; index++) {
    const draw = hash32(key, index)
    words[at + (draw % PAGE_WORDS)] = draw | 1
  }
}

function fillText(bytes: Uint8Array, at: number, key: number): void {
  const pool = textPoolOf()
  const from = hash32(key, 1) % (pool.length - PAGE_BYTES)
  bytes.set(pool.subarray(from, from + PAGE_BYTES), at)
  // Two pages that begin at one place of the pool must differ all the same.
  for (let index = 0; index < 8; index++) bytes[at + index] = 0x61 + ((key >>> (index * 4)) & 15)
}

/** Fills one page, which must be zero, of the guest that `bytes` and `words` show. */
export function fillPage(bytes: Uint8Array, words: Uint32Array, content: Content, seed: number, page: number): void {
  const kind = pageKind(content, seed, page)
  if (kind === 'zero') return
  const key = hash32(seed ^ 0x2545f491, content === 'dup' ? contentKey(seed, page) : page)
  const at = page * PAGE_WORDS
  if (kind === 'random') fillRandom(words, at, key)
  else if (kind === 'integers') fillIntegers(words, at, key)
  else if (kind === 'sparse') fillSparse(words, at, key)
  else fillText(bytes, at * 4, key)
}

/** Shapes a random value so that a word of a page keeps the page's kind roughly; never 0. */
export function valueFor(kind: PageKind, random: number): number {
  if (kind === 'text') return ((random & 0x0f0f0f0f) | 0x60606060) >>> 0
  if (kind === 'random') return (random | 1) >>> 0
  return (random & 0xfffff) | 1
}
