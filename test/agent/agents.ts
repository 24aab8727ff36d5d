// Agents in this process, with real guest processes that hold a fake guest (test/support/fake-host.ts).

import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Agent, type AgentOptions } from '../../src/agent/agent.ts'
import { type AgentAddress, AgentClient } from '../../src/agent/client.ts'
import { type ServedAgent, serveAgent } from '../../src/agent/http.ts'
import type { GuestView } from '../../src/agent/schemas.ts'
import { MIB } from '../support/config.ts'

const HOST = new URL('../support/fake-host.ts', import.meta.url).href
const START = { memoryBytes: MIB, options: { workload: 'idle', content: 'zero' } }

/** Nobody listens there. */
export const elsewhere: AgentAddress = { host: '127.0.0.1', port: 9 }

/** The agents of one test and the directory they live in. */
export class Agents {
  readonly #open: { agent: Agent; served: ServedAgent }[] = []
  #root = ''

  /** Makes a new directory; returns it. */
  begin(): string {
    this.#root = mkdtempSync(join(tmpdir(), 'godwit-agent-'))
    return this.#root
  }

  /** An agent named `one` at `one` in the directory, unless told otherwise. */
  async start(options: Partial<AgentOptions> = {}): Promise<{ agent: Agent; client: AgentClient }> {
    const dataDirectory = join(this.#root, 'one')
    const agent = await Agent.open({ dataDirectory, name: 'one', hostModule: HOST, ...options })
    const served = await serveAgent(agent, { host: '127.0.0.1', port: 0 }, false)
    this.#open.push({ agent, served })
    return { agent, client: new AgentClient(served.address) }
  }

  async close(stopGuests: boolean): Promise<void> {
    for (const { agent, served } of this.#open.splice(0)) {
      await served.close()
      await agent.close({ stopGuests })
    }
  }

  async end(): Promise<void> {
    await this.close(true)
    rmSync(this.#root, { recursive: true, force: true })
  }
}

/** Waits for something that a process does in its own time; fails by the test's time limit. */
export async function until<T>(probe: () => Promise<T | null | false> | T | null | false): Promise<T> {
  for (;;) {
    const found = await probe()
    if (found !== null && found !== false) return found
    await new Promise((resolve) => setTimeout(resolve, 10))
  }
}

export const guest = (client: AgentClient, name: string): Promise<GuestView> => client.call('GET', `/v1/guests/${name}`)
export const start = (client: AgentClient, name: string, more: object = {}): Promise<GuestView> =>
  client.call('POST', '/v1/guests', { ...START, name, ...more })
