// Which programs this host can run: the built-in ones, and files in --programs DIR by their plain name. The agent asks
// when a guest is started and when one is offered; the guest process loads the same file.

import { createHash } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { GodwitError } from '../errors.ts'
import type { GuestConfig } from '../guest/config.ts'

/** Programs that come with Godwit. */
export const BUILT_IN_PROGRAMS: readonly string[] = ['mutator']

const FILE_NAME = /^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,250}\.(ts|mts|js|mjs)$/

/** SHA-256 (hex) of a user's program, null for a built-in one. Throws `program-missing`. */
export function programHash(program: string, directory: string | null): string | null {
  if (BUILT_IN_PROGRAMS.includes(program)) return null
  const known = `built in: ${BUILT_IN_PROGRAMS.join(', ')}`
  if (!FILE_NAME.test(program)) {
    throw new GodwitError('program-missing', `'${program.slice(0, 80)}' is no program's name`, {
      hint: `${known}; your own are files such as counter.ts in the agent's --programs directory`,
    })
  }
  if (directory === null) {
    throw new GodwitError('program-missing', `the agent has no programs of its own, so no '${program}'`, {
      hint: `${known}; start the agent with --programs DIR, where DIR holds ${program}`,
    })
  }
  try {
    return createHash('sha256')
      .update(readFileSync(join(directory, program)))
      .digest('hex')
  } catch (cause) {
    throw new GodwitError('program-missing', `there is no program '${program}' in ${directory}`, {
      hint: `copy the file ${program} there; ${known}`,
      cause,
    })
  }
}

/** Refuses a guest whose program this host lacks or has in another version. */
export function requireProgram(guest: GuestConfig, directory: string | null, agentName: string): void {
  const hash = programHash(guest.program, directory)
  if (hash === guest.programHash) return
  throw new GodwitError('program-differs', `program '${guest.program}' differs from the one at agent ${agentName}`, {
    hint: `copy the source's ${guest.program} into ${directory ?? 'the --programs directory'} of ${agentName}, then try again`,
  })
}
