// What a guest host is made of: memory, vCPU threads with their program, and word of a crash. host.ts drives it.

import type { GodwitError } from '../errors.ts'
import type { GuestConfig } from '../guest/config.ts'
import { GuestMemory } from '../guest/memory.ts'
import { touchPages } from '../guest/touch.ts'
import { GuestVcpus } from '../guest/vcpus.ts'
import { programSource } from '../programs/registry.ts'
import type { GuestState } from './host-port.ts'

export interface GuestParts {
  readonly config: GuestConfig
  readonly memory: GuestMemory
  readonly vcpus: GuestVcpus
  readonly programsDirectory: string | null
  readonly crashed: Promise<GodwitError>
  readonly state: GuestState
  readonly epoch: number
}

/**
 * Makes a guest; one that is coming in waits paused, with its memory resident: zeros, or `copy`, the pages of its kept copy.
 * Throws `bad-size` and what is wrong with the program.
 */
export async function assemble(
  config: GuestConfig,
  options: { programsDirectory: string | null; copy?: WebAssembly.Memory | null },
  begin: { state: 'running' | 'incoming'; epoch: number },
): Promise<GuestParts> {
  const memory = GuestMemory.create(config.memoryBytes, config.vcpus, options.copy)
  const { promise: crashed, resolve: onCrash } = Promise.withResolvers<GodwitError>()
  const incoming = begin.state === 'incoming'
  const [vcpus] = await Promise.all([
    GuestVcpus.create({
      memory,
      config,
      programs: programSource(options.programsDirectory),
      startPaused: incoming,
      onCrash,
    }),
    incoming && !options.copy ? touchPages(memory) : null,
  ])
  return { config, memory, vcpus, crashed, programsDirectory: options.programsDirectory, ...begin }
}
