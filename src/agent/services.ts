// The service ports of an agent's guests, and of those that have left it: agent.ts tells what becomes of guests, and asks
// where they are served.

import { networkInterfaces } from 'node:os'
import { GodwitError } from '../errors.ts'
import { FORWARDING_PORTS } from '../limits.ts'
import { serves } from '../programs/registry.ts'
import type { AgentAddress } from './client.ts'
import type { GuestEntry } from './guest-table.ts'
import { agentTexts, isClustered, ServicePort } from './service-port.ts'
import type { ServiceView } from './service-view.ts'

export interface ServicesOptions {
  readonly agentName: string
  /** Where the agent listens, and so do its service ports. */
  readonly host: () => string
  readonly portRange: readonly [number, number]
  /** The guest here with that id. */
  readonly entryOf: (id: string) => GuestEntry | undefined
  /** Where a guest is going right now. */
  readonly departing: (id: string) => AgentAddress | null
}

export class Services {
  readonly #options: ServicesOptions
  readonly #ports = new Map<string, ServicePort>()
  readonly #opening = new Map<string, Promise<void>>()
  #closed = false

  constructor(options: ServicesOptions) {
    this.#options = options
  }

  /** Lets clients in to a guest that is here, or is coming. A port that is open already leads here from now on. */
  async open(entry: GuestEntry): Promise<void> {
    const { id, program } = entry.config
    if (!serves(program) || this.#closed) return
    const opening = this.#opening.get(id) ?? this.#openPort(entry)
    this.#opening.set(id, opening)
    try {
      await opening
    } finally {
      this.#opening.delete(id)
    }
    this.#ports.get(id)?.refresh()
  }

  /** The guest begins to leave, has left to that agent, or has not left after all. */
  noteDeparture(id: string, movedTo: AgentAddress | null): void {
    const port = this.#ports.get(id)
    if (port === undefined) return
    port.movedTo = movedTo
    port.refresh()
    if (movedTo !== null) this.#shrink()
  }

  /** Null: no port for it is open. */
  portOf(id: string): number | null {
    return this.#ports.get(id)?.port ?? null
  }

  /** What is known of a guest by name or id, also of one that has left. Throws `no-such-guest`. */
  view(name: string, here: GuestEntry | undefined): ServiceView {
    const port = here === undefined ? this.#byName(name) : this.#ports.get(here.config.id)
    const config = here?.config ?? port?.config
    if (config === undefined) {
      throw new GodwitError('no-such-guest', `there is no guest '${name}' at agent ${this.#options.agentName}`)
    }
    const { program, vcpus, memoryBytes } = config
    return {
      guest: config.name,
      id: config.id,
      agent: this.#options.agentName,
      ...{ program, vcpus, memoryBytes, cluster: isClustered(config) },
      here: here?.process.alive ?? false,
      linePort: here?.status?.service?.port ?? null,
      servicePort: port?.port ?? null,
      agents: port === undefined ? [] : agentTexts(port),
      clients: port?.front.clients.size ?? 0,
      commands: port?.front.commands ?? 0,
      waiting: port?.backend.waiting ?? 0,
    }
  }

  /** Ends the port of a guest that has left; false: there is none. */
  async forget(name: string): Promise<boolean> {
    const port = this.#byName(name)
    if (port === undefined) return false
    await this.closePort(port.config.id)
    return true
  }

  async closePort(id: string): Promise<void> {
    const port = this.#ports.get(id)
    this.#ports.delete(id)
    await port?.close()
  }

  async close(): Promise<void> {
    this.#closed = true
    await Promise.allSettled(this.#opening.values())
    await Promise.all([...this.#ports.keys()].map((id) => this.closePort(id)))
  }

  async #openPort(entry: GuestEntry): Promise<void> {
    const { config } = entry
    const { id } = config
    const known = this.#ports.get(id)
    if (known !== undefined) {
      // It may not get here after all: then it is where it comes from.
      known.movedTo = sourceOf(entry) ?? known.movedTo
      return
    }
    const { host: hostOf, portRange, entryOf, departing } = this.#options
    const host = hostOf()
    const port = await ServicePort.open({
      ...{ config, host, shown: shownHost(host), portRange },
      line: () => {
        const entry = entryOf(id)
        const line = entry?.process.alive ? entry.status?.service : null
        return line ? { host: isAnyHost(host) ? '127.0.0.1' : host, port: line.port } : null
      },
      departing: () => departing(id),
      arriving: () => sourceOf(entryOf(id)),
      onGone: () => void this.closePort(id),
    })
    this.#ports.set(id, port)
  }

  #byName(name: string): ServicePort | undefined {
    return this.#ports.get(name) ?? [...this.#ports.values()].find(({ config }) => config.name === name)
  }

  /** Ports of guests that have left are kept, but not without end. */
  #shrink(): void {
    const left = [...this.#ports.values()].filter(({ config }) => this.#options.entryOf(config.id) === undefined)
    for (const { config } of left.slice(0, Math.max(0, left.length - FORWARDING_PORTS))) void this.closePort(config.id)
  }
}

/** The agent that offered a guest. */
function sourceOf(entry: GuestEntry | undefined): AgentAddress | null {
  if (entry === undefined) return null
  const { role, reservation, sourceAddress } = entry.process.file
  if (role !== 'incoming' || reservation === null || sourceAddress === null) return null
  const { agentPort } = reservation.source
  return agentPort === 0 ? null : { host: sourceAddress, port: agentPort }
}

const isAnyHost = (host: string): boolean => host === '0.0.0.0' || host === '::'

/** What clients are told: an agent that listens everywhere is found at the first address that others can reach. */
function shownHost(host: string): string {
  if (!isAnyHost(host)) return host
  const all = Object.values(networkInterfaces()).flatMap((each) => each ?? [])
  return all.find(({ internal, family }) => !internal && family === 'IPv4')?.address ?? '127.0.0.1'
}
