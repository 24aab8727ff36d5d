// A guest hosted by an application in its own process: the library's front door. Uses the same classes as the guest
// process of an agent; only the shell differs.

import { randomBytes } from 'node:crypto'
import { mkdtemp, rm } from 'node:fs/promises'
import { hostname, tmpdir } from 'node:os'
import { basename, dirname, join, resolve } from 'node:path'
import { GodwitError } from '../errors.ts'
import { type MigrationEvent, onMigrationEvent } from '../events.ts'
import { type GuestConfig, guestConfigSchema, type Pace } from '../guest/config.ts'
import { API_PORT, DATA_PORT_FIRST, DATA_PORT_LAST } from '../limits.ts'
import type { MigrationReport } from '../migration/report.ts'
import { type MigrationOptions, settingsSchema } from '../migration/settings.ts'
import { BUILT_IN_PROGRAMS, programSource } from '../programs/registry.ts'
import { parseBytes } from '../quantities.ts'
import { GuestHost } from './host.ts'
import type { GuestStatus } from './host-port.ts'

export interface GuestOptions {
  /** Bytes, or text such as '64MiB'; 64 KiB to 4 GiB. */
  memory: number | string
  vcpus?: number
  /** A built-in program's name, or the path of a module that keeps the program contract. */
  program: string
  /** Options handed to the program. */
  options?: GuestConfig['options']
  name?: string
  seed?: number
  /** Default: free, without a limit. */
  pace?: Pace
}

/** Without `keepCopy`: no agent is here that could give a copy to the guest when it returns. */
export interface GuestMigrationOptions extends Omit<MigrationOptions, 'keepCopy'> {
  /** The destination agent: 'host', 'host:port' or its URL. */
  to: string
  /** Cancels the migration while it still can be (R24). */
  signal?: AbortSignal
  /** Ports the channels may listen on; default 7410–7499. */
  dataPorts?: [number, number]
  /** Address the channels listen on; default: every address. */
  listen?: string
}

/** A migration under way. */
export interface Move {
  readonly id: string
  /** Stages, rounds and progress as they happen; ends with the migration. */
  readonly events: AsyncIterable<MigrationEvent>
  /** The report, whatever the outcome; rejects only when the migration could not begin. */
  readonly result: Promise<MigrationReport>
}

/**
 * A running guest in this process.
 *
 * ```ts
 * const guest = await Guest.create({ memory: '64MiB', vcpus: 2, program: './counter.ts' })
 * const move = guest.migrate({ to: 'host:7400' })
 * for await (const event of move.events) console.log(event)
 * const report = await move.result
 * ```
 */
export class Guest {
  readonly #host: GuestHost
  readonly #directory: string

  private constructor(host: GuestHost, directory: string) {
    this.#host = host
    this.#directory = directory
  }

  /** Creates and starts a guest. Throws `bad-size`, `usage`, `program-missing` or `program-invalid`. */
  static async create(options: GuestOptions): Promise<Guest> {
    const builtIn = BUILT_IN_PROGRAMS.includes(options.program)
    const path = resolve(options.program)
    const programsDirectory = builtIn ? null : dirname(path)
    const program = builtIn ? options.program : basename(path)
    const id = randomBytes(16).toString('hex')
    const parsed = guestConfigSchema.safeParse({
      id,
      name: options.name ?? `guest-${id.slice(0, 8)}`,
      memoryBytes: typeof options.memory === 'number' ? options.memory : parseBytes(options.memory),
      vcpus: options.vcpus ?? 1,
      program,
      programHash: await programSource(programsDirectory).hashOf(program),
      options: options.options ?? {},
      seed: options.seed ?? 1,
      pace: options.pace ?? { kind: 'free', perSecond: null },
    })
    if (!parsed.success) throw new GodwitError('usage', parsed.error.issues[0]?.message ?? 'bad guest options')
    const directory = await mkdtemp(join(tmpdir(), 'godwit-guest-'))
    const host = await GuestHost.create({ config: parsed.data, directory, programsDirectory, agentName: hostname() })
    return new Guest(host, directory)
  }

  status(): GuestStatus {
    return this.#host.status()
  }

  /** Moves the guest to another host's agent while it runs. */
  migrate(options: GuestMigrationOptions): Move {
    const { to, signal, dataPorts, listen, ...settings } = options
    const id = randomBytes(16).toString('hex')
    const checked = { to: parseAgent(to), settings: settingsSchema.parse(settings) }
    const events = new EventQueue(id)
    // The signal is this migration's: when it was refused, another one may be under way.
    const cancel = (): void => {
      if (this.#host.status().migration?.id === id) this.#host.cancel().catch(() => {})
    }
    signal?.addEventListener('abort', cancel, { once: true })
    const result = this.#host
      .migrate({
        id,
        ...checked,
        sourceAgent: { name: hostname(), port: 0 },
        dataPortRange: dataPorts ?? [DATA_PORT_FIRST, DATA_PORT_LAST],
        listenHost: listen ?? '0.0.0.0',
      })
      .finally(() => {
        signal?.removeEventListener('abort', cancel)
        events.end()
      })
    result.catch(() => {})
    if (signal?.aborted) cancel()
    return { id, events, result }
  }

  pause(): Promise<void> {
    return this.#host.pause()
  }

  resume(): Promise<void> {
    return this.#host.resume()
  }

  /** Ends the vCPU threads and every socket, and removes what the guest kept on disk. */
  async close(): Promise<void> {
    await this.#host.close()
    await rm(this.#directory, { recursive: true, force: true })
  }
}

/** 'host', 'host:port' or 'http://host:port' → host and port. Throws `usage`. */
export function parseAgent(text: string): { host: string; port: number } {
  try {
    const url = new URL(text.includes('://') ? text : `http://${text}`)
    return { host: url.hostname.replace(/^\[|\]$/g, ''), port: url.port === '' ? API_PORT : Number(url.port) }
  } catch (cause) {
    throw new GodwitError('usage', `'${text}' is no agent address`, { cause, hint: 'write HOST, HOST:PORT or a URL' })
  }
}

/** Events of one migration as an async iterable; what nobody reads is dropped when the migration ends. */
class EventQueue implements AsyncIterable<MigrationEvent> {
  readonly #events: MigrationEvent[] = []
  readonly #unsubscribe: () => void
  #wake: () => void = () => {}
  #ended = false

  constructor(migration: string) {
    this.#unsubscribe = onMigrationEvent(migration, (event) => {
      this.#events.push(event)
      this.#wake()
    })
  }

  end(): void {
    this.#ended = true
    this.#unsubscribe()
    this.#wake()
  }

  async *[Symbol.asyncIterator](): AsyncIterator<MigrationEvent> {
    for (;;) {
      while (this.#events.length > 0) yield this.#events.shift() as MigrationEvent
      if (this.#ended) return
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }
}
