// The agent: supervises the guest processes of one host, admits guests that others offer, starts migrations and keeps
// their reports. It touches no page data. http.ts puts it on the network, src/cli/commands/agent.ts runs it.

import { randomBytes } from 'node:crypto'
import { hostname, totalmem } from 'node:os'
import { resolve } from 'node:path'
import type { z } from 'zod'
import { GodwitError } from '../errors.ts'
import { type GuestConfig, guestConfigSchema } from '../guest/config.ts'
import { layoutOf } from '../guest/layout.ts'
import { bootId } from '../guest-process/boot-id.ts'
import type { GuestStatus, Reservation, Resolution } from '../guest-process/host-port.ts'
import { logPathOf, tailOf } from '../guest-process/supervise.ts'
import {
  DATA_PORT_FIRST,
  DATA_PORT_LAST,
  DEFAULT_CONCURRENT_MIGRATIONS,
  LINE_PORT_FIRST,
  LINE_PORT_LAST,
  LOG_TAIL_BYTES,
  SERVICE_PORT_FIRST,
  SERVICE_PORT_LAST,
} from '../limits.ts'
import type { MigrationReport } from '../migration/report.ts'
import type { MigrationSettings } from '../migration/settings.ts'
import { defaultPace, type Programs, programSource } from '../programs/registry.ts'
import { CAPABILITIES, PROTOCOL_VERSION } from '../wire/protocol.ts'
import { workerUrl } from '../worker-url.ts'
import type { AgentOptions } from './agent-options.ts'
import { type AgentAddress, addressText } from './client.ts'
import { DataDirectory } from './data-directory.ts'
import { whileHere } from './dead-guest.ts'
import { Departures } from './departures.ts'
import { type AgentEvent, EventHub } from './event-hub.ts'
import { type GuestEntry, GuestTable } from './guest-table.ts'
import { migrationView, viewOf } from './guest-views.ts'
import { Questions, requireSameProtocol } from './offer-check.ts'
import { requireProgram } from './programs.ts'
import type { AgentInfo, CopyView, GuestView, MigrationView, StartRequest } from './schemas.ts'
import { type reservedSchema, startSchema } from './schemas.ts'
import type { PagesView, ServiceView } from './service-view.ts'
import { Services } from './services.ts'

/** A guest process that is told to recover has dialled its source, or knows that it cannot, within this. */
const RECOVER_TIMEOUT_MS = 15_000

/** A million pages are looked through in a few milliseconds. */
const PAGES_TIMEOUT_MS = 5000

const MAX_NAME_CHARACTERS = 255

export type { AgentOptions } from './agent-options.ts'

export class Agent {
  readonly name: string
  readonly events = new EventHub()
  readonly #options: AgentOptions
  readonly #data: DataDirectory
  readonly #guests: GuestTable
  readonly #departures: Departures
  readonly #questions = new Questions()
  readonly #memoryLimit: number
  readonly #copyQuota: number
  readonly #programs: Programs
  /** Where the HTTP API answers. */
  address: AgentAddress = { host: '127.0.0.1', port: 0 }
  /** Where clients of guests are served. */
  readonly #services: Services

