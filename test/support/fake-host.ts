// A GuestHost without a guest: answers the shell like the real one, moves nothing. Tests of the agent give its URL as
// `hostModule`. What it does is chosen by the guest's options: `fail` (at start), `die` (after ms), `moveMs`.

import { existsSync } from 'node:fs'
import { stubReport } from '../../src/agent/stub-report.ts'
import { GodwitError } from '../../src/errors.ts'
import { publish } from '../../src/events.ts'
import type { GuestConfig } from '../../src/guest/config.ts'
import type {
  CreateOptions,
  GuestHostPort,
  GuestState,
  GuestStatus,
  MigrateRequest,
  ReceiveOptions,
} from '../../src/guest-process/host-port.ts'
import { type Verdict, writeRecord } from '../../src/migration/ownership-record.ts'
import type { MigrationReport } from '../../src/migration/report.ts'

export class GuestHost implements GuestHostPort {
  readonly ended: Promise<'handed-over' | 'dropped'>
  readonly #end: (how: 'handed-over' | 'dropped') => void
  readonly #config: GuestConfig
  readonly #directory: string
  readonly #reservation: ReceiveOptions['reservation'] | null
  #state: GuestState
  #cancelled: ((error: GodwitError) => void) | null = null
  #migration: GuestStatus['migration'] = null

  private constructor(
    config: GuestConfig,
    directory: string,
    state: GuestState,
    reservation: ReceiveOptions['reservation'] | null,
  ) {
    const { promise, resolve } = Promise.withResolvers<'handed-over' | 'dropped'>()
    this.ended = promise
    this.#end = resolve
    this.#config = config
    this.#directory = directory
    this.#state = state
    this.#reservation = reservation
    const { fail, die } = config.options
    if (typeof fail === 'string') throw new GodwitError('program-invalid', fail, { hint: 'this is a test' })
    if (typeof die === 'number') {
      setTimeout(() => {
        throw new Error('the fake guest fell over')
      }, die)
    }
  }

  static async create({ config, directory }: CreateOptions): Promise<GuestHost> {
    const host = new GuestHost(config, directory, 'running', null)
    host.#record('owner', null)
    return host
  }

  static async receive({ reservation, directory }: ReceiveOptions): Promise<GuestHost> {
    const host = new GuestHost(reservation.guest, directory, 'incoming', reservation)
    host.#migration = { id: reservation.migration, role: 'destination', peer: 'fake', progress: null }
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
    }
  }

  async migrate(request: MigrateRequest): Promise<MigrationReport> {
    if (existsSync(`${this.#directory}/refuse`)) throw new GodwitError('no-port', 'told to refuse')
    this.#state = 'migrating'
    this.#migration = { id: request.id, role: 'source', peer: `${request.to.host}:${request.to.port}`, progress: null }
    const ms = Number(this.#config.options.moveMs ?? 20)
    publish({ type: 'stage', migration: request.id, stage: 'iterate', at: 0 })
    const error = await new Promise<GodwitError | null>((resolve) => {
      this.#cancelled = resolve
      setTimeout(() => resolve(null), ms)
    })
    this.#state = error === null ? 'handed-over' : 'running'
    this.#migration = null
    if (error === null) {
      this.#record('done', request.id)
      this.#end('handed-over')
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
    this.#state = 'paused'
  }

  async resume(): Promise<void> {
    this.#state = 'running'
  }

  verdict(migration: string): Verdict {
    return this.#reservation?.migration === migration ? 'owner' : 'unknown'
  }

  async resolve(): Promise<GuestStatus> {
    throw new GodwitError('guest-not-running', 'nothing to resolve')
  }

  async recover(): Promise<GuestStatus> {
    return this.status()
  }

  async oracle(): Promise<{ equal: boolean; differing: number[] }> {
    return { equal: true, differing: [] }
  }

  async close(): Promise<void> {
    this.#state = 'stopping'
  }

  #record(state: 'owner' | 'done', migration: string | null): void {
    const role = migration === null ? null : ('source' as const)
    writeRecord(this.#directory, { version: 1, guest: this.#config.id, epoch: 1, state, migration, role, peer: null })
  }
}
