// The guests that system tests move.

import type { GuestConfig } from '../../src/guest/config.ts'

export const MIB = 1024 * 1024

/** A small busy guest; give what differs. */
export function guestConfig(over: Partial<GuestConfig> = {}): GuestConfig {
  return {
    id: 'a'.repeat(32),
    name: 'guest',
    memoryBytes: 16 * MIB,
    vcpus: 2,
    program: 'mutator',
    programHash: null,
    options: { workload: 'web', content: 'mix' },
    seed: 7,
    pace: { kind: 'free', perSecond: 20_000 },
    ...over,
  }
}
