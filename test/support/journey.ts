// One guest on its way: a source host, a small agent to go to, and what must hold afterwards wherever it ends.

import { rmSync } from 'node:fs'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { expect } from 'vitest'
import type { GuestConfig } from '../../src/guest/config.ts'
import { GuestHost } from '../../src/guest-process/host.ts'
import type { MigrationReport } from '../../src/migration/report.ts'
import type { MigrationOptions } from '../../src/migration/settings.ts'
import { guestConfig } from './config.ts'
import { SmallAgent } from './small-agent.ts'

let migrations = 0

export class Journey {
  readonly agent: SmallAgent
  readonly source: GuestHost
  /** Where the destination asks what became of the guest; nobody is there unless a test puts somebody there. */
  sourceAgentPort = 1
  readonly #directory: string
  /** Whether the guest steps by itself: a locked one does so only while it moves. */
  readonly #steps: boolean

  private constructor(agent: SmallAgent, source: GuestHost, directory: string, steps: boolean) {
    this.agent = agent
    this.source = source
    this.#directory = directory
    this.#steps = steps
  }

  /** Starts a guest and lets it run for a moment; programs of that directory both hosts know. */
  static async begin(over: Partial<GuestConfig> = {}, programsDirectory: string | null = null): Promise<Journey> {
    const agent = await SmallAgent.listen(programsDirectory)
    const directory = await mkdtemp(join(tmpdir(), 'godwit-test-'))
    const config = guestConfig(over)
    const source = await GuestHost.create({ config, directory, programsDirectory, agentName: 'here' })
    await wait(50)
    return new Journey(agent, source, directory, config.pace.kind !== 'locked')
  }

  /** The id the next migration will have. */
  static get nextId(): string {
    return (migrations + 1).toString(16).padStart(32, '0')
  }

  /** The id of the latest migration. */
  static get lastId(): string {
    return migrations.toString(16).padStart(32, '0')
  }

  move(settings: MigrationOptions = {}): Promise<MigrationReport> {
    const id = Journey.nextId
    migrations++
    return this.source.migrate({
      id,
      to: { host: '127.0.0.1', port: this.agent.port },
      settings,
      sourceAgent: { name: 'here', port: this.sourceAgentPort },
      dataPortRange: [0, 0],
      listenHost: '127.0.0.1',
    })
  }

  /** The guest is at the destination, runs there, and nothing was lost. */
  async expectArrived(report: MigrationReport): Promise<void> {
    expect(report.error).toBeUndefined()
    expect(report).toMatchObject({ outcome: 'completed', owner: 'destination', consistent: true })
    await this.#expectRuns(this.agent.arrivals.at(-1) as GuestHost)
    expect(this.source.status().state).toBe('handed-over')
  }

  /** The guest is still at the source, runs there at full speed, and nothing was lost. */
  async expectStayed(report: MigrationReport): Promise<void> {
    expect(report.owner).toBe('source')
    await this.#expectRuns(this.source)
    for (const arrival of this.agent.arrivals) expect(arrival.status().state).not.toBe('running')
  }

  /** Takes the source's directory away, as a lost or full disk would: nothing can be recorded any more. */
  loseDirectory(): void {
    rmSync(this.#directory, { recursive: true })
  }

  async close(): Promise<void> {
    await this.source.close()
    await this.agent.close()
    await rm(this.#directory, { recursive: true, force: true })
  }

  async #expectRuns(host: GuestHost): Promise<void> {
    expect(host.status()).toMatchObject({ state: 'running', owner: 'here' })
    const before = host.vcpus.steps()
    if (this.#steps) await expect.poll(() => host.vcpus.steps(), { timeout: 5000 }).toBeGreaterThan(before)
    expect(await host.oracle()).toEqual({ equal: true, differing: [] })
  }
}
