// Every interleaving of the safepoint: rounds, parks at a boundary and inside a step, and a final pause. No mark may be
// lost, and nobody may wait for ever. Broken variants show that the model sees what the rules forbid.

import { describe, expect, test } from 'vitest'
import { explore } from './explorer.ts'
import { safepointModel, type Variant } from './safepoint-model.ts'

const sound: Variant = {
  storeBuffer: true,
  rests: [0, 0],
  faults: [0, 0],
  rounds: 1,
  storesPerVcpu: 1,
  collect: 'swap',
  leaveBackwards: false,
}
const TIMEOUT_MS = 120_000

describe('no mark is lost and nobody waits for ever', { timeout: TIMEOUT_MS }, () => {
  test.each<[string, Partial<Variant>]>([
    ['both vCPUs store twice', { storesPerVcpu: 2 }],
    ['both store and rest at a boundary', { rests: [1, 1] }],
    ['both store, one of them after a fault if it likes', { faults: [1, 1] }],
    ['two rounds, one vCPU rests and one faults', { rounds: 2, rests: [1, 0], faults: [0, 1] }],
  ])('%s', (_, variant) => {
    const result = explore(safepointModel({ ...sound, ...variant }))
    expect(result.violation).toBeNull()
    expect(result.states).toBeGreaterThan(50_000)
    expect(result.ends).toBeGreaterThan(0)
  })
})

describe('what the rules forbid is found', { timeout: TIMEOUT_MS }, () => {
  const ruleOf = (variant: Partial<Variant>): string | undefined =>
    explore(safepointModel({ ...sound, storesPerVcpu: 2, ...variant })).violation?.rule

  test('R1: "test, then set" without a swap loses a mark behind a store buffer', () => {
    expect(ruleOf({ collect: 'no-swap' })).toBe('a write was lost')
  })

  test('and is right without store buffers, so it is the buffer that does it', () => {
    expect(ruleOf({ collect: 'no-swap', storeBuffer: false })).toBeUndefined()
  })

  test('R1: a swap that awaits nobody', () => {
    expect(ruleOf({ storesPerVcpu: 1, collect: 'swap-without-handshake' })).toBe('a write was lost')
  })

  test('R5: a park that is left backwards', () => {
    expect(ruleOf({ storesPerVcpu: 1, rests: [1, 0], leaveBackwards: true })).toBe('a write was lost')
  })
})
