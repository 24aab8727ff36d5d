// The policies behind --encode: what they force, when adaptive looks at pages, and what it says it came to.

import { describe, expect, it } from 'vitest'
import { fill } from '../../src/encoding/fill.ts'
import { lz4 } from '../../src/encoding/lz4.ts'
import { packed } from '../../src/encoding/packed.ts'
import { pattern } from '../../src/encoding/pattern.ts'
import { AdaptivePolicy, FallbackPolicy, ForcedPolicy } from '../../src/encoding/policy.ts'
import { raw } from '../../src/encoding/raw.ts'
import { sparse } from '../../src/encoding/sparse.ts'
import { CONTENT_CLASS, CONTENT_CLASSES } from '../../src/kernels/classify.ts'
import { PAGE_BYTES } from '../../src/limits.ts'

const CODECS = [fill.id, sparse.id, packed.id, pattern.id, lz4.id]
const MB = 1e6

it('a forced codec is for every class, always on, and gives way to raw', () => {
  const policy = new ForcedPolicy(packed.id)
  expect([policy.encodes(), policy.toSample(), policy.verdict()]).toEqual([true, [], null])
  for (let one = 0; one < CONTENT_CLASSES; one++) expect(policy.codecOf(one)).toBe(packed.id)
  expect([policy.limitOf(packed.id), policy.insteadOf(packed.id)]).toEqual([PAGE_BYTES - 1, raw.id])
})

it('fallback keeps WKdm up to half a page, then takes LZ4, then raw', () => {
  const policy = new FallbackPolicy()
  expect(policy.codecOf(CONTENT_CLASS.noise)).toBe(pattern.id)
  expect(policy.codecOf(CONTENT_CLASS.uniform)).toBe(fill.id)
  expect(policy.limitOf(pattern.id)).toBe(2048)
  expect([policy.insteadOf(pattern.id), policy.insteadOf(lz4.id), policy.insteadOf(fill.id)]).toEqual([
    lz4.id,
    raw.id,
    raw.id,
  ])
})

describe('adaptive', () => {
  /** Shows it batches in which half of the pages are text that lz4 halves, and half noise. */
  function show(policy: AdaptivePolicy, bytesPerSecond: number, batches = 100, ms = 0.01): void {
    const counts = new Uint32Array(CONTENT_CLASSES)
    counts[CONTENT_CLASS.textLike] = 128
    counts[CONTENT_CLASS.noise] = 128
    for (let batch = 0; batch < batches; batch++) {
      policy.noteLink(bytesPerSecond / 100, 10)
      policy.noteClasses(counts, 256, 256 * 0.002)
      for (const codec of CODECS) {
        policy.note(CONTENT_CLASS.textLike, codec, codec === lz4.id ? 2000 : PAGE_BYTES, ms)
        policy.note(CONTENT_CLASS.noise, codec, PAGE_BYTES, ms)
      }
    }
  }

  it('looks at a few pages of the first batch, and now and then while it is off', () => {
    const policy = new AdaptivePolicy(CODECS, null)
    expect(policy.toSample()).toEqual(CODECS)
    expect(policy.encodes()).toBe(false)
    expect(policy.verdict()).toMatch(/off: the link is not known/)
    let looks = 0
    for (let batch = 0; batch < 240; batch++) looks += policy.toSample().length > 0 ? 1 : 0
    expect(looks).toBe(10)
    show(policy, 20 * MB)
    expect(policy.encodes()).toBe(true)
    for (let batch = 0; batch < 240; batch++) expect(policy.toSample()).toEqual([])
  })

  it('a limit that was set is known before anything was sent', () => {
    const policy = new AdaptivePolicy(CODECS, 20 * MB)
    // But no page was: whether any codec is worth it is a guess.
    expect(policy.verdict()).toBeNull()
    expect(policy.encodes()).toBe(true)
    policy.note(CONTENT_CLASS.textLike, lz4.id, 1000, 0.01)
    expect(policy.verdict()).toMatch(/^compression on: .*lz4/)
  })

  it('chooses by class, and tries another codec on few pages', () => {
    const policy = new AdaptivePolicy(CODECS, null)
    show(policy, 20 * MB)
    expect(policy.encodes()).toBe(true)
    const chosen = Array.from({ length: 6400 }, () => policy.codecOf(CONTENT_CLASS.textLike))
    expect(chosen.filter((codec) => codec === lz4.id).length).toBeGreaterThan(6300)
    expect(new Set(chosen)).toEqual(new Set(CODECS))
    expect(policy.codecOf(CONTENT_CLASS.noise)).toBe(raw.id)
  })

  it('says in one line why it is on or off', () => {
    const on = new AdaptivePolicy(CODECS, null)
    show(on, 20 * MB)
    expect(on.verdict()).toMatch(/^compression on: lz4; 75 % of raw at .+, link 20 MB\/s$/)
    const fast = new AdaptivePolicy(CODECS, null)
    show(fast, 2000 * MB)
    // A page takes 0.002 ms to look at, and half of them 0.01 ms to compress.
    expect(fast.verdict()).toMatch(/^compression off: link 2 GB\/s > codecs 5\d\d MB\/s$/)
    const noise = new AdaptivePolicy(CODECS, null)
    const counts = new Uint32Array(CONTENT_CLASSES)
    counts[CONTENT_CLASS.noise] = 256
    for (let batch = 0; batch < 100; batch++) {
      noise.noteLink(200_000, 10)
      noise.noteClasses(counts, 256, 0.5)
      for (const codec of CODECS) noise.note(CONTENT_CLASS.noise, codec, PAGE_BYTES, 0.01)
    }
    expect(noise.verdict()).toBe('compression off: these pages shrink to 100 % of raw only')
  })
})
