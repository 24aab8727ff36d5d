// The guests of one agent: started here, received, or found again after a restart. Knows names, memory in use and what
// a dead guest process leaves behind (R20). agent.ts is the only caller.

import { GodwitError } from '../errors.ts'
import type { GuestConfig } from '../guest/config.ts'
import { type GuestFile, readGuestFile, socketPathFor } from '../guest-process/guest-file.ts'
import type { GuestStatus, Reservation, Resolution } from '../guest-process/host-port.ts'
import { GuestProcess } from '../guest-process/supervise.ts'
import {
  type OwnershipRecord,
  readRecord,
  type Verdict,
  verdictForDead,
  writeRecord,
} from '../migration/ownership-record.ts'
import type { DataDirectory } from './data-directory.ts'

export interface GuestEntry {
  readonly config: GuestConfig
  readonly process: GuestProcess
  /** What its process said last. */
  status: GuestStatus | null
  /** True while the agent itself ends it. */
  stopping: boolean
  /** Its operator gave it up: when its process ends, nothing is kept. */
  abandoned: boolean
}

export interface GuestTableOptions {
  readonly data: DataDirectory
  readonly agentName: string
  readonly programsDirectory: string | null
  /** URL of the module with GuestHost. */
  readonly hostModule: string
  readonly memoryLimit: number
  readonly onEvent: (entry: GuestEntry, event: unknown) => void
  readonly onChange: (entry: GuestEntry, what: string) => void
}

/** A guest that has just left is gone from its host within this. */
const LEAVING_MS = 5000
/** `resolve` asks the other host first, which may take its time to be silent. */
const RESOLVE_TIMEOUT_MS = 15_000

export class GuestTable {
  readonly #options: GuestTableOptions
  readonly #entries = new Map<string, GuestEntry>()
  /** Guests being started: they count for names and memory already. */
  readonly #starting = new Map<string, GuestConfig>()
  readonly #spawning = new Set<Promise<GuestEntry>>()
  #closed = false

  constructor(options: GuestTableOptions) {
    this.#options = options
  }

  /** Finds the guests that an earlier agent left running. Returns the ones that live. */
  async adopt(): Promise<GuestEntry[]> {
    const { data } = this.#options
    const found: GuestEntry[] = []
    for (const directory of data.guestDirectories()) {
      let entry: GuestEntry | null = null
      const process = await GuestProcess.adopt(directory, (event) => {
        if (entry !== null) this.#options.onEvent(entry, event)
      })
      if (process === null) continue
      entry = { config: process.file.config, process, status: null, stopping: false, abandoned: false }
      this.#entries.set(entry.config.id, entry)
      if (process.alive) {
        await this.refresh(entry).catch(() => {})
        found.push(entry)
      }
      this.#watch(entry)
    }
    return found
  }

