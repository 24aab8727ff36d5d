// The SIMD kernels over guest memory, each beside what a program would use without it: a library or a built-in.

import { randomFillSync } from 'node:crypto'
import xxhash from 'xxhash-wasm'
import { THREAD_BLOCK } from '../../src/guest/layout.ts'
import { GuestMemory } from '../../src/guest/memory.ts'
import { type Kernels, loadKernels } from '../../src/kernels/kernels.ts'
import { createTwin } from '../../src/kernels/twin.ts'
import { BATCH_PAGES, PAGE_BYTES } from '../../src/limits.ts'
import { type Competitor, type Context, type Row, samplesOf, type Technique } from '../harness.ts'
import { ratios } from '../statistics.ts'

const MIB = 1024 ** 2
/** The plain twins are there to be right; they get this share of the memory, so that the bench ends. */
const TWIN_SHARE = 1 / 64

interface Bench {
  readonly memory: GuestMemory
  readonly kernels: Kernels
  readonly twin: Kernels
  readonly hash: (page: Uint8Array) => bigint
}

/** One piece of work over `pages` pages from page 0, done by a kernel set. */
interface Work {
  readonly name: string
  /** Bytes of guest memory that one page of this work stands for. */
  readonly pageBytes?: number
  kernel(kernels: Kernels, memory: GuestMemory, pages: number): void
  /** The same by other means. */
  readonly other?: { readonly name: string; run(bench: Bench, pages: number): void }
  readonly content: 'random' | 'zero'
  /** GB/s measured when the kernels were designed. */
  readonly designed?: number
}

interface Offsets {
  readonly list: number
  readonly classes: number
  readonly digest: number
  readonly staging: number
}

function offsetsOf(memory: GuestMemory): Offsets {
  const block = memory.layout.threadBlocks
  return {
    list: block + THREAD_BLOCK.list,
    classes: block + THREAD_BLOCK.classes,
    digest: block + THREAD_BLOCK.digest,
    staging: memory.layout.staging,
  }
}

/** Calls `work` for each batch of the first `pages` pages, their numbers in the list when it is wanted. */
function batches(memory: GuestMemory, pages: number, work: (first: number, count: number) => void): void {
  const list = new Uint32Array(memory.controlBytes.buffer, offsetsOf(memory).list, BATCH_PAGES)
  for (let first = 0; first < pages; first += BATCH_PAGES) {
    const count = Math.min(BATCH_PAGES, pages - first)
    for (let index = 0; index < count; index++) list[index] = first + index
    work(first, count)
  }
}

const page = (bytes: Uint8Array, number: number): Uint8Array =>
  bytes.subarray(number * PAGE_BYTES, (number + 1) * PAGE_BYTES)

function scan(hash: 0 | 1): Work['kernel'] {
  return (kernels, memory, pages) => {
    const { list, classes, digest } = offsetsOf(memory)
    batches(memory, pages, (_, count) => kernels.scan(list, count, classes, memory.layout.hashes, digest, hash))
  }
}

const ZERO_PAGE = Buffer.alloc(PAGE_BYTES)
const compareWithZero: Work['other'] = {
  name: 'Buffer.equals',
  run({ memory }, pages) {
    for (let number = 0; number < pages; number++) ZERO_PAGE.equals(page(memory.bytes, number))
  },
}

