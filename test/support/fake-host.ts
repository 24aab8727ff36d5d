// A GuestHost without a guest: answers the shell like the real one, moves nothing. Tests of the agent give its URL as
// `hostModule`. What it does is chosen by the guest's options: `fail` (at start), `die` (when it is paused), `moveMs` (or until
// its directory has a file `arrive`), `mute` (says no verdict); `arrives` (`pulling`: paused by a lost link, until recovered;
// `lost`) is what a received guest is.

import { existsSync } from 'node:fs'
import { stubReport } from '../../src/agent/stub-report.ts'
import { GodwitError } from '../../src/errors.ts'
import { type Progress, publish } from '../../src/events.ts'
import type { GuestConfig } from '../../src/guest/config.ts'
import type {
  CreateOptions,
  GuestEnd,
  GuestHostPort,
  GuestState,
  GuestStatus,
  MigrateRequest,
  ReceiveOptions,
  Resolution,
} from '../../src/guest-process/host-port.ts'
import { type OwnershipRecord, type Verdict, writeRecord } from '../../src/migration/ownership-record.ts'
import type { MigrationReport } from '../../src/migration/report.ts'

const PULLING: Progress = {
  stage: 'pull',
  round: 0,
  workDone: 100,
  cleanPages: 156,
  totalPages: 256,
  bytesSent: 1_000_000,
  bytesPerSecond: 2.5e8,
  dirtyPagesPerSecond: 0,
  predictedDowntimeMs: null,
  trend: 'unknown',
  etaMs: null,
  missingPages: 100,
  faults: 7,
  reason: 'paused: the connection was lost',
}

export class GuestHost implements GuestHostPort {
  readonly ended: Promise<GuestEnd>
  readonly #end: (how: GuestEnd) => void
  readonly #config: GuestConfig
  readonly #directory: string
  readonly #reservation: ReceiveOptions['reservation'] | null
  #state: GuestState
  #cancelled: ((error: GodwitError) => void) | null = null
  #migration: GuestStatus['migration'] = null
  #keptSince: number | null = null

  private constructor(
    config: GuestConfig,
    directory: string,
    state: GuestState,
    reservation: ReceiveOptions['reservation'] | null,
  ) {
    const { promise, resolve } = Promise.withResolvers<GuestEnd>()
    this.ended = promise
    this.#end = resolve
    this.#config = config
    this.#directory = directory
    this.#state = state
    this.#reservation = reservation
    const { fail } = config.options
    if (typeof fail === 'string') throw new GodwitError('program-invalid', fail, { hint: 'this is a test' })
  }

  static async create({ config, directory }: CreateOptions): Promise<GuestHost> {
    const host = new GuestHost(config, directory, 'running', null)
    host.#record('owner', null)
    return host
  }

  static async receive({ reservation, directory }: ReceiveOptions): Promise<GuestHost> {
    const host = new GuestHost(reservation.guest, directory, 'incoming', reservation)
    host.#migration = { id: reservation.migration, role: 'destination', peer: 'fake', progress: null }
    const { arrives } = reservation.guest.options
    if (arrives === 'pulling') {
      host.#state = 'pulling'
      host.#migration = { ...host.#migration, progress: PULLING, paused: 'the connection was lost' }
      host.#record('owner', reservation.migration, { role: 'destination', pull: true })
    } else if (arrives === 'lost') {
      host.#state = 'lost'
      host.#record('lost', reservation.migration, { role: 'destination', pull: true })
    }
    return host
  }

