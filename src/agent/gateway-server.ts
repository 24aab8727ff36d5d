// `godwit gateway` without its command line: clients of one guest at one address, wherever the guest runs, and its HTTP
// answers. Knows the agents it was told of and those that they name.

import { createServer, type IncomingMessage, type Server, type ServerResponse } from 'node:http'
import { GodwitError } from '../errors.ts'
import { Front } from '../gateway/front.ts'
import { GuestBackend } from '../gateway/guest-backend.ts'
import type { Address } from '../gateway/places.ts'
import { serves } from '../programs/registry.ts'
import { hostKey } from '../wire/host-key.ts'
import { listenInRange } from '../wire/listen.ts'
import { type AgentAddress, AgentClient, addressText } from './client.ts'
import { type PageLog, pageLog } from './page-log.ts'
import { type PagesView, type Whereabout, whereIs } from './service-view.ts'

export interface GatewayOptions {
  readonly guest: string
  readonly agents: readonly AgentAddress[]
  readonly listen: AgentAddress
  /** Port of its HTTP answers; null: none. */
  readonly httpPort: number | null
}

/** An agent that is asked for pages answers within this. */
const PAGES_TIMEOUT_MS = 5000

export interface PagesAnswer extends PageLog {
  readonly guest: string
  readonly id: string
}

export class GatewayServer {
  readonly guest: string
  readonly front: Front
  readonly backend: GuestBackend
  httpPort: number | null = null
  readonly #id: string
  readonly #agents: readonly AgentAddress[]
  /** The agents that had a process of the guest when they were asked last. */
  #found: readonly Whereabout[]
  readonly #http: Server
  readonly #startedAt = performance.now()
  #pages: Promise<PagesAnswer> | null = null

