// What a guest process does with its guest, as the shell (main.ts), the agent and the tests see it. host.ts implements
// it with the real guest, wire and migration; test/support has a fake one. Everything here is plain JSON.

import type { ErrorCode } from '../errors.ts'
import type { Progress } from '../events.ts'
import type { GuestConfig } from '../guest/config.ts'
import type { GuestMemory } from '../guest/memory.ts'
import type { Verdict } from '../migration/ownership-record.ts'
import type { Neighbour } from '../migration/ports.ts'
import type { MigrationReport } from '../migration/report.ts'
import type { Resolution } from '../migration/resolution.ts'
import type { MigrationOptions, MigrationSettings } from '../migration/settings.ts'
import type { ListenForGateways } from './host-lines.ts'

export const GUEST_STATES = [
  'running',
  'paused',
  'incoming',
  'migrating',
  'pulling',
  'handed-over',
  'kept',
  'unreconciled',
  'lost',
  'crashed',
  'stopping',
] as const
export type GuestState = (typeof GUEST_STATES)[number]

/** A guest as its process sees it now. Sizes bytes; `steps` one entry a vCPU. */
export interface GuestStatus {
  config: GuestConfig
  state: GuestState
  /** Who may run the guest, as far as this host knows. */
  owner: 'here' | 'elsewhere' | 'undecided'
  epoch: number
  steps: number[]
  stepsPerSecond: number
  residentBytes: number
  pid: number
  migration: null | {
    id: string
    role: 'source' | 'destination'
    peer: string
    progress: Progress | null
    /** Why the pull is paused; null while the link is up or there is no pull. */
    paused?: string | null
  }
  crash?: { code: ErrorCode; message: string; hint?: string }
  /** Of a kept copy: since when, ms since 1970. */
  keptSince?: number
  /** Where gateways reach it; null, or not there: nowhere. */
  service?: { port: number } | null
}

/** Body of POST /v1/reservations, sent by the source's guest process to the destination's agent. */
export interface Reservation {
  /** 32 hex digits. */
  migration: string
  /** 32 hex digits (R14). */
  token: string
  generation: number
  /** The epoch the destination will own. */
  epoch: number
  guest: GuestConfig
  /** Its operator has paused it: it stays paused when it arrives. */
  paused: boolean
  /** `host` is --advertise; null: the address the reservation came from. */
  source: {
    agent: string
    agentPort: number
    host: string | null
    controlPort: number
    dataPorts: number[]
    /** Where gateways reach the guest there, if anywhere. */
    linePort?: number | undefined
  }
  settings: MigrationSettings
  protocol: number
  capabilities: string[]
}

export interface MigrateRequest {
  /** 32 hex digits. */
  id: string
  /** The destination's agent. */
  to: { host: string; port: number }
  settings: MigrationOptions
  sourceAgent: { name: string; port: number }
  /** First and last port to listen on; [0, 0]: the system chooses each. */
  dataPortRange: [number, number]
  listenHost: string
}

export type { Resolution } from '../migration/resolution.ts'

export interface GuestHostPort {
  status(): GuestStatus
  /** Resolves with the report whatever the outcome; rejects only when the migration could not begin. */
  migrate(request: MigrateRequest): Promise<MigrationReport>
  /** Throws `too-late` behind the commit point (R24). */
  cancel(): Promise<void>
  pause(): Promise<void>
  resume(): Promise<void>
  verdict(migration: string, epoch: number): Verdict
  resolve(how: { what: Resolution; peerIsDead: boolean }): Promise<GuestStatus>
  /** Dials the source of a paused pull at once, at `via` (HOST or HOST:PORT of its control port's host) if given. */
  recover(migration: string, via: string | null): Promise<GuestStatus>
  /** Pauses, replays the guest in a separate process, compares page for page, resumes. `differing`: page numbers. */
  oracle(): Promise<{ equal: boolean; differing: number[] }>
  /** Ends threads and sockets; idempotent. */
  close(): Promise<void>
  /** What the page service shows to other guests of the agent; a fake host has none. */
  readonly memory?: GuestMemory
  /**
   * A kept copy receives its guest again: the host that comes has its memory, and this one is over. Rejects when the memory
   * is not a copy of that guest (`guest-not-running`), or as `GuestHostFactory.receive` does.
   */
  takeBack(options: ReceiveOptions): Promise<GuestHostPort>
  /**
   * Resolves when this process has no guest left and may exit: handed over (audited, memory released) or, at the
   * destination, dropped because the migration ended before the commit. Never for a crash: that stays to be looked at.
   * `kept`: the guest is gone and its memory stays as a copy, until `takeBack` or the process ends.
   */
  readonly ended: Promise<GuestEnd>
}

export type GuestEnd = 'handed-over' | 'dropped' | 'kept'

export interface CreateOptions {
  config: GuestConfig
  /** The guest's own directory: records, log. */
  directory: string
  programsDirectory: string | null
  agentName: string
  /** Where gateways may reach a guest that serves; nowhere when not given. */
  lines?: ListenForGateways | null
}

export interface ReceiveOptions {
  reservation: Reservation
  /** Host the source is dialled at. */
  sourceAddress: string
  /** Guests of this agent whose pages the source may refer to; none when not given. */
  neighbours?: readonly Neighbour[]
  directory: string
  programsDirectory: string | null
  agentName: string
  /** Where gateways may reach a guest that serves; nowhere when not given. */
  lines?: ListenForGateways | null
}

/** What host.ts exports as `GuestHost`. Both resolve when memory is allocated and the guest process is ready. */
export interface GuestHostFactory {
  create(options: CreateOptions): Promise<GuestHostPort>
  receive(options: ReceiveOptions): Promise<GuestHostPort>
}