  /** Names of guests whose processes are being started. */
  startingNames(): string[] {
    return [...this.#starting.values()].map(({ name }) => name)
  }

  list(): GuestEntry[] {
    return [...this.#entries.values()]
  }

  /** Throws `no-such-guest`. */
  byName(name: string): GuestEntry {
    const entry = this.list().find(({ config }) => config.name === name || config.id === name)
    if (entry !== undefined) return entry
    const names = this.list().map(({ config }) => config.name)
    throw new GodwitError('no-such-guest', `there is no guest '${name}' at this agent`, {
      hint: names.length === 0 ? 'this agent has no guests' : `its guests: ${names.slice(0, 10).join(', ')}`,
    })
  }

  /** Bytes of guest memory in use or promised. */
  get usedBytes(): number {
    const living = this.list().filter(({ process }) => process.alive)
    return [...living.map(({ config }) => config), ...this.#starting.values()].reduce(
      (sum, config) => sum + config.memoryBytes,
      0,
    )
  }

  /** Refuses a guest that has no room or whose name or id is taken. Throws `guest-exists`, `memory-limit`. */
  admit(config: GuestConfig): void {
    const taken = [...this.list().map((entry) => entry.config), ...this.#starting.values()]
    if (taken.some(({ name, id }) => name === config.name || id === config.id)) {
      throw new GodwitError('guest-exists', `agent ${this.#options.agentName} has a guest '${config.name}' already`, {
        hint: `choose another name, or end that one: godwit stop ${config.name}`,
      })
    }
    const free = this.#options.memoryLimit - this.usedBytes
    if (config.memoryBytes > free) {
      throw new GodwitError(
        'memory-limit',
        `agent ${this.#options.agentName} has ${mebibytes(Math.max(0, free))} of guest memory left, the guest needs ${mebibytes(config.memoryBytes)}`,
        { hint: 'stop a guest there, or raise its --memory-limit' },
      )
    }
  }

  /** Starts a guest here. */
  async start(config: GuestConfig): Promise<GuestEntry> {
    return await this.#spawn(config, { role: 'run', reservation: null, sourceAddress: null })
  }

  /** Makes room for a guest that comes from elsewhere. */
  async receive(reservation: Reservation, sourceAddress: string): Promise<GuestEntry> {
    await this.awaitLeaving(reservation.guest.id)
    return await this.#spawn(reservation.guest, { role: 'incoming', reservation, sourceAddress })
  }

  /** A guest that is on its way out may come back at once: waits until its old process is gone. */
  async awaitLeaving(id: string): Promise<void> {
    const entry = this.#entries.get(id)
    if (entry === undefined) return
    const status = entry.process.alive ? await this.refresh(entry).catch(() => null) : null
    const leaving = status === null || status.state === 'handed-over' || status.state === 'stopping'
    if (!leaving) return
    await Promise.race([entry.process.exited, new Promise((resolve) => setTimeout(resolve, LEAVING_MS).unref())])
    await new Promise((resolve) => setImmediate(resolve))
  }

  /** Spawns that are under way are known, so that an agent that ends leaves none behind unseen. */
  async #spawn(
    config: GuestConfig,
    how: Pick<GuestFile, 'role' | 'reservation' | 'sourceAddress'>,
  ): Promise<GuestEntry> {
    if (this.#closed) throw new GodwitError('unreachable', `agent ${this.#options.agentName} is ending`)
    const spawning = this.#spawnProcess(config, how)
    this.#spawning.add(spawning)
    try {
      return await spawning
    } finally {
      this.#spawning.delete(spawning)
    }
  }

  async #spawnProcess(
    config: GuestConfig,
    how: Pick<GuestFile, 'role' | 'reservation' | 'sourceAddress'>,
  ): Promise<GuestEntry> {
    this.admit(config)
    const { data, agentName, programsDirectory, hostModule } = this.#options
    const directory = data.guestDirectory(config.id)
    this.#starting.set(config.id, config)
    try {
      const file: GuestFile = {
        version: 1,
        ...how,
        config,
        programsDirectory,
        agentName,
        reportsDirectory: data.reportsDirectory,
        socketPath: socketPathFor(directory),
        hostModule,
        pid: null,
      }
      let entry: GuestEntry | null = null
      const started = await GuestProcess.start(directory, file, (event) => {
        if (entry !== null) this.#options.onEvent(entry, event)
      })
      entry = { config, process: started.process, status: started.status, stopping: false, abandoned: false }
      this.#entries.set(config.id, entry)
      this.#options.onChange(entry, how.role === 'run' ? 'started' : 'incoming')
      this.#watch(entry)
      return entry
    } catch (error) {
      data.removeGuest(config.id)
      throw error
    } finally {
      this.#starting.delete(config.id)
    }
  }

  /** Asks the process; the last known status stays when it is gone. */
  async refresh(entry: GuestEntry): Promise<GuestStatus> {
    entry.status = await entry.process.call<GuestStatus>('status', null, 5000)
    return entry.status
  }

  /** The status to show, of living and dead guests alike. */
  async statusOf(entry: GuestEntry): Promise<GuestStatus> {
    try {
      return await this.refresh(entry)
    } catch (error) {
      const cause = GodwitError.from(error)
      // A process that lives and does not answer may be busy or stopped: what it said last is the best there is.
      return entry.process.alive && entry.status !== null ? silentStatus(entry.status, cause) : deadStatus(entry, cause)
    }
  }

  /** Ends a guest for good. Throws `guest-busy` while the other host has a say in it, unless forced. */
  async stop(entry: GuestEntry, force: boolean): Promise<void> {
    const status = entry.process.alive ? await this.statusOf(entry) : null
    const busy = status !== null && ['migrating', 'incoming', 'unreconciled', 'pulling'].includes(status.state)
    if (busy && !force) {
      throw new GodwitError('guest-busy', `guest ${entry.config.name} is ${status.state}`, { hint: stopHint(status) })
    }
    entry.stopping = true
    await entry.process.stop()
    this.#forget(entry)
  }

  /**
   * What an operator decided about a guest in doubt; the guest process carries it out. One that has died with a part of
   * the memory can only be given up, and that is done here.
   */
  async resolve(entry: GuestEntry, how: { what: Resolution; peerIsDead: boolean }): Promise<GuestStatus> {
    if (!entry.process.alive) return this.#resolveDead(entry, how.what)
    entry.abandoned = how.what === 'abandon'
    try {
      entry.status = await entry.process.call<GuestStatus>('resolve', how, RESOLVE_TIMEOUT_MS)
    } catch (error) {
      entry.abandoned = false
      throw error
    }
    return entry.status
  }

  #resolveDead(entry: GuestEntry, what: Resolution): GuestStatus {
    const { name } = entry.config
    const status = deadStatus(entry, new GodwitError('guest-crashed', `its process is gone: ${entry.process.cause}`))
    if (status.state !== 'lost' || what === 'take' || what === 'take-stale') {
      throw new GodwitError('guest-not-running', `the process of guest ${name} is gone: nothing to resolve here`, {
        hint: status.state === 'lost' ? `give it up: godwit resolve ${name} --abandon` : `see: godwit show ${name}`,
      })
    }
    if (what === 'abandon') this.#forget(entry)
    return status
  }

  /** What became of a migration, for the peer that asks: the living process knows, else the record (R20). */
  async verdict(migration: string, epoch: number): Promise<Verdict> {
    const { data } = this.#options
    for (const entry of this.list()) {
      const record = safeRecord(entry)
      const concerns =
        entry.status?.migration?.id === migration ||
        entry.process.file.reservation?.migration === migration ||
        record?.migration === migration
      if (!concerns) continue
      if (entry.process.alive) {
        const answer = await entry.process.call<Verdict>('verdict', { migration, epoch }).catch(() => null)
        if (answer !== null && answer !== 'unknown') return answer
        if (answer === 'unknown' && entry.process.alive) {
          const kept = data.keptRecord(migration)
          return kept === null ? 'unknown' : verdictForDead(kept, migration).verdict
        }
      }
      const { verdict, write } = verdictForDead(safeRecord(entry), migration)
      if (write !== null) writeRecord(entry.process.directory, write)
      if (verdict === 'released' || verdict === 'dropped') this.#forget(entry)
      return verdict
    }
    const kept = data.keptRecord(migration)
    if (kept !== null) return verdictForDead(kept, migration).verdict
    const report = data.readReport(migration)
    if (report?.owner === 'destination') return 'released'
    return report?.owner === 'source' ? 'not-released' : 'unknown'
  }

  /** Ends or lets go of every guest process. */
  async close(stopGuests: boolean): Promise<void> {
    this.#closed = true
    await Promise.allSettled(this.#spawning)
    const living = this.list().filter(({ process }) => process.alive)
    if (stopGuests) await Promise.all(living.map((entry) => this.stop(entry, true)))
    else for (const { process } of living) process.release()
  }

  #watch(entry: GuestEntry): void {
    void entry.process.exited.then(() => {
      if (entry.stopping || this.#entries.get(entry.config.id) !== entry) return
      const record = safeRecord(entry)
      const incoming = entry.process.file.role === 'incoming'
      // R20: a destination that died before it was the owner never ran; the source may have its guest back.
      if (record?.state === 'incoming') writeRecord(entry.process.directory, { ...record, state: 'dropped' })
      // R22: its memory was spread over two hosts; the source hears of it when it asks.
      if (record !== null && isLost(record)) writeRecord(entry.process.directory, { ...record, state: 'lost' })
      const left = record === null ? incoming : ['released', 'done', 'dropped', 'incoming'].includes(record.state)
      // A guest that is lost stays to be looked at, until somebody gives it up.
      const gone = left || entry.abandoned
      if (gone) this.#forget(entry)
      this.#options.onChange(entry, gone ? 'left' : isLost(record) ? 'lost' : 'crashed')
    })
  }

  #forget(entry: GuestEntry): void {
    const { data } = this.#options
    const record = safeRecord(entry)
    if (record !== null) data.keepRecord(record)
    if (this.#entries.get(entry.config.id) === entry) this.#entries.delete(entry.config.id)
    data.removeGuest(entry.config.id)
  }
}

function stopHint({ state, owner, config }: GuestStatus): string {
  if (state === 'migrating' && owner === 'here') return `first: godwit cancel ${config.name}`
  if (state === 'migrating' && owner === 'elsewhere') return 'it runs at its destination and needs its memory from here'
  return 'add --force to end it anyway'
}

const mebibytes = (bytes: number): string => `${Math.floor(bytes / 1024 / 1024)} MiB`

function safeRecord(entry: GuestEntry): OwnershipRecord | null {
  try {
    return readRecord(entry.process.directory)
  } catch {
    return null
  }
}

function silentStatus(last: GuestStatus, { code, message }: GodwitError): GuestStatus {
  return { ...last, stepsPerSecond: 0, crash: { code, message, hint: 'its process lives: see its log, or end it' } }
}

/** R22: the process died while part of the memory was at the other host, and took the rest along. */
const isLost = (record: OwnershipRecord | null): boolean =>
  record?.state === 'lost' || (record?.state === 'owner' && record.role === 'destination' && record.pull === true)

function deadStatus(entry: GuestEntry, error: GodwitError): GuestStatus {
  const last = entry.status
  const record = safeRecord(entry)
  const lost = isLost(record)
  const { code, message, hint } = lost ? lostError(entry, error) : error
  return {
    config: entry.config,
    state: lost ? 'lost' : 'crashed',
    owner: 'here',
    epoch: last?.epoch ?? record?.epoch ?? 0,
    steps: last?.steps ?? [],
    stepsPerSecond: 0,
    residentBytes: 0,
    pid: readGuestFile(entry.process.directory)?.pid ?? entry.process.pid,
    migration: null,
    crash: { code, message, ...(hint === undefined ? {} : { hint }) },
  }
}

function lostError({ config }: GuestEntry, { message }: GodwitError): GodwitError {
  return new GodwitError('lost', `${message}; part of its memory was still at the other host`, {
    hint: `give it up: godwit resolve ${config.name} --abandon; or take it back at its source: --take-stale`,
  })
}
