// Everything the command line knows about the agent's HTTP API: paths, bodies and event streams, typed by the agent's
// own schemas. Every command and the demo talk to agents through this class only.

import { addressText, AgentClient as Connection, parseAddress } from '../agent/client.ts'
import type { AgentInfo, CopyView, GuestView, MigrateBody, MigrationView, StartRequest } from '../agent/schemas.ts'
import type { MigrationEvent } from '../events.ts'
import type { Resolution } from '../guest-process/host-port.ts'
import type { MigrationReport } from '../migration/report.ts'

export { parseAddress }

const REQUEST_TIMEOUT_MS = 60_000

/** What a migration's event stream carries: the engine's events, then the report. */
export type StreamEvent = MigrationEvent | { type: 'report'; migration: string; report: MigrationReport }

/** One agent, spoken to over HTTP. Methods throw the agent's own error, or `unreachable`. */
export class AgentClient {
  readonly url: string
  readonly #connection: Connection

  /** `address`: HOST, HOST:PORT or a URL. Throws `usage`. */
  constructor(address: string) {
    const parsed = parseAddress(address)
    this.url = `http://${addressText(parsed)}`
    this.#connection = new Connection(parsed)
  }

  info(): Promise<AgentInfo> {
    return this.#call('GET', '/v1/agent')
  }

  guests(): Promise<GuestView[]> {
    return this.#call('GET', '/v1/guests')
  }

  /** Memory that guests left behind there. */
  copies(): Promise<CopyView[]> {
    return this.#call('GET', '/v1/copies')
  }

  guest(name: string): Promise<GuestView> {
    return this.#call('GET', guestPath(name))
  }

  startGuest(request: StartRequest): Promise<GuestView> {
    return this.#call('POST', '/v1/guests', request)
  }

  /** Ends a guest; `force` even while it migrates. */
  async stopGuest(name: string, force = false): Promise<void> {
    await this.#call('DELETE', `${guestPath(name)}${force ? '?force=true' : ''}`)
  }

  /** Begins a migration; resolves with its id as soon as it runs. */
  async migrate(name: string, body: MigrateBody): Promise<string> {
    return (await this.#call<{ id: string }>('POST', `${guestPath(name)}/migrate`, body)).id
  }

  /** Asks whether a migration would be accepted; changes nothing. */
  check(name: string, body: MigrateBody): Promise<{ ok: true; agent: string }> {
    return this.#call('POST', `${guestPath(name)}/migrate?check=true`, body)
  }

  async pause(name: string): Promise<void> {
    await this.#call('POST', `${guestPath(name)}/pause`)
  }

  async resume(name: string): Promise<void> {
    await this.#call('POST', `${guestPath(name)}/resume`)
  }

  async cancel(name: string): Promise<void> {
    await this.#call('POST', `${guestPath(name)}/cancel`)
  }

  resolve(name: string, how: { what: Resolution; peerIsDead: boolean }): Promise<GuestView> {
    return this.#call('POST', `${guestPath(name)}/resolve`, how)
  }

  /** Replays the guest's whole life, so it may take as long as that did; `signal` gives up. */
  oracle(name: string, signal?: AbortSignal): Promise<{ equal: boolean; differing: number[] }> {
    return this.#connection.call('POST', `${guestPath(name)}/oracle`, undefined, signal)
  }

  async logs(name: string): Promise<string> {
    return (await this.#call<{ text: string }>('GET', `${guestPath(name)}/logs`)).text
  }

  migration(id: string): Promise<MigrationView> {
    return this.#call('GET', `/v1/migrations/${encodeURIComponent(id)}`)
  }

  /** Live events of one migration until the agent ends the stream or `signal` aborts. */
  events(id: string, signal?: AbortSignal): AsyncIterable<StreamEvent> {
    const path = `/v1/migrations/${encodeURIComponent(id)}/events`
    return this.#connection.events(path, signal) as AsyncIterable<unknown> as AsyncIterable<StreamEvent>
  }

  /** Lets the destination of a paused pull dial its source again, at `via` if given. */
  recover(id: string, via: string | null): Promise<GuestView> {
    return this.#call('POST', `/v1/migrations/${encodeURIComponent(id)}/recover`, { via })
  }

  #call<T>(method: string, path: string, body?: unknown): Promise<T> {
    return this.#connection.call<T>(method, path, body, AbortSignal.timeout(REQUEST_TIMEOUT_MS))
  }
}

const guestPath = (name: string): string => `/v1/guests/${encodeURIComponent(name)}`
