// One guest in one process: its memory, its vCPUs, and at most one migration at a time, outgoing or incoming. Wires
// guest, wire and migration together; the shell (main.ts), the library (guest.ts) and tests drive it.

import { GodwitError } from '../errors.ts'
import { onMigrationEvent, type Progress } from '../events.ts'
import type { GuestConfig } from '../guest/config.ts'
import { heldVcpus } from '../guest/held-vcpus.ts'
import type { GuestMemory } from '../guest/memory.ts'
import type { GuestVcpus } from '../guest/vcpus.ts'
import type { Vcpus } from '../guest/vcpus-port.ts'
import { DestinationSession } from '../migration/destination-session.ts'
import { directoryStore, type OwnershipStore, type Verdict } from '../migration/ownership-record.ts'
import type { MigrationReport } from '../migration/report.ts'
import { mayResolve, type Resolution } from '../migration/resolution.ts'
import { settingsSchema, shares } from '../migration/settings.ts'
import { SourceSession } from '../migration/source-session.ts'
import type { GuestService } from '../service/guest-service.ts'
import type { ServiceLines } from '../service/service-lines.ts'
import { servingVcpus } from '../service/serving-vcpus.ts'
import { assemble, type GuestParts } from './assemble.ts'
import { isCopyFor } from './copy-identity.ts'
import {
  type Current,
  crashOf,
  IN_DOUBT,
  kindOf,
  ON_THE_WAY,
  restOf,
  standingOf,
  takenRecord,
  verdictOf,
} from './current-move.ts'
import { destinationWorld } from './destination-world.ts'
import { Exclusive } from './exclusive.ts'
import { tellSource } from './host-lines.ts'
import type {
  CreateOptions,
  GuestEnd,
  GuestHostPort,
  GuestState,
  GuestStatus,
  MigrateRequest,
  ReceiveOptions,
} from './host-port.ts'
import { askVerdict } from './peer-agent.ts'
import * as refusals from './refusals.ts'
import { replayed } from './replayed.ts'
import { openSource, type SourceOptions } from './source-world.ts'

export class GuestHost implements GuestHostPort {
  readonly ended: Promise<GuestEnd>
  readonly #end: (how: GuestEnd) => void
  readonly #config: GuestConfig
  readonly memory: GuestMemory
  /** For tests and for the library's embedder. */
  readonly vcpus: GuestVcpus
  /** Requests for the vCPUs, when the program serves (R30). */
  readonly service: GuestService | null
  /** Its gateways' lines; they go with the memory of a kept copy. */
  #lines: ServiceLines | null
  readonly #store: OwnershipStore
  readonly #programsDirectory: string | null
  readonly #crashed: Promise<never>
  #state: GuestState
  #epoch: number
  #crash: GodwitError | null = null
  #current: Current | null = null
  #progress: Progress | null = null
  #closed = false
  /** The guest that moves was paused by its operator, and stays so. */
  #paused = false
  /** Since when this is a kept copy and nothing else, ms since 1970. */
  #keptSince: number | null = null
  readonly #vcpusFor: Exclusive
  /** Ends the asking of a source in doubt. */
  #settling = new AbortController()

  private constructor(options: GuestParts & { readonly store: OwnershipStore }) {
    this.#config = options.config
    this.#vcpusFor = new Exclusive(options.config.name)
    this.memory = options.memory
    this.vcpus = options.vcpus
    this.service = options.service
    this.#lines = options.lines
    this.#store = options.store
    this.#programsDirectory = options.programsDirectory
    this.#state = options.state
    this.#epoch = options.epoch
    const { promise, resolve } = Promise.withResolvers<GuestEnd>()
    this.ended = promise
    this.#end = resolve
    this.#crashed = options.crashed.then((error) => {
      this.#crash = error
      if (this.#state !== 'handed-over') this.#state = 'crashed'
      this.service?.close()
      if (this.#current?.role === 'destination') this.#current.session.crashed(error)
      throw error
    })
    this.#crashed.catch(() => {})
  }