const WORKS: readonly Work[] = [
  { name: 'zero test, zero pages', content: 'zero', designed: 32, kernel: scan(0), other: compareWithZero },
  { name: 'zero test, random pages', content: 'random', designed: 114, kernel: scan(0), other: compareWithZero },
  {
    name: 'zero test and hash',
    content: 'random',
    designed: 7.5,
    kernel: scan(1),
    other: {
      name: 'xxhash-wasm',
      run({ memory, hash }, pages) {
        for (let number = 0; number < pages; number++) hash(page(memory.bytes, number))
      },
    },
  },
  {
    name: 'audit',
    content: 'random',
    kernel: (kernels, memory, pages) => void kernels.audit(0, pages, memory.layout.hashes),
  },
  {
    name: 'gather',
    content: 'random',
    designed: 5.2,
    kernel: (kernels, memory, pages) => {
      const { list, staging } = offsetsOf(memory)
      batches(memory, pages, (_, count) => kernels.gather(list, count, staging))
    },
    other: {
      name: 'Uint8Array.set',
      run({ memory }, pages) {
        const { staging } = offsetsOf(memory)
        for (let number = 0; number < pages; number++) {
          memory.controlBytes.set(page(memory.bytes, number), staging + (number % BATCH_PAGES) * PAGE_BYTES)
        }
      },
    },
  },
  {
    name: 'compare',
    content: 'zero',
    designed: 5.3,
    kernel: (kernels, memory, pages) => {
      const { staging } = offsetsOf(memory)
      batches(memory, pages, (first, count) => void kernels.compare(first, count, staging))
    },
    other: {
      name: 'Buffer.compare',
      run({ memory }, pages) {
        const { staging } = offsetsOf(memory)
        const control = Buffer.from(memory.controlBytes.buffer)
        for (let number = 0; number < pages; number++) {
          const at = staging + (number % BATCH_PAGES) * PAGE_BYTES
          Buffer.compare(page(memory.bytes, number), control.subarray(at, at + PAGE_BYTES))
        }
      },
    },
  },
]

/** GB/s of one pass. */
function timed(pages: number, run: () => void): Record<string, number> {
  const started = performance.now()
  run()
  return { rate: (pages * PAGE_BYTES) / 1e6 / (performance.now() - started) }
}

function competitors(work: Work, bench: Bench, pages: number): Competitor[] {
  const few = Math.max(BATCH_PAGES, Math.floor(pages * TWIN_SHARE))
  const { memory, kernels, twin } = bench
  const fill = (count: number): void => {
    memory.controlBytes.fill(0, memory.layout.staging, memory.layout.staging + BATCH_PAGES * PAGE_BYTES)
    const bytes = memory.bytes.subarray(0, count * PAGE_BYTES)
    if (work.content === 'zero') bytes.fill(0)
    else for (let at = 0; at < bytes.length; at += MIB) randomFillSync(bytes.subarray(at, at + MIB))
    // The audit compares with the table, so the table must be right.
    if (work.name === 'audit') kernels.hashRun(0, count, memory.layout.hashes, offsetsOf(memory).digest)
  }
  const over = (name: string, count: number, run: () => void): Competitor => ({
    name,
    async run() {
      fill(count)
      return timed(count, run)
    },
  })
  const { other } = work
  return [
    over('kernel', pages, () => work.kernel(kernels, memory, pages)),
    over('twin', few, () => work.kernel(twin, memory, few)),
    ...(other === undefined ? [] : [over(other.name, pages, () => other.run(bench, pages))]),
  ]
}

export const kernels: Technique = {
  name: 'kernels',
  about: 'each SIMD kernel in GB/s, beside its plain twin and a library',
  async run(context: Context): Promise<Row[]> {
    const memory = GuestMemory.create((context.quick ? 32 : 256) * MIB, 1)
    const { h64Raw } = await xxhash()
    const bench: Bench = {
      memory,
      kernels: loadKernels(memory),
      twin: createTwin(memory),
      hash: (bytes) => h64Raw(bytes),
    }
    const rows: Row[] = []
    for (const work of WORKS) {
      const samples = await context.repeat(competitors(work, bench, memory.layout.pageCount))
      const rates = samplesOf(samples, 'kernel', 'rate')
      const against = (name: string): Row => ({
        name: `${work.name}: over ${name}`,
        unit: '×',
        higherIsBetter: true,
        samples: ratios(rates, samplesOf(samples, name, 'rate')),
      })
      rows.push(
        {
          name: work.name,
          unit: 'GB/s',
          higherIsBetter: true,
          samples: rates,
          ...(work.designed === undefined ? {} : { published: { value: work.designed, by: 'at design' } }),
        },
        ...(work.other === undefined ? [] : [against(work.other.name)]),
        against('twin'),
      )
    }
    return rows
  },
}
