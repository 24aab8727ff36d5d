// One post-copy, hybrid or soft migration under random faults, all drawn from a seed: settings, guest, what strikes when.
// The suite makes a few, test/soak/pull-faults.ts many; so nothing here needs vitest.

import assert from 'node:assert/strict'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as wait } from 'node:timers/promises'
import { onMigrationEvent } from '../../src/events.ts'
import type { GuestConfig } from '../../src/guest/config.ts'
import { GuestHost } from '../../src/guest-process/host.ts'
import { PEER_SILENT_MS } from '../../src/limits.ts'
import type { MigrationReport } from '../../src/migration/report.ts'
import type { MigrationOptions } from '../../src/migration/settings.ts'
import { Random } from '../simulation/random.ts'
import { guestConfig, MIB } from './config.ts'
import type { Relay } from './relay.ts'
import { SmallAgent } from './small-agent.ts'

const KINDS = ['cut', 'cut', 'refuse', 'control', 'data', 'corrupt', 'recover', 'twice', 'twice'] as const
type Kind = (typeof KINDS)[number] | 'stall'

/** From when on faults strike: the switch, or the first step of the guest at the destination. */
export type Phase = 'switch' | 'pull'

interface Fault {
  readonly kind: Kind
  /** Bytes towards the destination since the fault before it, or since the phase began. */
  readonly afterBytes: number
  /** Refuse: for so long. Twice: once more after so many bytes in either direction. Corrupt: bytes ahead. */
  readonly more: number
}

export interface PullRun {
  readonly seed: number
  readonly settings: MigrationOptions
  readonly guest: Partial<GuestConfig>
  readonly phase: Phase
  readonly faults: readonly Fault[]
  /** Soft: cancelled so long after the first vCPU may cross, ms; null: not. */
  readonly cancelAfterMs: number | null
}

/** How a run ended, and how many of its faults struck while the guest ran at the destination with pages missing. */
export interface Outcome {
  readonly report: MigrationReport
  readonly struckInPull: number
}

/** A run whose machine is busy takes its time; one that hangs never ends. */
const RUN_LIMIT_MS = 240_000

/** What a seed stands for. */
export function drawRun(seed: number, phase: Phase = 'switch'): PullRun {
  const random = new Random(seed)
  const draw = <T>(from: readonly T[]): T => from[random.below(from.length)] as T
  const settings: MigrationOptions = {
    movement: draw(['post-copy', 'hybrid']),
    channels: draw([1, 1, 2, 3]),
    bandwidth: draw([6, 10, 20, 40]) * 1e6,
    maxRounds: draw([1, 2, 29]),
    pushOrder: draw(['around-the-fault', 'linear', 'least-written', 'several-pivots']),
  }
  const guest: Partial<GuestConfig> = {
    id: seed.toString(16).padStart(32, '0'),
    memoryBytes: 8 * MIB,
    vcpus: draw([1, 2, 4]),
    seed,
    options: {
      workload: draw(['web', 'hot', 'diab', 'sparse', 'phased', 'local', 'free']),
      content: draw(['random', 'random', 'mix', 'text']),
    },
    pace: { kind: 'free', perSecond: draw([1000, 20_000, 100_000]) },
  }
  const faults = Array.from({ length: 1 + random.below(4) }, (_, index): Fault => {
    const kind: Kind = random.below(40) === 0 ? 'stall' : draw(KINDS)
    // The first one often strikes around the commit point, or right behind it.
    const most = index === 0 && random.below(3) === 0 ? 3000 : settings.movement === 'hybrid' ? MIB / 8 : 2 * MIB
    return { kind, afterBytes: random.below(most), more: random.below(draw([300, 3000])) }
  })
  return { seed, settings, guest, phase, faults, cancelAfterMs: null }
}

/** The same for soft; about every third run is cancelled while both hosts serve. */
export function drawSoftRun(seed: number): PullRun {
  const run = drawRun(seed, 'switch')
  const random = new Random(seed ^ 0x50f7)
  const { pushOrder: _, ...settings } = run.settings
  // No operator is asked to recover anything: soft dials again by itself.
  const faults = run.faults.map((fault) => (fault.kind === 'recover' ? { ...fault, kind: 'cut' as const } : fault))
  const cancelAfterMs = random.below(3) === 0 ? random.below(200) : null
  return { ...run, settings: { ...settings, movement: 'soft' }, faults, cancelAfterMs }
}

