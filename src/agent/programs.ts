// Which programs this host runs: of guests that are to be started here, and of those that are offered to it.

import { GodwitError } from '../errors.ts'
import type { GuestConfig } from '../guest/config.ts'
import type { Programs } from '../programs/registry.ts'

/** Refuses a guest whose program this host lacks (`program-missing`) or has in another version (`program-differs`). */
export async function requireProgram(guest: GuestConfig, programs: Programs, agentName: string): Promise<void> {
  const hash = await programs.hashOf(guest.program)
  if (hash === guest.programHash) return
  throw new GodwitError('program-differs', `program '${guest.program}' differs from the one at agent ${agentName}`, {
    hint: `copy the source's ${guest.program} to the --programs directory of ${agentName}, then try again`,
  })
}
