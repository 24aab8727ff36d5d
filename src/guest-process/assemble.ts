// What a guest host is made of: memory, vCPU threads with their program, its service, and word of a crash. host.ts
// drives it.

import { GodwitError } from '../errors.ts'
import type { GuestConfig } from '../guest/config.ts'
import { GuestMemory } from '../guest/memory.ts'
import { newServiceRings } from '../guest/service-ports.ts'
import { touchPages } from '../guest/touch.ts'
import { GuestVcpus } from '../guest/vcpus.ts'
import { GENTLE_START_MS } from '../limits.ts'
import { programSource, serves } from '../programs/registry.ts'
import { GuestService } from '../service/guest-service.ts'
import type { ServiceLines } from '../service/service-lines.ts'
import { type ListenForGateways, openLines } from './host-lines.ts'
import type { GuestState } from './host-port.ts'

export interface GuestParts {
  readonly config: GuestConfig
  readonly memory: GuestMemory
  readonly vcpus: GuestVcpus
  /** Of a program that serves. */
  readonly service: GuestService | null
  /** Where its gateways come in. */
  readonly lines: ServiceLines | null
  readonly programsDirectory: string | null
  readonly crashed: Promise<GodwitError>
  readonly state: GuestState
  readonly epoch: number
}

/** Ends the vCPUs of a guest that cannot be made after all, and throws on. */
const closing =
  (vcpus: GuestVcpus) =>
  async (thrown: unknown): Promise<never> => {
    await vcpus.close()
    throw thrown
  }

/**
 * Makes a guest; one that is coming in waits paused, with its memory resident: zeros, or `copy`, the pages of its kept copy.
 * `gently`: it leaves the processors to whoever is served on them meanwhile. vCPU threads start one after the other for a while, and
 * memory becomes resident as pages come. Throws `bad-size`, what is wrong with the program, and `usage` for one that serves and steps
 * only when it is granted.
 */
export async function assemble(
  config: GuestConfig,
  options: {
    programsDirectory: string | null
    copy?: WebAssembly.Memory | null
    lines?: ListenForGateways | null | undefined
    /** Of the copy's process: they are there already. */
    oldLines?: ServiceLines | null
    gently?: boolean
  },
  begin: { state: 'running' | 'incoming'; epoch: number },
): Promise<GuestParts> {
  const { copy = null, gently = false } = options
  const serving = serves(config.program)
  if (serving && config.pace.kind === 'locked') {
    throw new GodwitError('usage', `program ${config.program} serves requests and cannot step at a locked pace`)
  }
  const memory = GuestMemory.create(config.memoryBytes, config.vcpus, copy)
  const { promise: crashed, resolve: onCrash } = Promise.withResolvers<GodwitError>()
  const incoming = begin.state === 'incoming'
  const rings = serving ? Array.from({ length: config.vcpus }, newServiceRings) : null
  const [vcpus] = await Promise.all([
    GuestVcpus.create({
      memory,
      config,
      programs: programSource(options.programsDirectory),
      startPaused: incoming,
      oneByOneUntil: gently ? performance.now() + GENTLE_START_MS : 0,
      rings,
      onCrash,
    }),
    incoming && copy === null && !gently ? touchPages(memory) : null,
  ])
  const service = rings === null ? null : new GuestService(memory, rings, !incoming)
  const { programsDirectory, oldLines = null } = options
  if (service !== null) oldLines?.serve(service)
  const lines = oldLines ?? (await openLines(options.lines, config, service).catch(closing(vcpus)))
  return { config, memory, vcpus, service, lines, crashed, programsDirectory, ...begin }
}
