// The guests of one agent: started here, received, or found again after a restart. Knows names, memory in use and what
// a dead guest process leaves behind (R20). agent.ts is the only caller.

import { GodwitError } from '../errors.ts'
import type { GuestConfig } from '../guest/config.ts'
import { type GuestFile, socketPathFor } from '../guest-process/guest-file.ts'
import type { ListenForGateways } from '../guest-process/host-lines.ts'
import type { GuestStatus, Reservation, Resolution } from '../guest-process/host-port.ts'
import { GuestProcess, type Offer } from '../guest-process/supervise.ts'
import { type Verdict, verdictForDead, writeRecord } from '../migration/ownership-record.ts'
import type { DataDirectory } from './data-directory.ts'
import { deadStatus, isLost, lastWords, safeRecord, silentStatus } from './dead-guest.ts'
import { KeptCopies } from './kept-copies.ts'
import { offerOf, pageSocketOf } from './neighbours.ts'

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
  /** Where the processes of guests that serve listen for gateways. */
  readonly lines: () => ListenForGateways
  /** Most bytes of memory in copies that guests left behind. */
  readonly copyQuota: number
  /** Guests that come in may refer to pages of any guest here. */
  readonly sharePages: boolean
  readonly onEvent: (entry: GuestEntry, event: unknown) => void
  readonly onChange: (entry: GuestEntry, what: string) => void
}

/** A guest that has just left is gone from its host within this. */
const LEAVING_MS = 5000
const LEAVING_POLL_MS = 20
/** `resolve` asks the other host first, which may take its time to be silent. */
const RESOLVE_TIMEOUT_MS = 15_000

export class GuestTable {
  readonly #options: GuestTableOptions
  readonly #entries = new Map<string, GuestEntry>()
  /** What guests left behind: no guests, and their memory is there for guests that need it. */
  readonly copies: KeptCopies
  /** Guests being started: they count for names and memory already. */
  readonly #starting = new Map<string, GuestConfig>()
  readonly #spawning = new Set<Promise<unknown>>()
  #closed = false

  constructor(options: GuestTableOptions) {
    this.#options = options
    const { data, copyQuota: quota, onChange } = options
    this.copies = new KeptCopies({ data, quota, onChange })
  }

  /** Finds the guests that an earlier agent left running. Returns the ones that live. */
  async adopt(): Promise<GuestEntry[]> {
    const { data } = this.#options
    const found: GuestEntry[] = []
    const kept: GuestEntry[] = []
    for (const directory of data.guestDirectories()) {
      let entry: GuestEntry | null = null
      const process = await GuestProcess.adopt(directory, (event) => {
        if (entry !== null) this.#options.onEvent(entry, event)
      })
      if (process === null) continue
      entry = { config: process.file.config, process, status: null, stopping: false, abandoned: false }
      this.#entries.set(entry.config.id, entry)
      this.#watch(entry)
      if (!process.alive) continue
      await this.refresh(entry).catch(() => {})
      if (entry.status?.state === 'kept') kept.push(entry)
      else found.push(entry)
    }
    kept.sort((a, b) => (a.status?.keptSince ?? 0) - (b.status?.keptSince ?? 0))
    for (const entry of kept) this.keep(entry)
    return found
  }

