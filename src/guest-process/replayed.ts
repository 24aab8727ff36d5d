// Whether a guest is what its replay says, asked of a guest that runs here. Used by host.ts.

import type { GuestConfig } from '../guest/config.ts'
import type { GuestMemory } from '../guest/memory.ts'
import type { GuestVcpus } from '../guest/vcpus.ts'
import { runOracle } from '../programs/oracle.ts'

export interface Replayable {
  readonly memory: GuestMemory
  readonly config: GuestConfig
  readonly vcpus: GuestVcpus
  readonly programsDirectory: string | null
}

/** Pauses the vCPUs, compares page for page, and resumes if it still `mayResume`. `differing`: page numbers. */
export async function replayed(
  { memory, config, vcpus, programsDirectory }: Replayable,
  mayResume: () => boolean,
): Promise<{ equal: boolean; differing: number[] }> {
  await vcpus.pause()
  try {
    const { equal, differing } = await runOracle({ memory, config, programsDirectory, states: vcpus.save() })
    return { equal, differing }
  } finally {
    if (mayResume()) vcpus.resume()
  }
}
