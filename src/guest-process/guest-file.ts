// guest.json: how a guest process was started and where it answers. The agent writes it before it spawns the process,
// the process reads it, and an agent that starts later finds the guest by it (supervise.ts).

import { createHash } from 'node:crypto'
import { readFileSync, renameSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { GodwitError } from '../errors.ts'
import { type GuestConfig, guestConfigSchema } from '../guest/config.ts'
import { SOCKET_PATH_BYTES } from '../limits.ts'
import type { Neighbour } from '../migration/ports.ts'
import type { ListenForGateways } from './host-lines.ts'
import type { Reservation } from './host-port.ts'

export interface GuestFile {
  version: 1
  /** `run` creates the guest here; `incoming` receives it by the reservation. */
  role: 'run' | 'incoming'
  config: GuestConfig
  reservation: Reservation | null
  sourceAddress: string | null
  programsDirectory: string | null
  agentName: string
  /** Where finished migrations are written; they outlive the guest. */
  reportsDirectory: string
  socketPath: string
  /** Where it serves its pages to other guests of the agent; null: it does not. A file of an older agent has none. */
  pageSocketPath?: string | null
  /** Where gateways may reach a guest that serves; not there: nowhere. */
  lines?: ListenForGateways | null
  /** `incoming`: guests here whose pages its source may refer to. */
  neighbours?: readonly Neighbour[]
  /** URL of the module that exports GuestHost; tests put another in its place. */
  hostModule: string
  pid: number | null
}

const FILE_NAME = 'guest.json'

/** Reads a guest directory's file; null when there is none or it is damaged. */
export function readGuestFile(directory: string): GuestFile | null {
  try {
    const file = JSON.parse(readFileSync(join(directory, FILE_NAME), 'utf8')) as GuestFile
    const whole = file.version === 1 && guestConfigSchema.safeParse(file.config).success
    return whole && typeof file.socketPath === 'string' ? file : null
  } catch {
    return null
  }
}

/** Replaces a small JSON file in one atomic step. */
export function writeJsonFile(path: string, content: unknown): void {
  const fresh = `${path}.${process.pid}.new`
  try {
    writeFileSync(fresh, `${JSON.stringify(content)}\n`)
    renameSync(fresh, path)
  } catch (cause) {
    throw new GodwitError('data-dir-bad', `cannot write ${path}`, { cause, hint: 'is the disk full or read-only?' })
  }
}

export function writeGuestFile(directory: string, file: GuestFile): void {
  writeJsonFile(join(directory, FILE_NAME), file)
}

/**
 * A unix socket of a guest, `guest` for the agent or `pages` for other guests: in its directory, or under the system's
 * temporary directory when that is too long.
 */
export function socketPathFor(directory: string, what: 'guest' | 'pages' = 'guest'): string {
  const beside = join(directory, `${what}.sock`)
  if (Buffer.byteLength(beside) <= SOCKET_PATH_BYTES) return beside
  const name = createHash('sha256').update(directory).digest('hex').slice(0, 24)
  return join(tmpdir(), `godwit-${name}${what === 'pages' ? '-pages' : ''}.sock`)
}
