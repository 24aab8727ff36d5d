// Post-copy and hybrid in virtual time: the guest takes a fixed number of steps for every page it gets, so bytes and
// faults are the same on any machine. Hines and Gopalan, VEE 2009 and OSR 43(3), give the published figures.

import { Accessors } from '../../src/guest/accessors.ts'
import type { GuestConfig } from '../../src/guest/config.ts'
import { registersOf } from '../../src/guest/safepoint.ts'
import type { MigrationReport } from '../../src/migration/report.ts'
import { create, fill } from '../../src/programs/mutator.ts'
import { freshMemory } from '../../src/programs/replay.ts'
import { LAMBDA } from '../../src/programs/workloads.ts'
import { type DemoOptions, demo, exactBytes, MIB } from '../demo.ts'
import type { Context, Row, Technique } from '../harness.ts'

const MEMORY_BYTES = 128 * MIB
const PAGE_BYTES = 4096
const STREAMS = 4
const JUMP = 0.005

async function locked(context: Context, options: DemoOptions): Promise<MigrationReport> {
  const common = { memory: '128MiB', content: 'random', pace: 'locked', bandwidth: 'none', 'no-oracle': true as const }
  const [report] = await demo({ ...common, seed: context.seed, ...options })
  const { movement, faults, pages } = report as MigrationReport
  context.log(`${options.workload}, ${movement}: ${pages.sent} pages sent, ${faults?.network ?? 0} network faults`)
  return report as MigrationReport
}

const exact = (name: string, value: number, atMost?: number, published?: Row['published']): Row => ({
  name,
  unit: '×',
  higherIsBetter: false,
  samples: [value],
  exact: true,
  ...(atMost === undefined ? {} : { required: { atMost } }),
  ...(published === undefined ? {} : { published }),
})

const networkFaults = (report: MigrationReport): number => report.faults?.network ?? Number.NaN

/** Pages that a locked `local` guest touches while as many pages arrive as it has: counted by running it here. */
function touchedPages(seed: number): number {
  const config: GuestConfig = {
    id: '0'.repeat(32),
    name: 'bench',
    memoryBytes: MEMORY_BYTES,
    vcpus: 1,
    program: 'mutator',
    programHash: null,
    options: { workload: 'local', content: 'random', streams: STREAMS, jump: JUMP },
    seed,
    pace: { kind: 'locked', lambda: null },
  }
  const touched = new Set<number>()
  class Counting extends Accessors {
    override loadU32(address: number): number {
      touched.add(Math.floor(address / PAGE_BYTES))
      return super.loadU32(address)
    }
    override storeU32(address: number, value: number): void {
      touched.add(Math.floor(address / PAGE_BYTES))
      super.storeU32(address, value)
    }
  }
  const memory = freshMemory(config, { create, fill })
  const registers = registersOf(memory, 0)
  const { memoryBytes, vcpus, options } = config
  const program = create({ vcpu: 0, vcpus, memoryBytes, options, seed, registers })
  const accessors = new Counting(memory, registers)
  const steps = (MEMORY_BYTES / PAGE_BYTES) * LAMBDA.local
  for (let step = 0; step < steps; step++) program.step(accessors)
  return touched.size
}

async function diab(context: Context): Promise<Row[]> {
  const xen = { workload: 'diab', movement: 'pre-copy', stop: 'xen' }
  const linear = await locked(context, { ...xen, selection: 'linear' })
  const skip = await locked(context, { ...xen, selection: 'skip' })
  const post = await locked(context, { workload: 'diab', movement: 'post-copy' })
  return [
    exact('diab: pages sent over pages', post.pages.duplicateFactor, 1),
    exact('diab: bytes, post-copy over linear pre-copy', exactBytes(post) / exactBytes(linear), 0.4),
    exact('diab: bytes, post-copy over skipping pre-copy', exactBytes(post) / exactBytes(skip), 0.6),
  ]
}

async function local(context: Context): Promise<Row[]> {
  const guest = { workload: 'local', movement: 'post-copy', option: `jump=${JUMP}` }
  const pushed = await locked(context, { ...guest, 'push-order': 'linear' })
  const around = await locked(context, { ...guest, 'push-order': 'around-the-fault' })
  const pivots = await locked(context, { ...guest, 'push-order': 'several-pivots' })
  const touched = touchedPages(context.seed)
  const saved = networkFaults(pushed) - networkFaults(around)
  context.log(`local: ${touched} pages touched`)
  return [
    exact('local: pages sent over pages', around.pages.duplicateFactor, 1),
    exact('local: network faults over push-only', networkFaults(around) / networkFaults(pushed), 0.5),
    exact('local: network faults over pages touched', networkFaults(around) / touched, 0.21, {
      value: 0.21,
      by: 'Hines',
    }),
    exact('local: the same, push-only', networkFaults(pushed) / touched, undefined, {
      value: 0.71,
      by: 'Hines, kernel build',
    }),
    exact('local: the same, several pivots', networkFaults(pivots) / touched),
    exact('local: faults saved over faults of push-only', saved / networkFaults(pushed)),
  ]
}

async function hybrid(context: Context, workload: string): Promise<Row[]> {
  const post = await locked(context, { workload, movement: 'post-copy' })
  const both = await locked(context, { workload, movement: 'hybrid' })
  return [
    exact(`${workload}: pages sent over pages, post-copy`, post.pages.duplicateFactor, 1),
    exact(`${workload}: network faults, hybrid over post-copy`, networkFaults(both) / networkFaults(post), 0.3),
    exact(`${workload}: bytes, hybrid over post-copy`, exactBytes(both) / exactBytes(post)),
  ]
}

async function free(context: Context, movement: string): Promise<Row[]> {
  const guest = { workload: 'free', movement }
  const hinted = await locked(context, guest)
  const plain = await locked(context, { ...guest, option: 'declare=false' })
  return [exact(`free: bytes, ${movement}, declared over not`, exactBytes(hinted) / exactBytes(plain), 0.55)]
}

export const pulledBytes: Technique = {
  name: 'pulled-bytes',
  about: 'bytes and faults of post-copy and hybrid at a locked pace: diab, local, web, hot, free',
  async run(context: Context): Promise<Row[]> {
    const first = [...(await diab(context)), ...(await local(context))]
    if (context.quick) return first
    return [
      ...first,
      ...(await hybrid(context, 'web')),
      ...(await hybrid(context, 'hot')),
      ...(await free(context, 'pre-copy')),
      ...(await free(context, 'post-copy')),
    ]
  },
}