  private constructor(options: AgentOptions) {
    this.#options = options
    this.name = options.name ?? hostname()
    if (this.name.length === 0 || this.name.length > MAX_NAME_CHARACTERS) {
      throw new GodwitError('usage', `an agent's name has 1 to ${MAX_NAME_CHARACTERS} characters`, {
        hint: 'give a shorter --name',
      })
    }
    const hostBytes = Math.min(totalmem(), process.constrainedMemory() || totalmem())
    this.#memoryLimit = options.memoryLimit ?? Math.floor(hostBytes * 0.9)
    this.#copyQuota = options.copyMemory ?? Math.floor(this.#memoryLimit / 2)
    const programsDirectory = options.programsDirectory == null ? null : resolve(options.programsDirectory)
    this.#programs = programSource(programsDirectory)
    this.#data = DataDirectory.open(options.dataDirectory)
    this.#guests = new GuestTable({
      data: this.#data,
      agentName: this.name,
      programsDirectory,
      hostModule: options.hostModule ?? hostModuleUrl(),
      memoryLimit: this.#memoryLimit,
      copyQuota: this.#copyQuota,
      lines: () => ({
        host: this.address.host,
        portRange: options.linePortRange ?? [LINE_PORT_FIRST, LINE_PORT_LAST],
      }),
      sharePages: options.sharePages ?? false,
      onEvent: (entry, event) => this.#onGuestEvent(entry, event as AgentEvent),
      onChange: (entry, what) => this.#onGuestChange(entry, what),
    })
    this.#services = new Services({
      agentName: this.name,
      host: () => this.address.host,
      portRange: options.servicePortRange ?? [SERVICE_PORT_FIRST, SERVICE_PORT_LAST],
      entryOf: (id) => this.#guests.list().find(({ config }) => config.id === id),
      departing: (id) => this.#departures.running.find(({ entry }) => entry.config.id === id)?.to ?? null,
    })
    this.#departures = new Departures({
      data: this.#data,
      agentName: this.name,
      limit: options.maxMigrations ?? DEFAULT_CONCURRENT_MIGRATIONS,
      bandwidth: options.bandwidth ?? null,
      dataPortRange: options.dataPortRange ?? [DATA_PORT_FIRST, DATA_PORT_LAST],
      onReport: ({ entry, to }, report) => {
        this.#services.noteDeparture(entry.config.id, report.owner === 'destination' ? to : null)
        this.events.publish({ type: 'report', migration: report.id, guest: entry.config.name, report })
      },
    })
  }

  /** Locks the data directory and adopts the guests found there. Throws `data-dir-locked`, `data-dir-bad`. */
  static async open(options: AgentOptions): Promise<Agent> {
    const agent = new Agent(options)
    for (const entry of await agent.#guests.adopt()) agent.#departures.adopt(entry)
    return agent
  }

  /** The API answers there now, and so may the service ports of guests that were found. */
  async listens(address: AgentAddress): Promise<void> {
    this.address = address
    await Promise.allSettled(this.#guests.list().map((entry) => this.#services.open(entry)))
  }

  info(): AgentInfo {
    return {
      name: this.name,
      version: this.#options.version ?? '0',
      protocol: PROTOCOL_VERSION,
      capabilities: [...CAPABILITIES],
      pid: process.pid,
      address: addressText(this.address),
      memory: { limit: this.#memoryLimit, used: this.#guests.usedBytes },
      copies: { limit: this.#copyQuota, used: this.#guests.copies.bytes, count: this.#guests.copies.list().length },
      residentBytes: process.memoryUsage.rss(),
      bandwidth: this.#options.bandwidth ?? null,
      guests: this.#guests.list().length,
      migrations: {
        running: this.#departures.running.length,
        limit: this.#options.maxMigrations ?? DEFAULT_CONCURRENT_MIGRATIONS,
      },
    }
  }

  /** Names of guests whose processes live, those that are being started included. */
  livingGuests(): string[] {
    const living = this.#guests.list().filter(({ process }) => process.alive)
    return [...living.map(({ config }) => config.name), ...this.#guests.startingNames()]
  }

  async listGuests(): Promise<GuestView[]> {
    const views = await Promise.all(this.#guests.list().map((entry) => this.#view(entry)))
    return views.filter(({ id }) => this.#guests.has(id))
  }

  async guest(name: string): Promise<GuestView> {
    return await whileHere(this.#guests, name, (entry) => this.#view(entry))
  }

  /** Starts a guest. Throws `guest-exists`, `memory-limit`, `bad-size`, `program-missing`, `program-invalid`. */
  async start(request: StartRequest): Promise<GuestView> {
    const wanted = startSchema.parse(request)
    layoutOf(wanted.memoryBytes, wanted.vcpus)
    const config: GuestConfig = guestConfigSchema.parse({
      ...wanted,
      pace: wanted.pace ?? defaultPace(wanted.program),
      id: randomBytes(16).toString('hex'),
      programHash: await this.#programs.hashOf(wanted.program),
    })
    const entry = await this.#guests.start(config)
    await this.#services.open(entry).catch(async (error: unknown) => {
      await this.#guests.stop(entry, true)
      throw error
    })
    return await this.#view(entry)
  }

  /** Copies that guests left behind, the oldest first. */
  listCopies(): CopyView[] {
    return this.#guests.copies.list().map(({ config, process, status }) => ({
      name: config.name,
      id: config.id,
      memoryBytes: config.memoryBytes,
      epoch: status?.epoch ?? 0,
      keptSince: status?.keptSince ?? 0,
      pid: process.pid,
    }))
  }

  /** Ends a guest; of one that has left its memory behind, the copy. Throws `no-such-guest`, `guest-busy`. */
  async stop(name: string, force: boolean): Promise<void> {
    const copy = this.#guests.has(name) ? undefined : this.#guests.copies.byName(name)
    if (copy !== undefined) return await this.#guests.copies.end(copy.config.id)
    // A guest that has left may still have a port here, which ends with its name.
    if (!this.#guests.has(name) && (await this.#services.forget(name))) return
    const entry = this.#guests.byName(name)
    await this.#guests.stop(entry, force)
    await this.#services.closePort(entry.config.id)
    this.events.publish({ type: 'guest', guest: name, what: 'stopped' })
  }

  async pause(name: string): Promise<GuestView> {
    return await this.#ask(name, 'pause')
  }

  async resume(name: string): Promise<GuestView> {
    return await this.#ask(name, 'resume')
  }

  async cancel(name: string): Promise<GuestView> {
    return await this.#ask(name, 'cancel')
  }

  async resolve(name: string, how: { what: Resolution; peerIsDead: boolean }): Promise<GuestView> {
    const entry = this.#guests.byName(name)
    return viewOf(await this.#guests.resolve(entry, how), this.#services.portOf(entry.config.id))
  }

  /** Lets the destination of a paused pull dial its source at once. Throws `no-such-migration`, `guest-not-running`. */
  async recover(id: string, via: string | null): Promise<GuestView> {
    for (const entry of this.#guests.list()) {
      const migration = (await this.#guests.statusOf(entry)).migration
      if (migration?.id !== id) continue
      if (migration.role === 'source') throw this.#recoverElsewhere(id, migration.peer)
      await entry.process.call<GuestStatus>('recover', { migration: id, via }, RECOVER_TIMEOUT_MS)
      return await this.#view(entry)
    }
    const view = await this.migration(id)
    if (view.state === 'running') throw this.#recoverElsewhere(id, view.peer)
    throw new GodwitError('guest-not-running', `migration ${id} has ended: there is nothing to recover`, {
      hint: 'see its report: GET /v1/migrations/ID',
    })
  }

  #recoverElsewhere(id: string, peer: string): GodwitError {
    return new GodwitError('usage', `agent ${this.name} is the source of migration ${id}`, {
      hint: `run it at the destination's agent: godwit recover ${id} --agent http://${peer}`,
    })
  }

  async oracle(name: string): Promise<{ equal: boolean; differing: number[] }> {
    return await whileHere(this.#guests, name, ({ process }) => process.call('oracle', null, null))
  }

  /** Where a guest is served, also one that has left. Throws `no-such-guest`. */
  service(name: string): ServiceView {
    return this.#services.view(name, this.#guests.has(name) ? this.#guests.byName(name) : undefined)
  }

  /** Which pages of a guest are here, as its process knows it. */
  async pages(name: string): Promise<PagesView> {
    return await whileHere(this.#guests, name, ({ process }) =>
      process.call<PagesView>('pages', null, PAGES_TIMEOUT_MS),
    )
  }

  logs(name: string): string {
    return tailOf(logPathOf(this.#guests.byName(name).process.directory), LOG_TAIL_BYTES)
  }

  /** Begins a migration; its id leads to progress and report. Throws `guest-busy`, `guest-not-running` and limits. */
  async migrate(name: string, to: AgentAddress, settings: MigrationSettings): Promise<{ id: string }> {
    const entry = await this.#movable(name)
    const { id } = this.#departures.begin(entry, to, settings, {
      agentPort: this.address.port,
      listenHost: this.address.host,
    })
    this.#services.noteDeparture(entry.config.id, null)
    return { id }
  }

  /** Asks the destination whether it would take the guest; changes nothing anywhere. */
  async check(name: string, to: AgentAddress, settings: MigrationSettings): Promise<{ ok: true; agent: string }> {
    const entry = await this.#movable(name)
    const source = { agent: this.name, agentPort: this.address.port }
    return { ok: true, agent: await this.#questions.wouldTake(to, entry, settings, source) }
  }

  /** What a source asks of its destination. With `checkOnly` nothing changes. Throws the reason of a refusal. */
  async reserve(reservation: Reservation, from: string, checkOnly: boolean): Promise<z.output<typeof reservedSchema>> {
    requireSameProtocol(reservation, this.name)
    layoutOf(reservation.guest.memoryBytes, reservation.guest.vcpus)
    const { migration } = reservation
    if (this.#departures.byId(migration) !== undefined || this.#questions.has(migration)) {
      throw new GodwitError('guest-exists', `source and destination are the same agent, ${this.name}`, {
        hint: 'give the address of another agent with --to',
      })
    }
    await requireProgram(reservation.guest, this.#programs, this.name)
    await this.#guests.awaitLeaving(reservation.guest.id)
    this.#guests.admit(reservation.guest)
    if (checkOnly) return { agent: this.name, guestPid: null, bootId: bootId() }
    const entry = await this.#guests.receive(reservation, reservation.source.host ?? from)
    // A guest that comes is served without a port of its own, too: the one it came from forwards.
    await this.#services.open(entry).catch(() => {})
    const linePort = entry.status?.service?.port ?? null
    return { agent: this.name, guestPid: entry.status?.pid ?? null, bootId: bootId(), linePort }
  }

  verdict(migration: string, epoch: number): Promise<string> {
    return this.#guests.verdict(migration, epoch)
  }

  /** Migrations under way here, in either direction, then the kept ones, newest first. */
  async migrations(): Promise<MigrationView[]> {
    const running = this.#departures.running.map(({ id }) => id)
    const arriving = (await this.listGuests()).flatMap(({ migration }) =>
      migration?.role === 'destination' && !running.includes(migration.id) ? [migration.id] : [],
    )
    const kept = this.#data.keptReports().reverse()
    const ids = [...new Set([...running, ...arriving, ...kept])]
    const views = await Promise.all(ids.map((id) => this.migration(id).catch(() => null)))
    return views.filter((view) => view !== null)
  }

  /** Throws `no-such-migration`. */
  async migration(id: string): Promise<MigrationView> {
    const departure = this.#departures.byId(id)
    const report = departure === undefined ? this.#data.readReport(id) : null
    const guests = departure === undefined && report === null ? await this.listGuests() : []
    const view = migrationView(id, departure, report, guests)
    if (view !== null) return view
    throw new GodwitError('no-such-migration', `agent ${this.name} knows no migration ${id}`, {
      hint: 'the last 100 are kept by the agent of the source',
    })
  }

  /** Lets go of the guests (or stops them), and of the data directory. */
  async close(how: { stopGuests: boolean }): Promise<void> {
    this.events.close()
    this.#departures.close()
    await this.#services.close()
    await this.#guests.close(how.stopGuests)
    this.#data.close()
  }

  async #movable(name: string): Promise<GuestEntry> {
    const entry = this.#guests.byName(name)
    const { state } = await whileHere(this.#guests, name, () => this.#guests.refresh(entry))
    if (state === 'pulling' || state === 'shared') {
      throw new GodwitError('guest-busy', `the memory of guest ${name} is still coming from its last host`, {
        hint: `wait until its last page is here: godwit show ${name}`,
      })
    }
    if (state === 'migrating' || state === 'incoming') {
      throw new GodwitError('guest-busy', `guest ${name} is already migrating`, {
        hint: `wait for it, or: godwit cancel ${name}`,
      })
    }
    if (state !== 'running' && state !== 'paused') {
      throw new GodwitError('guest-not-running', `guest ${name} is ${state}`, { hint: `see: godwit show ${name}` })
    }
    return entry
  }

  async #ask(name: string, method: 'pause' | 'resume' | 'cancel'): Promise<GuestView> {
    await whileHere(this.#guests, name, ({ process }) => process.call(method))
    return await this.guest(name)
  }

  async #view(entry: GuestEntry): Promise<GuestView> {
    return viewOf(await this.#guests.statusOf(entry), this.#services.portOf(entry.config.id))
  }

  /** What it says last of the guest tells which reservations the copy fits. */
  async #keep(entry: GuestEntry): Promise<void> {
    await this.#guests.refresh(entry).catch(() => {})
    if (entry.status?.state === 'kept') this.#guests.keep(entry)
  }

  #onGuestChange(entry: GuestEntry, what: string): void {
    if (what === 'lost' || what === 'crashed') void this.#services.closePort(entry.config.id)
    this.events.publish({ type: 'guest', guest: entry.config.name, what })
  }

  #onGuestEvent(entry: GuestEntry, event: AgentEvent): void {
    const { migration } = event
    if (event.type === 'report' && migration !== undefined) {
      return this.#departures.ended(migration, event.report as MigrationReport)
    }
    if (event.type === 'kept') return void this.#keep(entry)
    if (event.type === 'progress' && migration !== undefined) {
      this.#departures.noteProgress(migration, event.progress as Record<string, unknown>)
    }
    this.events.publish({ ...event, guest: entry.config.name })
  }
}

const hostModuleUrl = (): string => workerUrl(import.meta.url, '../guest-process/host').href
