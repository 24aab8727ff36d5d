// The workload `free`: deterministic, at least half of the memory free at any time, and it notices a page that is stale.

import { describe, expect, test } from 'vitest'
import { Accessors } from '../../src/guest/accessors.ts'
import type { GuestConfig } from '../../src/guest/config.ts'
import type { GuestMemory } from '../../src/guest/memory.ts'
import { registersOf } from '../../src/guest/safepoint.ts'
import * as mutator from '../../src/programs/mutator.ts'
import { freshMemory, replaySteps } from '../../src/programs/replay.ts'
import { configOf, MIB, SEED } from './guest-fixture.ts'

const configFor = (vcpus: number, more: GuestConfig['options'] = {}): GuestConfig =>
  configOf({ vcpus, options: { workload: 'free', content: 'random', ...more }, memoryBytes: MIB, seed: SEED })
const freeCount = ({ free }: GuestMemory): number => free.reduce((sum, each) => sum + each, 0)
const isZero = (memory: GuestMemory, page: number): boolean =>
  memory.bytes.subarray(page * 4096, (page + 1) * 4096).every((byte) => byte === 0)

describe.each([1, 3, 4, 64])('%d vCPUs', (vcpus) => {
  test('at least half of the memory is free before and after every step', () => {
    const config = configFor(vcpus)
    const memory = freshMemory(config, mutator)
    const counts = [freeCount(memory)]
    const watched = {
      create: (context: Parameters<typeof mutator.create>[0]) => {
        const program = mutator.create(context)
        return {
          step: (accessors: Accessors) => {
            program.step(accessors)
            counts.push(freeCount(memory))
          },
        }
      },
    }
    const steps = Array.from({ length: vcpus }, () => Math.ceil(12_000 / vcpus))
    replaySteps(memory, config, watched, steps)
    expect(Math.min(...counts)).toBeGreaterThanOrEqual(memory.layout.pageCount / 2)
    expect(Math.max(...counts)).toBeLessThan(memory.layout.pageCount * 0.8)
  })

  test('memory and free map follow from the steps alone, in any order and with programs made anew', () => {
    const config = configFor(vcpus)
    const steps = Array.from({ length: vcpus }, (_, vcpu) => 3000 + 100 * vcpu)
    const forward = replaySteps(freshMemory(config, mutator), config, mutator, steps).memory
    const other = freshMemory(config, mutator)
    for (let vcpu = vcpus - 1; vcpu >= 0; vcpu--) {
      const only = steps.map((count, index) => (index === vcpu ? count : 0))
      replaySteps(other, config, mutator, only, (step) => step % 3 === 0)
    }
    expect(Buffer.compare(other.bytes, forward.bytes), `GODWIT_SEED=${SEED}`).toBe(0)
    expect([...other.free]).toEqual([...forward.free])
  })
})

test('free pages begin with content, and a page in use begins with a stamp', () => {
  const memory = freshMemory(configFor(2), mutator)
  for (const [page, free] of memory.free.entries()) {
    expect(isZero(memory, page)).toBe(false)
    expect(free).toBe(page / 2 < 51 ? 0 : 1)
  }
})

test('without declare the map stays empty, and the pages in use hold the same', () => {
  const steps = [6000, 6000]
  const [told, silent] = [{}, { declare: 'false' }].map((more) => {
    const config = configFor(2, more)
    return replaySteps(freshMemory(config, mutator), config, mutator, steps).memory
  }) as [GuestMemory, GuestMemory]
  expect(freeCount(silent)).toBe(0)
  expect(freeCount(told)).toBeGreaterThanOrEqual(128)
  for (const [page, free] of told.free.entries()) {
    if (free !== 0) continue
    const range = [page * 4096, (page + 1) * 4096] as const
    expect(Buffer.compare(told.bytes.subarray(...range), silent.bytes.subarray(...range))).toBe(0)
  }
})

test('declare: true, false, or their names', () => {
  for (const declare of [true, 'true']) expect(mutator.mutatorOptions({ declare }).declare).toBe(true)
  for (const declare of [false, 'false']) expect(mutator.mutatorOptions({ declare }).declare).toBe(false)
  expect(mutator.mutatorOptions({}).declare).toBe(true)
  expect(() => mutator.mutatorOptions({ declare: 'no' })).toThrow(/declare/)
})

describe('what a migration must not lose', () => {
  /** Runs a guest, changes its memory by `harm`, and runs it on. */
  const runOn = (harm: (memory: GuestMemory) => void): void => {
    const config = configFor(1)
    const memory = freshMemory(config, mutator)
    replaySteps(memory, config, mutator, [2000])
    harm(memory)
    const accessors = new Accessors(memory, registersOf(memory, 0))
    const program = mutator.create({ ...config, vcpu: 0, registers: accessors.registers })
    for (let step = 0; step < 20_000; step++) program.step(accessors)
  }

  test('as it was it goes on; garbage in free pages may change', () => {
    runOn(() => {})
    runOn((memory) => {
      for (const [page, free] of memory.free.entries()) {
        if (free !== 0) memory.bytes.fill(0, page * 4096, (page + 1) * 4096)
      }
    })
  })

  test('a page in use that is lost is noticed', () => {
    expect(() =>
      runOn((memory) => {
        const page = memory.free.indexOf(0)
        memory.bytes.fill(0, page * 4096, (page + 1) * 4096)
      }),
    ).toThrow(/stale page/)
  })
})
