// Thousands of simulated migrations, each from a seed. A failing seed is printed; run it alone with GODWIT_SEED=N.

import { expect, test } from 'vitest'
import { SIMULATED_FAULTS, voyage } from './voyage.ts'

const only = process.env.GODWIT_SEED === undefined ? null : Number(process.env.GODWIT_SEED)
const SEEDS = only === null ? Number(process.env.GODWIT_SEEDS ?? 2000) : 1

test(`${SEEDS} seeds: one owner and equal memory, whatever happens`, { timeout: 300_000 }, async () => {
  const seen = new Map<string, number>()
  let voyagesWithMissing = 0
  for (let index = 0; index < SEEDS; index++) {
    const seed = only ?? index
    const { fault, report, missed } = await voyage(seed).catch((cause) => {
      throw new Error(`GODWIT_SEED=${seed} fails: ${(cause as Error).message}`, { cause })
    })
    const key = `${fault}: ${report?.outcome ?? 'source died'}`
    seen.set(key, (seen.get(key) ?? 0) + 1)
    if (missed > 0 && report?.outcome === 'completed') voyagesWithMissing++
  }
  if (only !== null) return
  for (const fault of SIMULATED_FAULTS) {
    expect([...seen.keys()].some((key) => key.startsWith(fault))).toBe(true)
  }
  // A simulation in which faults never hit, or always win, tests nothing.
  expect(seen.get('none: completed')).toBeGreaterThan(100)
  expect(voyagesWithMissing).toBeGreaterThan(10)
  expect(seen.get('cut: completed')).toBeGreaterThan(10)
  expect(seen.get('cut: failed')).toBeGreaterThan(10)
  expect(seen.get('corrupt: failed')).toBeGreaterThan(10)
  expect(seen.get('destination dies: failed')).toBeGreaterThan(10)
})

test('a seed gives the same voyage twice', async () => {
  const [first, second] = [await voyage(4711), await voyage(4711)]
  expect(second).toEqual(first)
})
