// One simulated migration from a seed: both real sessions on a virtual clock, a link, at most one fault. Ends with the
// checks: exactly one owner, and memory equal to what the guest wrote.

import { setImmediate as turn } from 'node:timers/promises'
import { GodwitError } from '../../src/errors.ts'
import { GuestMemory } from '../../src/guest/memory.ts'
import { type Kernels, loadKernels } from '../../src/kernels/kernels.ts'
import { PAGE_BYTES } from '../../src/limits.ts'
import { DestinationSession } from '../../src/migration/destination-session.ts'
import { type OwnershipRecord, type Verdict, verdictForDead } from '../../src/migration/ownership-record.ts'
import type { ControlLink } from '../../src/migration/ports.ts'
import type { MigrationReport } from '../../src/migration/report.ts'
import { type MigrationSettings, settingsSchema } from '../../src/migration/settings.ts'
import { SourceSession } from '../../src/migration/source-session.ts'
import { guestConfig } from '../support/config.ts'
import { Random } from './random.ts'
import { SimulatedControl } from './simulated-control.ts'
import { SimulatedPages } from './simulated-pages.ts'
import { ExpectedMemory, SimulatedVcpus } from './simulated-vcpus.ts'
import { VirtualClock } from './virtual-clock.ts'

export const SIMULATED_FAULTS = [
  'none',
  'cut',
  'stall',
  'corrupt',
  'cancel',
  'source dies',
  'destination dies',
] as const
export type SimulatedFault = (typeof SIMULATED_FAULTS)[number]

export interface Voyage {
  readonly fault: SimulatedFault
  /** Null when the source died before it could report. */
  readonly report: MigrationReport | null
  readonly destination: string
  readonly virtualMs: number
  /** Pages that the destination asked for once more. */
  readonly missed: number
}

const ID = 'b'.repeat(32)
const EPOCH = 2
/** Of page hashes. */
const SEED = 0x0123_4567_89ab_cdefn
const LIMIT_MS = 300_000

interface Host {
  readonly memory: GuestMemory
  readonly kernels: Kernels
  vcpus: SimulatedVcpus
  record: OwnershipRecord | null
  dead: boolean
}

const memories = new Map<string, { memory: GuestMemory; kernels: Kernels }>()

/** Memories are used again for every seed: address space is the one thing a process has too little of for thousands. */
function memoryOf(name: string, memoryBytes: number, vcpus: number): { memory: GuestMemory; kernels: Kernels } {
  const key = `${name} ${memoryBytes} ${vcpus}`
  let known = memories.get(key)
  if (known === undefined) {
    const memory = GuestMemory.create(memoryBytes, vcpus)
    known = { memory, kernels: loadKernels(memory) }
    memories.set(key, known)
  }
  known.memory.bytes.fill(0)
  known.memory.controlBytes.fill(0, 0, known.memory.layout.threadBlocks + 64)
  return known
}

/** Runs the voyage of a seed. Throws when a rule is broken. */
export async function voyage(seed: number): Promise<Voyage> {
  const random = new Random(seed)
  const clock = new VirtualClock()
  const memoryBytes = 65_536 * (1 + random.below(4))
  const vcpuCount = 1 + random.below(2)
  const expected = new ExpectedMemory(memoryBytes)
  const options = {
    clock,
    random,
    expected,
    hotPages: 1 + random.below(memoryBytes / 4096),
    stepMs: 0.02 + random.share() * 0.3,
  }
  const host = (name: string): Host => {
    const { memory, kernels } = memoryOf(name, memoryBytes, vcpuCount)
    return { memory, kernels, vcpus: new SimulatedVcpus({ ...options, name, memory }), record: null, dead: false }
  }
  const source = host('source')
  const destination = host('destination')
  fill(source.memory, expected, random)
  source.vcpus.resume()
  const settings = settingsSchema.parse({
    movement: random.chance(0.8) ? 'pre-copy' : 'stop-and-copy',
    channels: 1 + random.below(3),
    selection: random.chance(0.5) ? 'skip' : 'linear',
    stop: random.chance(0.5) ? 'xen' : 'target',
    maxRounds: 1 + random.below(8),
    downtimeTarget: 2 + random.below(20),
    switchoverTimeout: 1000,
    verify: random.chance(0.9) ? 'digest' : 'full',
  })
  const fault = SIMULATED_FAULTS[random.below(SIMULATED_FAULTS.length)] as SimulatedFault
  // Some destinations still have what the guest was once, or something else.
  const copy = random.chance(0.3)
  if (copy) leaveCopy(source.memory, destination.memory, random)
  const sea = new Sea(clock, random, source, destination, settings, copy)
  const report = sea.source.run()
  const arrival = sea.destination.run()
  clock.after(random.share() * 80, () => sea.strike(fault))
  await clock.run(
    Promise.race([Promise.all([report, arrival]), sea.died.then(() => sea.survivor(report, arrival))]),
    LIMIT_MS,
  )
  // A last look after everything has come to rest.
  await clock.run(Promise.all([clock.sleep(50), turn()]), LIMIT_MS)
  const finished = source.dead ? null : await report
  check(seed, fault, finished, source, destination, sea, expected)
  return { fault, report: finished, destination: sea.destination.state, virtualMs: clock.now(), missed: sea.missed }
}