  /** Creates a guest here and lets it run. Throws `bad-size`, `program-missing`, `program-invalid`. */
  static async create(options: CreateOptions): Promise<GuestHost> {
    const { config, directory } = options
    const parts = await assemble(config, options, { state: 'running', epoch: 1 })
    const store = directoryStore(directory)
    store.write({ version: 1, guest: config.id, epoch: 1, state: 'owner', migration: null, role: null, peer: null })
    return new GuestHost({ ...parts, store })
  }

  /** Makes room for a guest that a source offers, and starts to receive it; into `copy`, the pages of a kept copy of it. */
  static async receive(
    options: ReceiveOptions,
    copy: WebAssembly.Memory | null = null,
    oldLines: ServiceLines | null = null,
  ): Promise<GuestHost> {
    const { reservation, directory } = options
    const begin = { state: 'incoming', epoch: reservation.epoch - 1 } as const
    // Whoever moves softly has clients who are not to notice.
    const gently = shares(reservation.settings.movement)
    const parts = await assemble(reservation.guest, { ...options, copy, oldLines, gently }, begin)
    const host = new GuestHost({ ...parts, store: directoryStore(directory) })
    host.#receive(options, copy !== null)
    return host
  }

  async takeBack(options: ReceiveOptions): Promise<GuestHost> {
    if (this.#state !== 'kept' || !isCopyFor(this.#config, this.#epoch, options.reservation)) {
      throw refusals.noCopy(this.#config.name)
    }
    this.#state = 'handed-over'
    const lines = this.#lines
    this.#lines = null
    return await GuestHost.receive(options, this.memory.pages, lines)
  }

  status(): GuestStatus {
    return {
      config: this.#config,
      state: this.#state,
      ...standingOf(this.#state, this.#current, this.#progress),
      epoch: this.#epoch,
      steps: this.vcpus.stepCounts(),
      stepsPerSecond: this.vcpus.stepsPerSecond(),
      residentBytes: process.memoryUsage.rss(),
      pid: process.pid,
      service: this.#lines === null ? null : { port: this.#lines.port },
      ...crashOf(this.#state, this.#current, this.#config.name, this.#crash),
      ...(this.#keptSince === null ? {} : { keptSince: this.#keptSince }),
    }
  }

  async migrate(request: MigrateRequest): Promise<MigrationReport> {
    if (ON_THE_WAY.includes(this.#state)) throw refusals.migrating(this.#config.name)
    if (this.#state !== 'running' && this.#state !== 'paused') throw this.#notRunning('migrated')
    this.#vcpusFor.requireFree()
    const settings = settingsSchema.parse(request.settings)
    refusals.refuseLockedSoft(this.#config, settings)
    this.#epoch = Math.max(this.#epoch, this.#store.read()?.epoch ?? 0)
    const epoch = this.#epoch + 1
    this.#paused = this.#state === 'paused'
    const guest = { ...this.#moving(), config: this.#config, lines: this.#lines, paused: this.#paused }
    const source = openSource({ request, settings, epoch, ...guest, crashed: this.#crashed })
    this.#settling = new AbortController()
    const session = new SourceSession(source.world, this.vcpus.stepsPerSecond())
    const { keepCopy } = settings
    this.#current = { role: 'source', id: request.id, epoch, peer: request.to, ...kindOf(settings), keepCopy, session }
    this.#state = 'migrating'
    const unwatch = onMigrationEvent(request.id, (event) => {
      if (event.type === 'progress') this.#progress = event.progress
    })
    const report = await session.run()
    unwatch()
    await this.#afterDeparture(session, report, source.close)
    return report
  }

  async cancel(): Promise<void> {
    const { name } = this.#config
    if (this.#current?.role !== 'source') throw refusals.notLeaving(name)
    // Its process ends in a moment, or keeps the copy.
    if (this.#state === 'handed-over' || this.#state === 'kept') throw refusals.hasLeft(name)
    if (this.#state !== 'migrating') throw refusals.notLeaving(name)
    this.#current.session.cancel()
  }

  async pause(): Promise<void> {
    if (this.#state === 'paused') return
    if (this.#state !== 'running') throw this.#notRunning('paused')
    await this.#vcpusFor.hold('being paused', async () => {
      await this.vcpus.pause()
      // It may have crashed or been stopped meanwhile.
      if (this.#state !== 'running') throw this.#notRunning('paused')
      this.#state = 'paused'
    })
  }

  async resume(): Promise<void> {
    if (this.#state === 'running') return
    if (this.#state !== 'paused') throw this.#notRunning('resumed')
    this.#vcpusFor.requireFree()
    this.vcpus.resume()
    this.#state = 'running'
  }

  verdict(migration: string, epoch: number): Verdict {
    return verdictOf(this.#current, this.#store, migration, epoch)
  }

  /** R21: takes a guest that is in doubt, after asking the peer; an unreachable peer needs `peerIsDead`. */
  async resolve(how: { what: Resolution; peerIsDead: boolean }): Promise<GuestStatus> {
    const current = this.#current
    if (current === null || !IN_DOUBT.includes(this.#state)) {
      throw refusals.nothingToResolve(this.#config.name, this.#state)
    }
    // Both hosts ask each other all the time; what they know so far is the answer.
    if (how.what === 'status') return this.status()
    const answer = await askVerdict(current.peer, current.id, current.epoch)
    // The peer may have spoken while we asked.
    if (this.#current !== current || !IN_DOUBT.includes(this.#state)) return this.status()
    const refusal = mayResolve(
      current.role,
      current.session.state,
      how.what,
      answer,
      how.peerIsDead,
      current.pull,
      current.soft,
    )
    if (refusal !== null) throw refusal
    if (how.what !== 'take') {
      this.#decide(current, how.what)
      return this.status()
    }
    // From here on the session has no say any more, whatever it hears while it closes.
    this.#take(current)
    if (current.role === 'destination') await current.session.close()
    return this.status()
  }

  async recover(migration: string, via: string | null): Promise<GuestStatus> {
    const current = this.#current
    const puller = current?.role === 'destination' && current.id === migration ? current.session.puller : null
    if (puller === null || puller === undefined) {
      throw refusals.notPulling(this.#config.name)
    }
    await puller.recover(via)
    return this.status()
  }

  async oracle(): Promise<{ equal: boolean; differing: number[] }> {
    if (this.#state !== 'running' && this.#state !== 'paused') throw this.#notRunning('checked')
    if (this.service !== null) throw refusals.noReplay(this.#config.name)
    const wasRunning = this.#state === 'running'
    const guest = { memory: this.memory, config: this.#config, vcpus: this.vcpus }
    return await this.#vcpusFor.hold('being checked', () =>
      replayed({ ...guest, programsDirectory: this.#programsDirectory }, () => wasRunning && this.#state === 'running'),
    )
  }

  async close(): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    this.#settling.abort(new GodwitError('cancelled', 'the host is closing'))
    if (this.#state !== 'handed-over') this.#state = 'stopping'
    this.service?.close()
    await this.#current?.session.close()
    await this.#lines?.close()
    await this.vcpus.close()
  }

  #receive({ reservation, sourceAddress, neighbours = [] }: ReceiveOptions, copy: boolean): void {
    this.#paused = reservation.paused
    const world = destinationWorld({ reservation, sourceAddress, copy, neighbours, ...this.#moving() })
    const session = new DestinationSession(world)
    tellSource(this.#lines, reservation, sourceAddress)
    const peer = { host: sourceAddress, port: reservation.source.agentPort }
    const { migration: id, epoch, settings } = reservation
    this.#current = { role: 'destination', id, epoch, peer, ...kindOf(settings), session }
    session.onShared(() => {
      this.#state = 'shared'
    })
    session.onOwner(() => {
      this.#epoch = reservation.epoch
      // It may have crashed in its first step here.
      if (this.#crash === null) this.#state = this.#current?.pull === true ? 'pulling' : this.#here()
    })
    session.onWhole(() => {
      if (this.#state === 'pulling') this.#state = this.#here()
    })
    session.onLost(() => {
      if (this.#crash === null && !this.#closed) this.#state = 'lost'
    })
    session.run().then((arrival) => {
      // A guest that was taken by `resolve` has no session any more.
      if (arrival.owner || this.#closed || this.#current?.session !== session) return
      this.#state = 'handed-over'
      this.#end('dropped')
    })
  }

  /** What became of the guest here; `release` gives the ports of the migration back. */
  async #afterDeparture(session: SourceSession, report: MigrationReport, release: () => Promise<void>): Promise<void> {
    this.#epoch += 1
    this.#progress = null
    if (this.#crash === null && session.state === 'released') {
      this.#state = 'unreconciled'
      void this.#reconcile(session)
        .catch(() => {})
        .then(release)
      return
    }
    await release()
    if (this.#crash !== null || this.#closed) return
    this.#settleInto(session)
    if (session.state === 'done' && report.checks.audit !== false) await this.#leave()
  }

  /** What the end of a source's session means for the guest here. */
  #settleInto(session: SourceSession): void {
    const rest = restOf(session.state)
    if (session.state === 'reclaimed') {
      this.#epoch += 1
      this.#current = null
    }
    this.#state = rest === 'here' ? this.#here() : rest
    if (session.state === 'abandoned') this.#end('dropped')
  }

  /** The guest has gone. As a copy its memory stays, with nothing that could run it. */
  async #leave(): Promise<void> {
    this.service?.close()
    if (this.#current?.role !== 'source' || !this.#current.keepCopy) return this.#end('handed-over')
    await this.vcpus.close()
    if (this.#closed) return
    this.#state = 'kept'
    this.#keptSince = Date.now()
    this.#end('kept')
  }

  #decide(current: Current, what: 'abandon' | 'take-stale'): void {
    if (current.role === 'source') {
      const ended = this.#endSettling()
      current.session.decide(what)
      if (ended) this.#settleInto(current.session)
    } else if (what === 'abandon') {
      current.session.abandon()
      this.#state = 'handed-over'
      this.#end('dropped')
    }
  }

  /** False while the session itself still serves: it sees to the rest when it ends. */
  #endSettling(): boolean {
    if (this.#state === 'migrating') return false
    this.#settling.abort(new GodwitError('cancelled', 'the operator has decided'))
    return true
  }

  /** Behind the commit point the source never forgets by itself: it listens and asks until the other side has spoken. */
  async #reconcile(session: SourceSession): Promise<void> {
    const current = this.#current
    await session.settle(this.#settling.signal)
    if (this.#current !== current || this.#closed) return
    if (session.state !== 'released') this.#settleInto(session)
    if (session.state === 'done') await this.#leave()
  }

  #take({ role, epoch: lost }: Current): void {
    this.#settling.abort(new GodwitError('cancelled', 'the guest was taken'))
    const epoch = lost + 1
    this.#epoch = epoch
    this.#store.write(takenRecord(this.#store.read(), this.#config.id, epoch, role))
    this.#current = null
    this.#state = this.#here()
    this.#movingVcpus().resume()
  }

  /** The state of a guest that this host owns and does not move. */
  #here(): GuestState {
    return this.#paused ? 'paused' : 'running'
  }

  /** What either side of a migration is made of. */
  #moving(): Pick<SourceOptions, 'memory' | 'vcpus' | 'served' | 'store'> {
    const served = (): number => this.service?.answered ?? 0
    return { memory: this.memory, vcpus: this.#movingVcpus(), served, store: this.#store }
  }

  #movingVcpus(): Vcpus {
    const vcpus = this.#paused ? heldVcpus(this.vcpus) : this.vcpus
    return this.service === null ? vcpus : servingVcpus(vcpus, this.service)
  }

  #notRunning(what: string): GodwitError {
    return refusals.notRunning(this.#config.name, this.#state, what, this.#crash)
  }
}