  status(): GuestStatus {
    return {
      config: this.#config,
      state: this.#state,
      owner: this.#state === 'incoming' ? 'elsewhere' : 'here',
      epoch: 1,
      steps: [42],
      stepsPerSecond: 1000,
      residentBytes: process.memoryUsage.rss(),
      pid: process.pid,
      migration: this.#migration,
      ...(this.#keptSince === null ? {} : { keptSince: this.#keptSince }),
    }
  }

  /** With the option `spoilt` it never succeeds. */
  async takeBack(options: ReceiveOptions): Promise<GuestHost> {
    if (this.#config.options.spoilt === true) throw new GodwitError('internal', 'told to fail')
    return await GuestHost.receive(options)
  }

  async migrate(request: MigrateRequest): Promise<MigrationReport> {
    if (existsSync(`${this.#directory}/refuse`)) throw new GodwitError('no-port', 'told to refuse')
    this.#state = 'migrating'
    this.#migration = { id: request.id, role: 'source', peer: `${request.to.host}:${request.to.port}`, progress: null }
    const ms = Number(this.#config.options.moveMs ?? 20)
    publish({ type: 'stage', migration: request.id, stage: 'iterate', at: 0 })
    let look: NodeJS.Timeout | undefined
    const error = await new Promise<GodwitError | null>((resolve) => {
      this.#cancelled = resolve
      setTimeout(() => resolve(null), ms)
      look = setInterval(() => {
        if (existsSync(`${this.#directory}/arrive`)) resolve(null)
      }, 10)
    })
    clearInterval(look)
    this.#state = error === null ? 'handed-over' : 'running'
    this.#migration = null
    if (error === null) {
      this.#record('done', request.id)
      const keep = request.settings.keepCopy === true
      if (keep) {
        this.#state = 'kept'
        this.#keptSince = Date.now()
      }
      this.#end(keep ? 'kept' : 'handed-over')
    }
    return {
      ...stubReport({
        id: request.id,
        guest: this.#config,
        source: request.sourceAgent.name,
        destination: 'fake',
        settings: request.settings,
        outcome: error === null ? 'completed' : 'cancelled',
        owner: error === null ? 'destination' : 'source',
        error: error ?? new GodwitError('internal', 'none'),
        totalMs: ms,
      }),
      consistent: true,
    }
  }

  async cancel(): Promise<void> {
    if (this.#cancelled === null) throw new GodwitError('no-such-migration', 'nothing to cancel')
    this.#cancelled(new GodwitError('cancelled', 'cancelled by the test'))
  }

  async pause(): Promise<void> {
    if (this.#config.options.die === true) {
      setImmediate(() => {
        throw new Error('the fake guest fell over')
      })
    }
    this.#state = 'paused'
  }

  async resume(): Promise<void> {
    this.#state = 'running'
  }

  verdict(migration: string): Verdict {
    if (this.#config.options.mute === true) throw new GodwitError('link-lost', 'told to say nothing')
    return this.#reservation?.migration === migration ? 'owner' : 'unknown'
  }

  async resolve({ what }: { what: Resolution }): Promise<GuestStatus> {
    if (this.#state !== 'lost') throw new GodwitError('guest-not-running', 'nothing to resolve')
    if (what === 'abandon') setTimeout(() => this.#end('dropped'), 10)
    return this.status()
  }

  async recover(migration: string, via: string | null): Promise<GuestStatus> {
    if (this.#state !== 'pulling' || this.#migration?.id !== migration) {
      throw new GodwitError('guest-not-running', 'not pulling')
    }
    if (via === 'nowhere') throw new GodwitError('unreachable', 'cannot reach the source at nowhere')
    this.#migration = { ...this.#migration, paused: null }
    return this.status()
  }

  async oracle(): Promise<{ equal: boolean; differing: number[] }> {
    return { equal: true, differing: [] }
  }

  async close(): Promise<void> {
    this.#state = 'stopping'
  }

  #record(state: OwnershipRecord['state'], migration: string | null, more: Partial<OwnershipRecord> = {}): void {
    const role = migration === null ? null : ('source' as const)
    const record = {
      version: 1,
      guest: this.#config.id,
      epoch: 1,
      state,
      migration,
      role,
      peer: null,
      ...more,
    } as const
    writeRecord(this.#directory, record)
  }
}