function fill(memory: GuestMemory, expected: ExpectedMemory, random: Random): void {
  for (let page = 0; page < memory.layout.pageCount; page++) {
    if (random.chance(0.3)) continue
    // Some pages are equal, for references.
    const common = random.chance(0.5)
    const word = page * 1024 + (common ? random.below(2) : random.below(1024))
    expected.words[word] = common ? 9 : random.word()
    // Free pages begin with content, too: garbage, which need not arrive (R17).
    if (random.chance(0.2)) expected.free[page] = 1
  }
  memory.free.set(expected.free)
  new Uint32Array(memory.pages.buffer).set(expected.words)
}

function leaveCopy(from: GuestMemory, to: GuestMemory, random: Random): void {
  for (let page = 0; page < from.layout.pageCount; page++) {
    const at = page * PAGE_BYTES
    if (random.chance(0.6)) to.bytes.set(from.bytes.subarray(at, at + PAGE_BYTES), at)
    else if (random.chance(0.5)) to.bytes[at + random.below(PAGE_BYTES)] = 1 + random.below(255)
  }
}

/** The two sessions and everything between them. */
class Sea {
  readonly source: SourceSession
  readonly destination: DestinationSession
  readonly died: Promise<void>
  get missed(): number {
    return this.#pages.missed
  }

  readonly #clock: VirtualClock
  readonly #random: Random
  readonly #hosts: { source: Host; destination: Host }
  readonly #latencyMs: number
  readonly #pages: SimulatedPages
  #control: SimulatedControl
  #redialled: ((link: ControlLink) => void) | null = null
  #die: () => void = () => {}

