// Small guests for tests of the guest runtime and its programs: a configuration, a started guest, and its end.

import { onTestFinished } from 'vitest'
import type { GodwitError } from '../../src/errors.ts'
import type { GuestConfig } from '../../src/guest/config.ts'
import { GuestMemory } from '../../src/guest/memory.ts'
import { GuestVcpus } from '../../src/guest/vcpus.ts'
import { programSource } from '../../src/programs/registry.ts'

export const MIB = 1024 * 1024

/** The seed of this run; GODWIT_SEED gives it. */
export const SEED = Number(process.env.GODWIT_SEED ?? Math.floor(Math.random() * 2 ** 31))

export function configOf(changes: Partial<GuestConfig> = {}): GuestConfig {
  return {
    id: '0'.repeat(32),
    name: 'test',
    memoryBytes: 2 * MIB,
    vcpus: 2,
    program: 'mutator',
    programHash: null,
    options: { workload: 'hot', content: 'mix' },
    seed: 1,
    pace: { kind: 'free', perSecond: null },
    ...changes,
  }
}

export interface Started {
  readonly config: GuestConfig
  readonly memory: GuestMemory
  readonly vcpus: GuestVcpus
  readonly crashed: Promise<GodwitError>
}

/** A guest whose threads end with the test. */
export async function startGuest(
  changes: Partial<GuestConfig> = {},
  more: { programsDirectory?: string; startPaused?: boolean; oneByOneMs?: number; memory?: GuestMemory } = {},
): Promise<Started> {
  const config = configOf(changes)
  const memory = more.memory ?? GuestMemory.create(config.memoryBytes, config.vcpus)
  const { promise: crashed, resolve: onCrash } = Promise.withResolvers<GodwitError>()
  const programs = programSource(more.programsDirectory ?? null)
  const { startPaused = false, oneByOneMs = 0 } = more
  const oneByOneUntil = performance.now() + oneByOneMs
  const vcpus = await GuestVcpus.create({ memory, config, programs, startPaused, oneByOneUntil, onCrash })
  onTestFinished(() => vcpus.close())
  return { config, memory, vcpus, crashed }
}

/** Waits until all vCPUs together have done `steps` more steps. */
export async function stepsMore(vcpus: GuestVcpus, steps: number): Promise<void> {
  const target = vcpus.steps() + steps
  while (vcpus.steps() < target) await new Promise((resolve) => setTimeout(resolve, 1))
}
