// A guest that goes to and fro between two small agents, leaving its memory behind as a copy where it was.

import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { expect } from 'vitest'
import type { GuestConfig } from '../../src/guest/config.ts'
import { allUsed, grantSteps } from '../../src/guest/grants.ts'
import { GuestHost } from '../../src/guest-process/host.ts'
import { PAGE_BYTES } from '../../src/limits.ts'
import type { MigrationReport } from '../../src/migration/report.ts'
import type { MigrationOptions } from '../../src/migration/settings.ts'
import { guestConfig } from './config.ts'
import { SmallAgent } from './small-agent.ts'

let migrations = 0

export class Shuttle {
  /** Where the guest is, and the agent there; the other one. */
  host: GuestHost
  here: SmallAgent
  there: SmallAgent
  readonly #directory: string

  private constructor(host: GuestHost, here: SmallAgent, there: SmallAgent, directory: string) {
    this.host = host
    this.here = here
    this.there = there
    this.#directory = directory
  }

  static async begin(over: Partial<GuestConfig> = {}): Promise<Shuttle> {
    const [here, there] = await Promise.all([SmallAgent.listen(), SmallAgent.listen()])
    const directory = await mkdtemp(join(tmpdir(), 'godwit-test-'))
    const config = guestConfig(over)
    const lines = { host: '127.0.0.1', portRange: [0, 0] as const }
    const host = await GuestHost.create({ config, directory, programsDirectory: null, agentName: 'here', lines })
    return new Shuttle(host, here, there, directory)
  }

  /** The copy that waits at the other side. */
  get copy(): GuestHost | null {
    return this.there.copy
  }

  /** Moves the guest to the other side, or leaves it here when that fails. */
  async hop(settings: MigrationOptions = {}): Promise<MigrationReport> {
    const left = this.host
    migrations++
    const report = await left.migrate({
      id: migrations.toString(16).padStart(32, 'c'),
      to: { host: '127.0.0.1', port: this.there.port },
      settings: { keepCopy: true, ...settings },
      sourceAgent: { name: 'here', port: 1 },
      dataPortRange: [0, 0],
      listenHost: '127.0.0.1',
    })
    if (report.owner !== 'destination') return report
    this.host = this.there.arrivals.at(-1) as GuestHost
    this.here.copy = left.status().state === 'kept' ? left : null
    ;[this.here, this.there] = [this.there, this.here]
    return report
  }

  /** Lets a locked guest step until at least this share of its pages is not as in the copy at the other side; the share. */
  async dirty(share: number): Promise<number> {
    for (;;) {
      const now = this.staleShare()
      if (now >= share) return now
      // Not every step writes, but none writes to more than two pages.
      grantSteps(this.host.memory, Math.max(8, Math.floor(((share - now) * this.host.memory.layout.pageCount) / 2)))
      // Not `grantsUsed`, which does not wait where an ended migration left its abort word.
      while (!allUsed(this.host.memory)) await wait(1)
    }
  }

  /** Share of the pages that differ from the copy. */
  staleShare(): number {
    const [ours, theirs] = [this.host.memory, this.copy?.memory]
    if (theirs === undefined) return 1
    const { pageCount } = ours.layout
    let stale = 0
    for (let at = 0; at < ours.bytes.length; at += PAGE_BYTES) {
      const [page, old] = [ours, theirs].map(({ bytes }) => Buffer.from(bytes.buffer, at, PAGE_BYTES))
      if (page?.compare(old as Buffer) !== 0) stale++
    }
    return stale / pageCount
  }

  /** The guest is where it belongs, nothing was lost, and it is what it would be had it never moved. */
  async expectWell(report: MigrationReport): Promise<void> {
    expect(report.error).toBeUndefined()
    expect(report).toMatchObject({ outcome: 'completed', owner: 'destination' })
    expect(report.consistent).not.toBe(false)
    await this.expectRuns()
  }

  async expectRuns(): Promise<void> {
    expect(this.host.status()).toMatchObject({ state: 'running', owner: 'here' })
    expect(await this.host.oracle()).toEqual({ equal: true, differing: [] })
  }

  async close(): Promise<void> {
    await this.host.close()
    for (const agent of [this.here, this.there]) {
      await agent.copy?.close()
      await agent.close()
    }
    await rm(this.#directory, { recursive: true, force: true })
  }
}
