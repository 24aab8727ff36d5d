// The service port of one guest at this agent: a front for clients over a backend that finds the guest wherever it runs.
// Stays open when the guest leaves, and forwards (R31). Made by services.ts.

import { Front } from '../gateway/front.ts'
import { GuestBackend } from '../gateway/guest-backend.ts'
import type { Address } from '../gateway/places.ts'
import type { GuestConfig } from '../guest/config.ts'
import { GONE_MS } from '../limits.ts'
import { placeKey } from '../wire/host-key.ts'
import { type AgentAddress, addressText } from './client.ts'
import { ServiceCluster } from './service-cluster.ts'
import { whereIs } from './service-view.ts'

export interface ServicePortOptions {
  readonly config: GuestConfig
  /** Listens there; clients are told `shown`. */
  readonly host: string
  readonly shown: string
  readonly portRange: readonly [number, number]
  /** The line of the guest's process at this agent; null: there is none. */
  readonly line: () => Address | null
  /** Where the guest is going right now. */
  readonly departing: () => AgentAddress | null
  /** Where a guest comes from that is on its way here. */
  readonly arriving: () => AgentAddress | null
  /** No agent knows the guest any more. */
  readonly onGone: () => void
}

/** Whether clients of the guest are redirected as in Redis Cluster; it goes with the guest. */
export const isClustered = ({ options }: GuestConfig): boolean => options.cluster === true

export class ServicePort {
  readonly config: GuestConfig
  readonly backend: GuestBackend
  readonly front: Front
  /** The agent to which the guest has gone, or from which it was to come last; null: neither. */
  movedTo: AgentAddress | null = null
  readonly #options: ServicePortOptions
  readonly #cluster: ServiceCluster | null
  /** Ports of other agents for clients, by the line of their guest process. */
  #peers = new Map<string, Address>()
  #goneSince: number | null = null
  #learning = false

  private constructor(options: ServicePortOptions) {
    this.#options = options
    this.config = options.config
    const { id, vcpus } = options.config
    this.backend = new GuestBackend({ guest: id, vcpus, locate: () => this.#locate() })
    this.#cluster = isClustered(options.config)
      ? new ServiceCluster({
          backend: this.backend,
          self: () => ({ host: options.shown, port: this.front.port }),
          peerAt: (line) => this.#peerAt(line),
          departing: () => options.departing() !== null,
        })
      : null
    this.front = new Front({ backend: this.backend, cluster: this.#cluster })
  }

  /** Throws `no-port`. */
  static async open(options: ServicePortOptions): Promise<ServicePort> {
    const port = new ServicePort(options)
    try {
      await port.front.listen(options.host, options.portRange)
    } catch (error) {
      await port.close()
      throw error
    }
    return port
  }

  get port(): number {
    return this.front.port
  }

  /** Agents that may know where the guest is. */
  agents(): AgentAddress[] {
    const { departing, arriving } = this.#options
    const all = [departing(), arriving(), this.movedTo].filter((address) => address !== null)
    return [...new Map(all.map((address) => [placeKey(address), address])).values()]
  }

  /** Something about the guest has changed here. */
  refresh(): void {
    const line = this.#options.line()
    if (line !== null) this.backend.name(line)
    this.#cluster?.forget()
    if (this.#cluster !== null) void this.#learn()
  }

  async close(): Promise<void> {
    await this.backend.close()
    await this.front.close()
  }

  async #locate(): Promise<Address[]> {
    const own = this.#options.line()
    const agents = this.agents()
    const { found, gone } = agents.length === 0 ? { found: [], gone: false } : await whereIs(this.config.id, agents)
    const peers = new Map<string, Address>()
    const lines: Address[] = own === null ? [] : [own]
    for (const { address, view } of found) {
      if (!view.here || view.linePort === null) continue
      const line = { host: address.host, port: view.linePort }
      lines.push(line)
      if (view.servicePort !== null) peers.set(placeKey(line), { host: address.host, port: view.servicePort })
    }
    this.#peers = peers
    this.#cluster?.forget()
    this.#noteGone(own === null && gone)
    return lines
  }

  #noteGone(gone: boolean): void {
    const now = performance.now()
    if (!gone) this.#goneSince = null
    else this.#goneSince ??= now
    if (this.#goneSince !== null && now - this.#goneSince >= GONE_MS) this.#options.onGone()
  }

  #peerAt(line: Address): Address | null {
    const own = this.#options.line()
    if (own !== null && placeKey(own) === placeKey(line)) return null
    const peer = this.#peers.get(placeKey(line)) ?? null
    if (peer === null && this.agents().length > 0) void this.#learn()
    return peer
  }

  /** Asks the agents, so that clients can be told where to go. */
  async #learn(): Promise<void> {
    if (this.#learning) return
    this.#learning = true
    await this.#locate().catch(() => {})
    this.#learning = false
  }
}

/** For a view: the agents as text. */
export const agentTexts = (port: ServicePort): string[] => port.agents().map(addressText)