/** Carries it out; throws what did not hold. */
export async function carryOut(run: PullRun): Promise<Outcome> {
  const agent = await SmallAgent.listen()
  const directory = await mkdtemp(join(tmpdir(), 'godwit-test-'))
  const config = guestConfig(run.guest)
  const source = await GuestHost.create({ config, directory, programsDirectory: null, agentName: 'here' })
  const over = new AbortController()
  const id = run.seed.toString(16).padStart(32, 'f')
  let unwatch: () => void = () => {}
  let strikes: Strikes | undefined
  try {
    let relay: Relay | undefined
    agent.relayed = (opened) => {
      relay = opened
    }
    unwatch = onMigrationEvent(id, (event) => {
      if (event.type !== 'stage' || relay === undefined) return
      if (event.stage === 'activate' && run.cancelAfterMs !== null) {
        setTimeout(() => void source.cancel().catch(() => {}), run.cancelAfterMs)
      }
      if (event.stage === 'commit') strikes = new Strikes(run, relay, agent, id, over.signal)
    })
    const report = await Promise.race([
      source.migrate({
        id,
        to: { host: '127.0.0.1', port: agent.port },
        settings: run.settings,
        sourceAgent: { name: 'here', port: 1 },
        dataPortRange: [0, 0],
        listenHost: '127.0.0.1',
      }),
      wait(RUN_LIMIT_MS, null, { signal: over.signal }).then(() => {
        const states = [source, ...agent.arrivals].map((host) => JSON.stringify(host.status()))
        throw new Error(`no end after ${RUN_LIMIT_MS} ms: ${states.join('\n')}`)
      }),
    ])
    relay?.heal()
    if (process.env.DUMP) {
      console.log(JSON.stringify({ ...report, settings: 0, rounds: 0 }))
      for (const h of [source, ...agent.arrivals]) {
        const { layout, controlWords: w, controlBytes: b } = h.memory
        const hist: Record<number, number> = {}
        for (let p = 0; p < layout.pageCount; p++) {
          const v = b[layout.presence + p] as number
          hist[v] = (hist[v] ?? 0) + 1
        }
        console.log(h.status().state, h.status().epoch, JSON.stringify(hist), 'word', w[0])
        for (let v = 0; v < layout.vcpus; v++) {
          const k = (layout.vcpuBlocks + v * 4096) / 4
          console.log(
            v,
            'state',
            w[k],
            'ack',
            w[k + 1],
            'fault',
            w[k + 13],
            'ask',
            w[k + 14],
            'held',
            w[k + 17],
            'steps',
            h.vcpus.stepCounts()[v],
            'presence',
            b[layout.presence + (w[k + 13] as number) - 1],
          )
        }
      }
    }
    await check(run, report, source, agent)
    return { report, struckInPull: strikes?.struckInPull ?? 0 }
  } finally {
    strikes?.end()
    over.abort()
    unwatch()
    await source.close()
    await agent.close()
    await rm(directory, { recursive: true, force: true })
  }
}

/** Strikes one fault after the other, and keeps a pull that waits for its operator going. */
class Strikes {
  struckInPull = 0
  readonly #relay: Relay
  readonly #agent: SmallAgent
  readonly #id: string
  readonly #over: AbortSignal
  readonly #left: Fault[]
  readonly #operator: NodeJS.Timeout
  #begun: boolean
  #passed = 0
  #cutAgain = 0

  constructor({ faults, phase }: PullRun, relay: Relay, agent: SmallAgent, id: string, over: AbortSignal) {
    this.#relay = relay
    this.#agent = agent
    this.#id = id
    this.#over = over
    this.#left = [...faults]
    this.#begun = phase === 'switch'
    relay.onForwarded = (towardsDestination, _, bytes) => this.#forwarded(towardsDestination, bytes)
    this.#operator = setInterval(() => {
      const arrival = agent.arrivals.at(-1)
      if (arrival?.status().migration?.paused?.includes('wrong hash')) this.#recover()
    }, 500)
  }

  end(): void {
    clearInterval(this.#operator)
  }

  get #pulling(): boolean {
    const status = this.#agent.arrivals.at(-1)?.status()
    if (status?.state === 'shared') return true
    return status?.state === 'pulling' && (status.migration?.progress?.missingPages ?? 0) > 0
  }

  #forwarded(towardsDestination: boolean, bytes: number): void {
    if (this.#cutAgain > 0) {
      this.#cutAgain -= bytes
      if (this.#cutAgain <= 0) this.#relay.cut(false)
      return
    }
    this.#begun ||= this.#pulling
    if (!this.#begun) return
    if (towardsDestination) this.#passed += bytes
    const [next] = this.#left
    if (next === undefined || this.#passed < next.afterBytes) return
    this.#passed = 0
    this.#left.shift()
    if (next.kind === 'twice') this.#cutAgain = 1 + next.more
    if (this.#pulling) this.struckInPull++
    this.#strike(next)
  }

  #strike({ kind, more }: Fault): void {
    const relay = this.#relay
    switch (kind) {
      case 'cut':
      case 'twice':
        return relay.cut(false)
      case 'control':
      case 'data':
        return relay.cut(false, kind)
      case 'refuse':
        relay.cut()
        return this.#healAfter(more)
      case 'stall':
        relay.stall()
        return this.#healAfter(more % 2 === 0 ? 300 : PEER_SILENT_MS + 1000)
      case 'corrupt':
        return relay.corruptAfter(more)
      case 'recover':
        relay.cut(false)
        setTimeout(() => this.#recover(), more % 50)
    }
  }

  #recover(): void {
    this.#agent.arrivals
      .at(-1)
      ?.recover(this.#id, null)
      .catch(() => {})
  }

  #healAfter(ms: number): void {
    wait(ms, null, { signal: this.#over }).then(
      () => this.#relay.heal(),
      () => {},
    )
  }
}

async function check(run: PullRun, report: MigrationReport, source: GuestHost, agent: SmallAgent): Promise<void> {
  const said = JSON.stringify({ ...report, settings: undefined, rounds: undefined })
  const arrival = agent.arrivals.at(-1)
  if (report.owner === 'source') {
    // A cut in front of the commit point; or it was called off, and everything came home.
    if (report.outcome !== 'cancelled' || run.cancelAfterMs === null) assert.equal(report.outcome, 'failed', said)
    assert.equal(source.status().state, 'running', said)
    assert.notEqual(arrival?.status().state, 'running', said)
    assert.deepEqual(await source.oracle(), { equal: true, differing: [] }, said)
    return
  }
  assert.equal(report.outcome, 'completed', said)
  assert.equal(report.owner, 'destination', said)
  assert.equal(report.consistent, true, said)
  assert.equal(source.status().state, 'handed-over', said)
  assert.equal(arrival?.status().state, 'running', said)
  assert.deepEqual(await arrival?.oracle(), { equal: true, differing: [] }, said)
}
