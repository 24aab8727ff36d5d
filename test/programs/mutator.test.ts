// The built-in programs: no state outside guest pages and registers, words owned by one vCPU only, and each workload's
// working set as in docs/techniques.md.

import { describe, expect, test } from 'vitest'
import type { GuestConfig } from '../../src/guest/config.ts'
import type { GuestMemory } from '../../src/guest/memory.ts'
import type { ProgramModule } from '../../src/guest/program.ts'
import * as counter from '../../src/programs/counter.ts'
import { journalPages } from '../../src/programs/journal.ts'
import * as mutator from '../../src/programs/mutator.ts'
import { lockedLambda } from '../../src/programs/registry.ts'
import { freshMemory, replaySteps } from '../../src/programs/replay.ts'
import { firstOwned, ownedCount } from '../../src/programs/words.ts'
import { WORKLOADS } from '../../src/programs/workloads.ts'
import { configOf, MIB, SEED } from './guest-fixture.ts'

const cases: [string, ProgramModule, GuestConfig['options']][] = [
  ...WORKLOADS.map((workload): [string, ProgramModule, GuestConfig['options']] => [
    `mutator ${workload}`,
    mutator,
    { workload, content: 'mix' },
  ]),
  ['counter', counter, {}],
]

describe.each(cases)('%s', (_, module, options) => {
  const run = (vcpus: number, order: 'forward' | 'backward', recreate?: (step: number) => boolean): GuestMemory => {
    const config = configOf({ vcpus, options, memoryBytes: MIB, seed: SEED })
    const memory = freshMemory(config, module)
    const all = Array.from({ length: vcpus }, (_unused, vcpu) => 2000 + 100 * vcpu)
    if (order === 'forward') return replaySteps(memory, config, module, all, recreate).memory
    for (let vcpu = vcpus - 1; vcpu >= 0; vcpu--) {
      const only = all.map((steps, index) => (index === vcpu ? steps : 0))
      replaySteps(memory, config, module, only)
    }
    return memory
  }

  test('keeps no state in closures', () => {
    const random = (step: number): boolean => (Math.imul(step + SEED, 0x9e3779b1) >>> 0) % 3 === 0
    const [kept, recreated] = [run(2, 'forward'), run(2, 'forward', random)]
    expect(Buffer.compare(kept.bytes, recreated.bytes), `GODWIT_SEED=${SEED}`).toBe(0)
  })

  test.each([1, 3, 4, 64])('with %d vCPUs the order of vCPUs does not matter', (vcpus) => {
    expect(Buffer.compare(run(vcpus, 'forward').bytes, run(vcpus, 'backward').bytes), `GODWIT_SEED=${SEED}`).toBe(0)
  })
})

/** Pages other than journals that `steps` steps of one vCPU wrote, by number of writes. */
function written(options: GuestConfig['options'], steps: number): Map<number, number> {
  const config = configOf({ vcpus: 1, options: { content: 'zero', ...options }, memoryBytes: 16 * MIB })
  const memory = freshMemory(config, mutator)
  const counts = new Map<number, number>()
  const watched: ProgramModule = {
    create: (context) => {
      const program = mutator.create(context)
      return {
        step: (accessors) => {
          const from = memory.layout.cards[0]
          memory.controlBytes.fill(0, from, from + memory.layout.pageCount)
          program.step(accessors)
          const pages = memory.controlBytes.subarray(from, from + memory.layout.pageCount)
          for (let page = pages.indexOf(1); page !== -1; page = pages.indexOf(1, page + 1)) {
            if (page >= journalPages(config.memoryBytes, 1)) counts.set(page, (counts.get(page) ?? 0) + 1)
          }
        },
      }
    },
  }
  replaySteps(memory, config, watched, [steps])
  return counts
}

test.each([
  ['web', 0.02, 0.9],
  ['hot', 0.05, 0.95],
  ['diab', 0.5, 1],
  ['sparse', 0.1, 1],
])('%s: the hottest %d of the pages take %d of the writes', (workload, pages, writes) => {
  const counts = [...written({ workload }, 20_000).values()].sort((a, b) => b - a)
  const total = counts.reduce((sum, count) => sum + count, 0)
  const hot = counts.slice(0, Math.floor(4094 * pages)).reduce((sum, count) => sum + count, 0)
  expect(total).toBe(17_500)
  expect(hot / total).toBeGreaterThan(writes - 0.02)
  expect(hot / total).toBeLessThanOrEqual(Math.min(1, writes + 0.03))
})

test('sparse: a page changes within 64 bytes', () => {
  const config = configOf({ vcpus: 4, options: { workload: 'sparse', content: 'zero' }, memoryBytes: MIB })
  const { memory } = replaySteps(freshMemory(config, mutator), config, mutator, [5000, 5000, 5000, 5000])
  for (let page = journalPages(MIB, 4); page < MIB / 4096; page++) {
    const bytes = memory.bytes.subarray(page * 4096, (page + 1) * 4096)
    const changed = [...bytes.keys()].filter((index) => bytes[index] !== 0)
    if (changed.length > 0) expect((changed.at(-1) as number) - (changed[0] as number)).toBeLessThan(64)
  }
})

test('idle writes nothing; phased changes between web and hot', () => {
  expect(written({ workload: 'idle' }, 100).size).toBe(0)
  const [first, both] = [written({ workload: 'phased' }, 16_000).size, written({ workload: 'phased' }, 32_000).size]
  expect(first).toBe(written({ workload: 'web' }, 16_000).size)
  expect(both).toBeGreaterThan(first)
})

test('local: neighbours follow each other', () => {
  const pages = [...written({ workload: 'local', jump: 0, streams: 2 }, 2000).keys()]
  expect(pages.slice(1).every((page, index) => page === (pages[index] as number) + 1 || page === 1)).toBe(true)
})

test('every word of a page has one owner', () => {
  for (const vcpus of [1, 2, 3, 7, 64]) {
    for (const page of [0, 1, 2, 1000]) {
      const owners = new Set<number>()
      for (let vcpu = 0; vcpu < vcpus; vcpu++) {
        const first = firstOwned(page, vcpu, vcpus)
        for (let k = 0; k < ownedCount(page, vcpu, vcpus); k++) owners.add(first + k * vcpus)
      }
      expect(owners.size).toBe(1024)
      expect([Math.min(...owners), Math.max(...owners)]).toEqual([page * 1024, page * 1024 + 1023])
    }
  }
})

test('bad options are refused by name', () => {
  for (const options of [{ workload: 'wild' }, { content: 'noise' }, { streams: 0 }, { jump: 2 }]) {
    expect(() => mutator.mutatorOptions(options)).toThrow()
  }
})

test("a locked guest's λ: its own, its workload's, none at a free pace", () => {
  const locked = (lambda: number | null): GuestConfig => configOf({ pace: { kind: 'locked', lambda } })
  expect(lockedLambda(locked(0.5))).toBe(0.5)
  expect(lockedLambda(locked(null))).toBe(1)
  expect(lockedLambda(configOf())).toBeNull()
})