  private constructor(options: GatewayOptions, found: readonly Whereabout[]) {
    const { view } = found[0] as Whereabout
    this.guest = view.guest
    this.#id = view.id
    this.#agents = options.agents
    this.#found = found
    this.backend = new GuestBackend({ guest: view.id, vcpus: view.vcpus, locate: () => this.#locate() })
    this.front = new Front({ backend: this.backend })
    this.backend.onPlaces(() => void this.#locate().catch(() => {}))
    this.#http = createServer((request, response) => void this.#answer(request, response))
  }

  /** Throws `no-such-guest` when the agents know none of that name, `unreachable`, and what keeps it from listening. */
  static async open(options: GatewayOptions): Promise<GatewayServer> {
    const { found: all, gone } = await whereIs(options.guest, options.agents)
    const agents = options.agents.map(addressText).join(', ')
    if (all.length === 0) {
      if (!gone)
        throw new GodwitError('unreachable', `no agent answers at ${agents}`, { hint: 'name another with --agent' })
      throw new GodwitError('no-such-guest', `no guest '${options.guest}' at ${agents}`, { hint: 'see: godwit ps' })
    }
    const found = onlyGuest(options.guest, all)
    const view = found[0]?.view
    if (found.every((each) => each.view.linePort === null)) {
      if (serves(view?.program ?? '')) throw notThere(options.guest, found)
      throw new GodwitError('usage', `guest ${view?.guest} with program ${view?.program} serves nobody`, {
        hint: 'a gateway is for guests that serve: godwit start --program kv',
      })
    }
    const gateway = new GatewayServer(options, found)
    try {
      const { host, port } = options.listen
      await gateway.front.listen(host, [port, port])
      const { httpPort } = options
      if (httpPort !== null) gateway.httpPort = await listenInRange(gateway.#http, host, [httpPort, httpPort])
    } catch (error) {
      await gateway.close()
      throw error
    }
    return gateway
  }

  async close(): Promise<void> {
    await this.backend.close()
    await this.front.close()
    this.#http.closeAllConnections()
    await new Promise((resolve) => this.#http.close(resolve))
  }

  /** What it is doing now. */
  status() {
    const { backend, front } = this
    const vcpus = Array.from({ length: backend.vcpus }, (_, vcpu) => ({ vcpu, at: this.#placeText(vcpu) }))
    return {
      guest: this.guest,
      id: this.#id,
      port: front.port,
      vcpus,
      clients: front.clients.size,
      connections: front.connections,
      commands: front.commands,
      waiting: backend.waiting,
      upMs: Math.round(performance.now() - this.#startedAt),
    }
  }

  /**
   * The page log: which pages of the guest live where, from the tables of all hosts that have a part. Whoever asks while it is
   * being made gets the same: however many ask, each agent makes one table at a time.
   */
  pages(): Promise<PagesAnswer> {
    this.#pages ??= this.#makePages().finally(() => {
      this.#pages = null
    })
    return this.#pages
  }

  async #makePages(): Promise<PagesAnswer> {
    await this.#locate()
    const asked = this.#found.filter(({ view }) => view.here)
    const tables = await Promise.allSettled(
      asked.map(({ address }) =>
        new AgentClient(address).call<PagesView>(
          ...(['GET', `/v1/guests/${this.#id}/pages`, undefined, AbortSignal.timeout(PAGES_TIMEOUT_MS)] as const),
        ),
      ),
    )
    const known = tables.flatMap((table, index) =>
      table.status === 'fulfilled' ? [{ host: asked[index]?.view.agent ?? '', table: table.value }] : [],
    )
    // An empty log would say that the guest has no pages.
    if (known.length === 0) throw new GodwitError('unreachable', 'no agent that can be asked has the guest')
    return { guest: this.guest, id: this.#id, ...pageLog(known) }
  }

  #placeText(vcpu: number): string | null {
    const place = this.backend.place(vcpu)
    if (place === null) return null
    const at = this.#found.find(
      ({ address, view }) => hostKey(address.host) === hostKey(place.host) && view.linePort === place.port,
    )
    return at?.view.agent ?? addressText(place)
  }

  async #locate(): Promise<Address[]> {
    const known = this.#found.map(({ address }) => address)
    const { found } = await whereIs(this.#id, [...known, ...this.#agents])
    if (found.length > 0) this.#found = found
    return found.flatMap(({ address, view }) =>
      view.here && view.linePort !== null ? [{ host: address.host, port: view.linePort }] : [],
    )
  }

  async #answer({ method, url = '' }: IncomingMessage, response: ServerResponse): Promise<void> {
    const send = (status: number, body: unknown): void => {
      response.writeHead(status, { 'content-type': 'application/json' })
      response.end(`${JSON.stringify(body)}\n`)
    }
    try {
      const path = url.split('?', 1)[0]
      if (method === 'GET' && path === '/status') send(200, this.status())
      else if (method === 'GET' && path === '/pages') send(200, await this.pages())
      else {
        const error = new GodwitError('usage', 'there are GET /status and GET /pages')
        send(404, { error: error.toJSON() })
      }
    } catch (thrown) {
      send(502, { error: GodwitError.from(thrown).toJSON() })
    }
  }
}

/** A guest that serves, but at none of the agents that could be asked. */
function notThere(guest: string, found: readonly Whereabout[]): GodwitError {
  const names = found.map(({ view }) => view.agent).join(', ')
  return new GodwitError('unreachable', `guest ${guest} is not at ${names}, nor where it went from there`, {
    hint: 'name the agent that has it with --agent',
  })
}

/**
 * Of several guests of that name the one that is there, not one that has gone and whose name was given again. Throws `usage`
 * when several are there.
 */
function onlyGuest(name: string, found: readonly Whereabout[]): Whereabout[] {
  const there = new Set(found.filter(({ view }) => view.here).map(({ view }) => view.id))
  if (there.size > 1) {
    throw new GodwitError('usage', `${there.size} guests are called '${name}'`, {
      hint: `give --guest the id of one: ${[...there].join(', ')}`,
    })
  }
  const [id = found[0]?.view.id] = there
  return found.filter(({ view }) => view.id === id)
}
