// The harness: every competitor as often as asked, interleaved, verdicts that decide, errors that do not end the bench.

import { beforeEach, describe, expect, it, vi } from 'vitest'
import {
  type Competitor,
  fails,
  type Options,
  runTechnique,
  samplesOf,
  type Technique,
} from '../../native-free-bench/harness.ts'
import type * as machine from '../../native-free-bench/machine.ts'
import { parseProcessorTime, stolenShare } from '../../native-free-bench/machine.ts'
import { digits, printOutcome } from '../../native-free-bench/print.ts'

// A virtual machine's own /proc/stat would say now and then that the processor was taken away, and runs would be repeated.
const processor = vi.hoisted(() => ({ total: 0, stolen: 0 }))
vi.mock('../../native-free-bench/machine.ts', async (original) => ({
  ...(await original<typeof machine>()),
  processorTime: () => ({ ...processor }),
}))
beforeEach(() => void Object.assign(processor, { total: 0, stolen: 0 }))

const options: Options = { seed: 7, quick: false, repetitions: 5, log: () => {} }
const row = { unit: '×', higherIsBetter: false, samples: [2, 2, 2] } as const

describe('a technique', () => {
  it('runs its competitors interleaved after one warm-up each', async () => {
    const order: string[] = []
    const competitor = (name: string): Competitor => ({
      name,
      run: async () => {
        order.push(name)
        return { value: order.length }
      },
    })
    const technique: Technique = {
      name: 'pair',
      about: '',
      async run(context) {
        const samples = await context.repeat([competitor('a'), competitor('b')])
        expect(() => samplesOf(samples, 'a', 'unknown')).toThrow('did not measure')
        return [{ ...row, name: 'a', samples: samplesOf(samples, 'a', 'value') }]
      },
    }
    const outcome = await runTechnique(technique, options)
    expect(outcome.error).toBeUndefined()
    expect(outcome.rows[0]?.summary.count).toBe(5)
    expect(order.slice(0, 2)).toEqual(['a', 'b'])
    // After the warm-up every pair holds both, whatever their order.
    const pairs = Array.from({ length: 5 }, (_, index) => order.slice(2 + 2 * index, 4 + 2 * index).sort())
    expect(pairs).toEqual(Array(5).fill(['a', 'b']))
  })

  it('repeats a run during which the processor was taken away, and keeps one that is never left alone', async () => {
    const outcomeOf = async (disturbed: number) => {
      let runs = 0
      const run = async (): Promise<Record<string, number>> => {
        // The first one is the warm-up.
        const stolen = runs > 0 && runs <= disturbed ? 7 : 0
        Object.assign(processor, { total: processor.total + 100, stolen: processor.stolen + stolen })
        return { value: runs++ }
      }
      const technique: Technique = {
        name: 'alone',
        about: '',
        async run(context) {
          const samples = await context.repeat([{ name: 'a', run }], 1)
          return [{ ...row, name: 'a', samples: samplesOf(samples, 'a', 'value') }]
        },
      }
      const { repeated, stolen, rows } = await runTechnique(technique, options)
      return { repeated, stolen, samples: rows[0]?.samples }
    }
    expect(await outcomeOf(0)).toEqual({ repeated: 0, stolen: 0, samples: [1] })
    expect(await outcomeOf(2)).toEqual({ repeated: 2, stolen: 0, samples: [3] })
    expect(await outcomeOf(99)).toEqual({ repeated: 3, stolen: 1, samples: [4] })
  })

  it('that throws is a failure of its own', async () => {
    const broken: Technique = { name: 'broken', about: '', run: () => Promise.reject(new Error('no luck')) }
    const outcome = await runTechnique(broken, options)
    expect(outcome.error).toBe('no luck')
    expect(fails(outcome, true)).toBe(true)
    expect(printOutcome(outcome, undefined, false).join('\n')).toContain('FAIL: no luck')
  })

  it('decides by every figure, in a quick run by exact ones', async () => {
    const technique = (exact: boolean): Technique => ({
      name: 'bound',
      about: '',
      run: async () => [{ ...row, name: 'too much', required: { atMost: 1 }, exact }],
    })
    const [timed, exact] = [await runTechnique(technique(false), options), await runTechnique(technique(true), options)]
    expect([fails(timed, false), fails(timed, true)]).toEqual([true, false])
    expect([fails(exact, false), fails(exact, true)]).toEqual([true, true])
    const lines = printOutcome(exact, timed, true).join('\n')
    expect(lines).toContain('≤ 1.00')
    expect(lines).toContain('FAIL')
    expect(lines).toContain('same')
  })
})

describe('the machine', () => {
  it('says how much of the processor was taken away', () => {
    const before = parseProcessorTime('cpu  100 0 100 800 0 0 0 0 0 0\ncpu0 1 1 1 1 1 1 1 1 0 0\n')
    const after = parseProcessorTime('cpu  150 0 120 820 0 0 0 10 50 0\n')
    expect(before).toEqual({ total: 1000, stolen: 0 })
    expect(stolenShare(before, after)).toBe(0.1)
    expect(stolenShare(null, after)).toBe(0)
    expect(stolenShare(after, after)).toBe(0)
    expect(parseProcessorTime('')).toBeNull()
  })

  it('prints numbers as people read them', () => {
    expect([0.01234, 1.234, 12.34, 123.4, 12345].map(digits)).toEqual(['0.012', '1.23', '12.3', '123', '12,345'])
  })
})
