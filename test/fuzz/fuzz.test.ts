// The fuzzer itself: it finds what is planted, step by step, which chance alone would not; and every target holds for a
// few thousand inputs, so that a broken target is noticed before CI runs them for their set time.

import { describe, expect, it } from 'vitest'
import wabt from 'wabt'
import { assemble, counters, instrument, instrumentKernels, places } from './instrument.ts'
import { type FuzzTarget, fuzz } from './loop.ts'
import { TARGETS } from './targets.ts'

const SEED = Number(process.env.GODWIT_SEED ?? 1)

/** A module that looks for four bytes one after the other and traps behind the last. */
const PLANTED = `(module
  (import "env" "control" (memory 1))
  (func (export "run")
    ${'GODW'
      .split('')
      .map(
        (letter, at) =>
          `(if (i32.ne (i32.load8_u (i32.const ${at})) (i32.const ${letter.charCodeAt(0)})) (then (return)))`,
      )
      .join('\n    ')}
    unreachable))`

async function planted(withCounters: boolean): Promise<FuzzTarget> {
  const text = withCounters ? instrument('planted', PLANTED) : PLANTED
  const control = new WebAssembly.Memory({ initial: 1 })
  const module = new WebAssembly.Module(assemble(await wabt(), 'planted.wat', text))
  const env = { control, counters: counters.memory }
  const { run } = new WebAssembly.Instance(module, { env }).exports as { run: () => void }
  const bytes = new Uint8Array(control.buffer)
  return {
    seeds: [],
    most: 16,
    run(input) {
      bytes.fill(0, 0, 16)
      bytes.set(input)
      run()
      return 'fine'
    },
  }
}

describe('the fuzzer', () => {
  it('finds a trap behind four bytes by the coverage it gains on the way, and not without', async () => {
    const limits = { seed: SEED, executions: 300_000 }
    expect(fuzz(await planted(false), { seed: SEED, executions: 50_000 }).breach).toBeNull()
    const { breach, executions } = fuzz(await planted(true), limits)
    expect(Buffer.from(breach?.input ?? []).toString('latin1')).toMatch(/^GODW/)
    expect(executions).toBeLessThan(limits.executions)
  })

  it('makes the same of the same seed', async () => {
    const run = async (seed: number): Promise<string> => {
      const { corpus } = fuzz(await planted(false), { seed, executions: 500 })
      return Buffer.concat(corpus).toString('base64')
    }
    expect(await run(5)).toBe(await run(5))
  })

  it('says which input broke a rule', () => {
    const run = (input: Uint8Array): string => {
      if (input.length === 7) throw new Error('seven')
      return 'fine'
    }
    const { breach } = fuzz({ seeds: [], most: 64, run }, { seed: SEED, executions: 100_000 })
    expect(breach?.input.length).toBe(7)
    expect(breach?.error).toBeInstanceOf(Error)
  })
})

describe('targets', async () => {
  await instrumentKernels()

  it.each(Object.keys(TARGETS))('%s holds', (name) => {
    const result = fuzz((TARGETS[name] as () => FuzzTarget)(), { seed: SEED, executions: 2000 })
    if (result.breach !== null) throw result.breach.error
    expect(result.executions).toBe(2000)
    expect(result.outcomes.size).toBeGreaterThan(1)
    // These use no kernel: outcomes guide it there.
    expect(result.reached.size > 0).toBe(!['service-line', 'resp', 'replies', 'exchange'].includes(name))
  })

  it('lz4 reaches nearly every branch of its decoder', () => {
    const { reached } = fuzz((TARGETS.lz4 as () => FuzzTarget)(), { seed: SEED, executions: 5000 })
    const own = [...places.keys()].filter((place) => places[place] === 'lz4.decompress')
    expect(own.length).toBeGreaterThan(30)
    expect(own.filter((place) => reached.has(place)).length).toBeGreaterThan(0.85 * own.length)
  })
})
