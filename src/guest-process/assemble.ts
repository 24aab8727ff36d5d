// What a guest host is made of: memory, vCPU threads with their program, its service, and word of a crash. host.ts
// drives it.

import { GodwitError } from '../errors.ts'
import type { GuestConfig } from '../guest/config.ts'
import { GuestMemory } from '../guest/memory.ts'
import { newServiceRings } from '../guest/service-ports.ts'
import { touchPages } from '../guest/touch.ts'
import { GuestVcpus } from '../guest/vcpus.ts'
import { programSource, serves } from '../programs/registry.ts'
import { GuestService } from '../service/guest-service.ts'
import type { GuestState } from './host-port.ts'

export interface GuestParts {
  readonly config: GuestConfig
  readonly memory: GuestMemory
  readonly vcpus: GuestVcpus
  /** Of a program that serves. */
  readonly service: GuestService | null
  readonly programsDirectory: string | null
  readonly crashed: Promise<GodwitError>
  readonly state: GuestState
  readonly epoch: number
}

/**
 * Makes a guest; one that is coming in waits paused, with its memory resident: zeros, or `copy`, the pages of its kept copy.
 * Throws `bad-size`, what is wrong with the program, and `usage` for one that serves and steps only when it is granted.
 */
export async function assemble(
  config: GuestConfig,
  options: { programsDirectory: string | null; copy?: WebAssembly.Memory | null },
  begin: { state: 'running' | 'incoming'; epoch: number },
): Promise<GuestParts> {
  const serving = serves(config.program)
  if (serving && config.pace.kind === 'locked') {
    throw new GodwitError('usage', `program ${config.program} serves requests and cannot step at a locked pace`)
  }
  const memory = GuestMemory.create(config.memoryBytes, config.vcpus, options.copy)
  const { promise: crashed, resolve: onCrash } = Promise.withResolvers<GodwitError>()
  const incoming = begin.state === 'incoming'
  const rings = serving ? Array.from({ length: config.vcpus }, newServiceRings) : null
  const [vcpus] = await Promise.all([
    GuestVcpus.create({
      memory,
      config,
      programs: programSource(options.programsDirectory),
      startPaused: incoming,
      rings,
      onCrash,
    }),
    incoming && !options.copy ? touchPages(memory) : null,
  ])
  const service = rings === null ? null : new GuestService(memory, rings, !incoming)
  return { config, memory, vcpus, service, crashed, programsDirectory: options.programsDirectory, ...begin }
}