  constructor(
    clock: VirtualClock,
    random: Random,
    source: Host,
    destination: Host,
    settings: MigrationSettings,
    copy: boolean,
  ) {
    this.#clock = clock
    this.#random = random
    this.#hosts = { source, destination }
    this.#latencyMs = 0.05 + random.share() * 5
    this.died = new Promise((resolve) => {
      this.#die = resolve
    })
    this.#control = new SimulatedControl(clock, this.#latencyMs)
    this.#pages = new SimulatedPages({
      clock,
      random,
      from: source,
      to: destination,
      channels: settings.channels,
      bytesPerMs: 5000 + random.below(100_000),
      latencyMs: this.#latencyMs,
      hash: settings.verify === 'digest',
      seed: SEED,
      encodes: random.chance(0.5),
    })
    const usage = (): { cpuMs: number; rssPeak: number } => ({ cpuMs: 0, rssPeak: 0 })
    const guest = guestConfig({ memoryBytes: source.memory.layout.memoryBytes, vcpus: source.memory.layout.vcpus })
    const common = { id: ID, epoch: EPOCH, clock, usage, served: () => 0 }
    this.source = new SourceSession({
      ...common,
      guest,
      memory: source.memory,
      kernels: source.kernels,
      vcpus: source.vcpus,
      store: storeOf(source),
      settings,
      names: { source: 'source', destination: 'destination' },
      prepare: async () => {},
      reserve: async () => {
        await clock.sleep(this.#latencyMs)
        return { control: this.#control.source, pages: this.#pages, sameHost: true }
      },
      redialled: (signal) =>
        new Promise((resolve, reject) => {
          this.#redialled = resolve
          signal.addEventListener('abort', () => reject(signal.reason), { once: true })
        }),
      exchange: () => null,
      openLanes: () => Promise.reject(new Error('the simulation does not pull')),
      askPeerAgent: () => this.#ask('destination'),
      breathe: async () => {},
      crashed: new Promise(() => {}),
    })
    this.destination = new DestinationSession({
      ...common,
      guestId: guest.id,
      source: 'source',
      memory: destination.memory,
      kernels: destination.kernels,
      vcpus: destination.vcpus,
      store: storeOf(destination),
      copy: copy ? { seed: SEED, hash: settings.verify === 'digest' } : null,
      neighbours: null,
      connect: async () => ({ control: this.#control.destination, pages: this.#pages }),
      redial: () => this.#redial(),
      exchange: null,
      sourceHost: 'source',
      dialLanes: () => Promise.reject(new Error('the simulation does not pull')),
      askPeerAgent: () => this.#ask('source'),
    })
  }

  strike(fault: SimulatedFault): void {
    const random = this.#random
    if (fault === 'cut') {
      if (random.chance(0.7)) this.#control.cut(random.share() * 20, random.share() * 20)
      if (random.chance(0.7)) this.#pages.cut()
    } else if (fault === 'stall') {
      this.#control.stall(random.below(1500))
      this.#pages.stall(random.below(1500))
    } else if (fault === 'corrupt') this.#pages.corrupt()
    else if (fault === 'cancel') this.#cancel()
    else if (fault === 'source dies') this.#kill('source')
    else if (fault === 'destination dies') this.#kill('destination')
  }

  /** What is left to wait for when a process has died. */
  async survivor(report: Promise<unknown>, arrival: Promise<unknown>): Promise<void> {
    if (!this.#hosts.source.dead) await report
    if (!this.#hosts.destination.dead) await arrival
  }

  #cancel(): void {
    try {
      this.source.cancel()
    } catch (thrown) {
      if (GodwitError.from(thrown).code !== 'too-late') throw thrown
    }
  }

  #kill(side: 'source' | 'destination'): void {
    const host = this.#hosts[side]
    host.dead = true
    host.vcpus.kill()
    this.#control.cut(this.#random.share() * 5, this.#random.share() * 5)
    this.#pages.cut()
    this.#die()
  }

  async #redial(): Promise<ControlLink> {
    await this.#clock.sleep(2 * this.#latencyMs)
    const { source, destination } = this.#hosts
    if (source.dead || destination.dead || this.#redialled === null)
      throw new GodwitError('unreachable', 'nobody listens')
    this.#control = new SimulatedControl(this.#clock, this.#latencyMs)
    this.#redialled(this.#control.source)
    this.#redialled = null
    return this.#control.destination
  }

  /** What the agent of `side` answers: from its live guest process, or from the record of a dead one. */
  async #ask(side: 'source' | 'destination'): Promise<Verdict> {
    await this.#clock.sleep(2 * this.#latencyMs)
    const host = this.#hosts[side]
    if (host.dead) {
      const { verdict, write } = verdictForDead(host.record, ID)
      if (write !== null) host.record = write
      return verdict
    }
    const { state } = this[side]
    if (state === 'released' || state === 'done') return 'released'
    if (state === 'aborted' || state === 'reclaimed') return 'not-released'
    return state === 'owner' || state === 'settled' ? 'owner' : 'unknown'
  }
}

const storeOf = (host: Host) => ({
  read: () => host.record,
  write: (record: OwnershipRecord) => {
    if (!host.dead) host.record = record
  },
})

function check(
  seed: number,
  fault: SimulatedFault,
  report: MigrationReport | null,
  source: Host,
  destination: Host,
  sea: Sea,
  expected: ExpectedMemory,
): void {
  const fail = (what: string): never => {
    const states = `source ${source.dead ? 'dead' : sea.source.state}, destination ${destination.dead ? 'dead' : sea.destination.state}`
    throw new Error(`seed ${seed} (${fault}): ${what}; ${states}; ${report?.error?.code ?? 'no error'}`)
  }
  const owner = [source, destination].filter((host) => !host.dead && !host.vcpus.paused)
  if (owner.length > 1) fail('the guest runs twice')
  const [runner] = owner
  if (runner === undefined) {
    const lostWithItsHost = source.dead || destination.dead
    return lostWithItsHost ? undefined : fail('the guest runs nowhere')
  }
  const words = new Uint32Array(runner.memory.pages.buffer)
  for (let index = 0; index < expected.words.length; index++) {
    const free = expected.free[index >>> 10] === 1
    if (!free && words[index] !== expected.words[index]) fail(`word ${index} differs where the guest runs`)
  }
  for (const [page, free] of expected.free.entries()) {
    if (runner.memory.free[page] !== free) fail(`page ${page} is free on one side only`)
  }
  if (report === null) return
  if (report.checks.audit === false) fail('the audit found a lost mark')
  if (report.outcome === 'unreconciled') fail('left in doubt although both agents answer')
  const atSource = runner === source
  if (report.owner !== (atSource ? 'source' : 'destination')) fail(`the report says ${report.owner}`)
}