  /** Names of guests whose processes are being started. */
  startingNames(): string[] {
    return [...this.#starting.values()].map(({ name }) => name)
  }

  list(): GuestEntry[] {
    return [...this.#entries.values()]
  }

  has(name: string): boolean {
    return this.list().some(({ config }) => config.name === name || config.id === name)
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
    const { agentName } = this.#options
    if (taken.some(({ id }) => id === config.id)) {
      throw new GodwitError('guest-exists', `guest '${config.name}' itself is at agent ${agentName} already`, {
        hint: `if an earlier migration of it has not ended there, wait a moment and look: godwit ps, at ${agentName}`,
      })
    }
    if (taken.some(({ name }) => name === config.name)) {
      throw new GodwitError('guest-exists', `agent ${agentName} has a guest '${config.name}' already`, {
        hint: `choose another name, or end the one at ${agentName}: godwit stop ${config.name}`,
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
    const pageSocketPath = pageSocketOf(this.#options.data.guestDirectory(config.id), null, this.#options.sharePages)
    return await this.#spawn(config, { role: 'run', reservation: null, sourceAddress: null, pageSocketPath })
  }

  /** The guest has left, and its memory stays: it is a copy from now on, and no guest. */
  keep(entry: GuestEntry): void {
    if (this.#entries.get(entry.config.id) !== entry) return
    for (const record of lastWords(entry)) this.#options.data.keepRecord(record)
    this.#entries.delete(entry.config.id)
    this.copies.add(entry)
  }

  /** Makes room for a guest that comes from elsewhere, or gives it the copy that it has left here. */
  async receive(reservation: Reservation, sourceAddress: string): Promise<GuestEntry> {
    await this.awaitLeaving(reservation.guest.id)
    const { data, sharePages } = this.#options
    const where = { directory: data.guestDirectory(reservation.guest.id), sourceAddress, sharePages }
    const offer = offerOf(this.list(), where, reservation)
    const back = await this.#tracked(() => this.#takeBack(reservation, offer))
    if (back !== null) return back
    return await this.#spawn(reservation.guest, { role: 'incoming', ...offer })
  }

  /** A guest that is on its way out may come back at once: waits until its old process is gone. */
  async awaitLeaving(id: string): Promise<void> {
    const entry = this.#entries.get(id)
    if (entry === undefined) return
    const status = entry.process.alive ? await this.refresh(entry).catch(() => null) : null
    if (status?.state === 'kept') return this.keep(entry)
    const leaving = status === null || status.state === 'handed-over' || status.state === 'stopping'
    if (!leaving) return
    const late = new Promise((resolve) => setTimeout(resolve, LEAVING_MS).unref())
    await Promise.race([entry.process.exited, this.#kept(entry), late])
    await new Promise((resolve) => setImmediate(resolve))
  }

  /** Resolves when a guest that is on its way out has become a copy; it may never do. */
  async #kept(entry: GuestEntry): Promise<void> {
    while (entry.process.alive && this.#entries.get(entry.config.id) === entry) {
      await new Promise((resolve) => setTimeout(resolve, LEAVING_POLL_MS).unref())
    }
  }

  /** Null: there is no copy of this guest that could be used, and nothing is left of one that could not. */
  async #takeBack(reservation: Reservation, offer: Offer): Promise<GuestEntry | null> {
    const { guest } = reservation
    this.admit(guest)
    this.#starting.set(guest.id, guest)
    try {
      const entry = await this.copies.take(reservation)
      if (entry === null) return null
      try {
        entry.status = await entry.process.takeBack(offer)
      } catch {
        // A copy is worth no failure: the guest is received without it.
        await this.copies.discard(entry)
        return null
      }
      this.#entries.set(guest.id, entry)
      this.#options.onChange(entry, 'incoming')
      return entry
    } finally {
      this.#starting.delete(guest.id)
    }
  }

  /** Spawns that are under way are known, so that an agent that ends leaves none behind unseen. */
  async #spawn(config: GuestConfig, how: Pick<GuestFile, 'role'> & Offer): Promise<GuestEntry> {
    return await this.#tracked(() => this.#spawnProcess(config, how))
  }

  async #tracked<T>(begin: () => Promise<T>): Promise<T> {
    if (this.#closed) throw new GodwitError('unreachable', `agent ${this.#options.agentName} is ending`)
    const spawning = begin()
    this.#spawning.add(spawning)
    try {
      return await spawning
    } finally {
      this.#spawning.delete(spawning)
    }
  }

  async #spawnProcess(config: GuestConfig, how: Pick<GuestFile, 'role'> & Offer): Promise<GuestEntry> {
    this.admit(config)
    const { data, agentName, programsDirectory, hostModule, lines } = this.#options
    const directory = data.guestDirectory(config.id)
    this.#starting.set(config.id, config)
    try {
      await this.copies.end(config.id)
      await this.copies.shrinkTo(this.#options.memoryLimit - this.usedBytes)
      const file: GuestFile = {
        version: 1,
        ...how,
        config,
        programsDirectory,
        agentName,
        reportsDirectory: data.reportsDirectory,
        socketPath: socketPathFor(directory),
        lines: lines(),
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
    const busy =
      status !== null && ['migrating', 'incoming', 'unreconciled', 'pulling', 'shared'].includes(status.state)
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
      const concerns =
        entry.status?.migration?.id === migration ||
        entry.process.file.reservation?.migration === migration ||
        safeRecord(entry, migration) !== null
      if (!concerns) continue
      if (entry.process.alive) {
        const answer = await entry.process.call<Verdict>('verdict', { migration, epoch }).catch(() => null)
        if (answer !== null && answer !== 'unknown') return answer
        // Also when it says nothing: what lives may do anything yet, and its record speaks only for the dead.
        if (entry.process.alive) {
          const kept = data.keptRecord(migration)
          return kept === null ? 'unknown' : verdictForDead(kept, migration).verdict
        }
      }
      const { verdict, write } = verdictForDead(safeRecord(entry, migration), migration)
      if (write !== null) writeRecord(entry.process.directory, write)
      const last = safeRecord(entry)?.migration === migration
      if (last && (verdict === 'released' || verdict === 'dropped')) this.#forget(entry)
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
    await this.copies.close(stopGuests)
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
    for (const record of lastWords(entry)) data.keepRecord(record)
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
