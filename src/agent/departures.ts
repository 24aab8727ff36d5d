// Outgoing migrations of one agent: how many may run, how much bandwidth each may use, how far they are and how they
// ended. The guest process does the work; this keeps account. agent.ts is the only caller.

import { randomBytes } from 'node:crypto'
import { GodwitError } from '../errors.ts'
import type { MigrateRequest } from '../guest-process/host-port.ts'
import { MIN_BANDWIDTH_BYTES_PER_SECOND } from '../limits.ts'
import type { MigrationReport } from '../migration/report.ts'
import type { MigrationSettings } from '../migration/settings.ts'
import { type AgentAddress, AgentClient, addressText } from './client.ts'
import type { DataDirectory } from './data-directory.ts'
import type { GuestEntry } from './guest-table.ts'
import { stubReport } from './stub-report.ts'

export interface Departure {
  readonly id: string
  readonly entry: GuestEntry
  readonly to: AgentAddress | null
  readonly peer: string
  readonly settings: MigrationSettings | null
  readonly startedAt: number
  progress: Record<string, unknown> | null
}

export interface DeparturesOptions {
  readonly data: DataDirectory
  readonly agentName: string
  readonly limit: number
  readonly bandwidth: number | null
  readonly dataPortRange: [number, number]
  readonly onReport: (departure: Departure, report: MigrationReport) => void
}

/** After its source process died, a destination that was PREPARED becomes the owner within this. */
const TAKEOVER_WAIT_MS = 3000

export class Departures {
  readonly #options: DeparturesOptions
  readonly #running = new Map<string, Departure>()
  #closed = false

  constructor(options: DeparturesOptions) {
    this.#options = options
  }

  get running(): Departure[] {
    return [...this.#running.values()]
  }

  byId(id: string): Departure | undefined {
    return this.#running.get(id)
  }

  /** The rate this migration may use. Throws `too-many-migrations` when none is left. */
  grantBandwidth(wanted: number | null): number | null {
    const { bandwidth } = this.#options
    if (bandwidth === null) return wanted
    const used = this.running.reduce((sum, { settings }) => sum + (settings?.bandwidth ?? 0), 0)
    const left = bandwidth - used
    if (left < MIN_BANDWIDTH_BYTES_PER_SECOND) {
      throw new GodwitError('too-many-migrations', "the agent's bandwidth is used by other migrations", {
        hint: 'wait for them, or give each a --bandwidth of its own',
      })
    }
    return Math.min(wanted ?? left, left)
  }

  /** Begins a migration and returns at once. Throws `too-many-migrations`. */
  begin(
    entry: GuestEntry,
    to: AgentAddress,
    settings: MigrationSettings,
    from: { agentPort: number; listenHost: string },
  ): Departure {
    const { limit, agentName, dataPortRange } = this.#options
    if (this.#running.size >= limit) {
      throw new GodwitError('too-many-migrations', `${limit} migrations are running at agent ${agentName}`, {
        hint: 'wait for one to end, or start the agent with a higher --migrations',
      })
    }
    const granted = { ...settings, bandwidth: this.grantBandwidth(settings.bandwidth) }
    const id = randomBytes(16).toString('hex')
    const departure = { id, entry, to, peer: addressText(to), settings: granted, startedAt: Date.now(), progress: null }
    const request: MigrateRequest = {
      id,
      to: { host: to.host, port: to.port },
      settings: granted,
      sourceAgent: { name: agentName, port: from.agentPort },
      dataPortRange,
      listenHost: from.listenHost,
    }
    this.#running.set(id, departure)
    entry.process.call<MigrationReport>('migrate', request, null).then(
      (report) => this.ended(id, report),
      (error: unknown) => void this.#failed(departure, GodwitError.from(error)),
    )
    return departure
  }

  /** A migration that an earlier agent began and that is still going on. */
  adopt(entry: GuestEntry): void {
    const migration = entry.status?.migration
    const state = entry.status?.state
    // Its pages are still asked for here while it runs there already.
    if (migration?.role !== 'source' || (state !== 'migrating' && state !== 'pulling')) return
    const { id, peer } = migration
    const departure = { id, entry, to: null, peer, settings: null, startedAt: Date.now(), progress: null }
    this.#running.set(id, departure)
    // It may have ended between the question and now; the report is written before it is announced.
    const report = this.#options.data.readReport(id)
    if (report !== null) return this.ended(id, report)
    void entry.process.exited.then(() => {
      const error = new GodwitError('guest-crashed', `the source's guest process is gone: ${entry.process.cause}`)
      if (this.#running.has(id)) void this.#failed(departure, error)
    })
  }

  /** The agent ends: migrations go on without it, and the guest processes write their reports. */
  close(): void {
    this.#closed = true
  }

  noteProgress(id: string, progress: Record<string, unknown>): void {
    const departure = this.#running.get(id)
    if (departure !== undefined) departure.progress = progress
  }

  /** The report is there; a second one of the same migration changes nothing. */
  ended(id: string, report: MigrationReport): void {
    const departure = this.#running.get(id)
    if (departure === undefined) return
    this.#running.delete(id)
    this.#options.data.keptReports()
    this.#options.onReport(departure, report)
  }

  async #failed(departure: Departure, error: GodwitError): Promise<void> {
    const { data, agentName } = this.#options
    const { id, entry } = departure
    // An agent that lets go of its guests knows nothing of how their migrations end.
    if (this.#closed) return
    const kept = data.readReport(id)
    if (kept !== null) return this.ended(id, kept)
    const died = !entry.process.alive
    const taken = died && departure.to !== null && (await takenOver(departure.to, id, entry.config.id))
    if (this.#closed) return
    const report = stubReport({
      id,
      guest: entry.config,
      source: agentName,
      destination: departure.peer,
      settings: departure.settings ?? {},
      outcome: taken ? 'unreconciled' : died ? 'lost' : 'failed',
      owner: taken ? 'destination' : died ? 'nobody' : 'source',
      error,
      totalMs: Date.now() - departure.startedAt,
    })
    try {
      data.writeReport(report)
    } catch {
      // A full disk must not end the agent; whoever follows the migration hears of it all the same.
    }
    this.ended(id, report)
  }
}

/** Whether the destination came to own the guest although its source died, and has all its memory. */
async function takenOver(to: AgentAddress, id: string, guest: string): Promise<boolean> {
  const client = new AgentClient(to)
  for (const until = Date.now() + TAKEOVER_WAIT_MS; Date.now() < until; ) {
    try {
      const path = `/v1/migrations/${id}/verdict?epoch=0`
      const { verdict } = await client.call<{ verdict: string }>('GET', path, undefined, AbortSignal.timeout(1000))
      if (verdict === 'owner' && (await isWhole(client, guest))) return true
      if (verdict === 'dropped' || verdict === 'lost') return false
    } catch {
      return false
    }
    await new Promise((resolve) => setTimeout(resolve, 200))
  }
  return false
}

/** R22: a destination that still misses pages of a dead source never gets them. */
async function isWhole(client: AgentClient, guest: string): Promise<boolean> {
  const path = `/v1/guests/${guest}`
  const { state } = await client.call<{ state: string }>('GET', path, undefined, AbortSignal.timeout(1000))
  return state !== 'pulling' && state !== 'shared' && state !== 'lost'
}
