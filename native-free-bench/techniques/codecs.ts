// Each codec on each kind of page: how fast it encodes and decodes, and how much it saves. Beside them what else a page
// costs before it travels: finding its class, and the seeded hash of a reference against xxhash-wasm.

import { uncompressSync } from 'lz4-napi'
import xxhash from 'xxhash-wasm'
import { Codecs } from '../../src/encoding/codecs.ts'
import { createDeltaEncoder, delta } from '../../src/encoding/delta.ts'
import type { EncodingContext, PageEncoding } from '../../src/encoding/encoding.ts'
import { fill } from '../../src/encoding/fill.ts'
import { lz4 } from '../../src/encoding/lz4.ts'
import { chooseLz4Backend, LZ4_KERNEL } from '../../src/encoding/lz4-backend.ts'
import { packed } from '../../src/encoding/packed.ts'
import { pattern } from '../../src/encoding/pattern.ts'
import { sparse } from '../../src/encoding/sparse.ts'
import { CODEC_AREA } from '../../src/guest/layout.ts'
import { loadClassifier } from '../../src/kernels/classify.ts'
import { loadLz4 } from '../../src/kernels/lz4.ts'
import { createReferenceKernel } from '../../src/kernels/reference.ts'
import { GROUP_PAGES, PAGE_BYTES, WASM_PAGE_BYTES } from '../../src/limits.ts'
import type { PageKind } from '../../src/programs/contents.ts'
import { type Blocks, CodecPages, KINDS, type Subject } from '../codec-pages.ts'
import { type Competitor, type Context, type Row, samplesOf, type Technique } from '../harness.ts'
import { ratios } from '../statistics.ts'

const SEED = 0x0123_4567_89ab_cdefn
const BLOCK_PAGES = [1, 4, GROUP_PAGES]
/** `delta`: the bytes of a page that differ from the version sent, those of one step of `sparse`. */
const CHANGED_BYTES = 64
/** Measured when the engine was designed, on other text, by name of the row. */
const DESIGNED: Record<string, number> = {
  'lz4-napi ×1, text: encode': 0.38,
  'lz4-napi ×1, text: ratio': 3.2,
  'lz4-napi ×16, text: encode': 0.45,
  'lz4-napi ×16, text: ratio': 3.6,
  'lz4-napi ×16, text: decode': 1.3,
  'lz4-napi ×16, random: encode': 0.5,
  'delta, random: encode': 5.3,
  'reference hash, random: encode': 7.5,
  'xxhash-wasm, random: encode': 4.2,
}

function pageCodec(codecs: Codecs, encoding: PageEncoding, context: EncodingContext): Subject {
  const decoder = encoding.createDecoder(context)
  return {
    name: encoding.name,
    pages: 1,
    encode: (from, to) => codecs.encodePage(encoding.id, from, to, PAGE_BYTES - 1),
    decode: (first, from, bytes) => decoder.decodeRun(first, 1, from, bytes),
  }
}

function lz4Kernel(pages: number, context: EncodingContext): Subject {
  const kernel = loadLz4(context.memory)
  const decoder = lz4.createDecoder(context)
  const tables = context.area + CODEC_AREA.tables
  const length = pages * PAGE_BYTES
  return {
    name: `lz4 ${LZ4_KERNEL.name} ×${pages}`,
    pages,
    encode: (from, to) => kernel.compress(from, length, to, length - 1, tables),
    decode: (first, from, bytes) => decoder.decodeRun(first, pages, from, bytes),
  }
}

/** The native library by itself, with the buffers that it allocates; null where its binary is missing. */
async function lz4Napi({ memory }: EncodingContext): Promise<((pages: number) => Subject) | null> {
  const { library } = (await chooseLz4Backend('lz4-napi')).backend
  if (library === null) return null
  const control = Buffer.from(memory.control.buffer as unknown as ArrayBuffer)
  const guest = Buffer.from(memory.bytes.buffer as unknown as ArrayBuffer)
  const made = new Map<number, Buffer>()
  return (pages) => ({
    name: `lz4-napi ×${pages}`,
    pages,
    encode(from, to) {
      const block = library.compressSync(control.subarray(from, from + pages * PAGE_BYTES))
      made.set(to, block)
      return block.length - 4 < pages * PAGE_BYTES ? block.length - 4 : -1
    },
    decode: (first, from) => void uncompressSync(made.get(from) as Buffer).copy(guest, first * PAGE_BYTES),
  })
}

function deltaCodec(context: EncodingContext, pages: CodecPages): Subject {
  const size = Math.ceil((pages.count * PAGE_BYTES) / WASM_PAGE_BYTES)
  const encoder = createDeltaEncoder(context, new WebAssembly.Memory({ initial: size, maximum: size, shared: true }))
  const decoder = delta.createDecoder(context)
  const stored = (from: number): number => from - pages.copies
  return {
    name: delta.name,
    pages: 1,
    prepare() {
      pages.each((from, page) => {
        encoder.storePage(from, stored(from))
        pages.place(from, page)
        pages.change(from + ((page * CHANGED_BYTES) % PAGE_BYTES), CHANGED_BYTES)
      })
    },
    encode: (from, to) => encoder.encodePage(from, stored(from), to, PAGE_BYTES - 1),
    decode: (first, from, bytes) => decoder.decodeRun(first, 1, from, bytes),
  }
}

function classifier({ memory, area }: EncodingContext): Subject {
  const classify = loadClassifier(memory, area + CODEC_AREA.tables)
  return { name: 'classify', pages: 1, encode: (from) => classify(from) }
}

/** The hash of references, which are all of one size, by the kernel and by the library. */
async function hashes(context: EncodingContext): Promise<Subject[]> {
  const kernel = createReferenceKernel(context.memory, SEED)
  const { h64Raw } = await xxhash()
  const bytes = context.memory.controlBytes
  return [
    { name: 'reference hash', pages: 1, encode: (from) => (kernel.hash(from) === 0n ? -1 : 1) },
    {
      name: 'xxhash-wasm',
      pages: 1,
      encode: (from) => (h64Raw(bytes.subarray(from, from + PAGE_BYTES), SEED) === 0n ? -1 : 1),
    },
  ]
}

const nameOf = (subject: Subject, kind: PageKind): string => `${subject.name}, ${kind}`

function competitor(subject: Subject, kind: PageKind, pages: CodecPages, leastMs: number): Competitor {
  return {
    name: nameOf(subject, kind),
    async run() {
      pages.load(kind)
      subject.prepare?.()
      const blocks = pages.blocks(subject)
      const encode = rate(blocks, leastMs, () => pages.encode(subject, blocks))
      if (subject.decode === undefined) return { encode }
      const ratio = (pages.count * PAGE_BYTES) / blocks.bytesWithRaw
      if (blocks.shrunk === 0) return { encode, ratio }
      const decode = rate(blocks, leastMs, () => pages.decode(subject, blocks)) * (blocks.shrunk / blocks.all)
      pages.check(subject, blocks)
      return { encode, decode, ratio }
    },
  }
}

/** GB/s of page content, over as many passes as fit `leastMs`. Of processor time: what else runs here counts little. */
function rate(blocks: Blocks, leastMs: number, pass: () => void): number {
  const began = process.cpuUsage()
  let [passes, ms] = [0, 0]
  do {
    pass()
    passes++
    const { user, system } = process.cpuUsage(began)
    ms = (user + system) / 1000
  } while (ms < leastMs)
  return (passes * blocks.all * blocks.pages * PAGE_BYTES) / 1e6 / ms
}

const METRICS = [
  { metric: 'encode', unit: 'GB/s' },
  { metric: 'decode', unit: 'GB/s' },
  { metric: 'ratio', unit: '×' },
] as const

/** The figures of one competitor; what shrinks nothing has no decoding to measure. */
function rowsOf(name: string, measured: Record<string, number[]>): Row[] {
  return METRICS.flatMap(({ metric, unit }): Row[] => {
    const samples = measured[metric]
    if (samples === undefined) return []
    const published = DESIGNED[`${name}: ${metric}`]
    const row = { name: `${name}: ${metric}`, unit, higherIsBetter: true, samples }
    return [published === undefined ? row : { ...row, published: { value: published, by: 'at design' } }]
  })
}

export const codecs: Technique = {
  name: 'codecs',
  about: 'each codec: GB/s and ratio by kind of page, beside lz4-napi and xxhash-wasm',
  async run(context: Context): Promise<Row[]> {
    const leastMs = context.quick ? 2 : 40
    const pages = new CodecPages(context.seed)
    const on = pages.context
    const single = new Codecs(on, LZ4_KERNEL)
    const napi = await lz4Napi(on)
    if (napi === null) context.log('lz4-napi does not load here')
    const subjects = [
      ...[fill, sparse, pattern, packed].map((encoding) => pageCodec(single, encoding, on)),
      ...BLOCK_PAGES.flatMap((count) => [lz4Kernel(count, on), ...(napi === null ? [] : [napi(count)])]),
      deltaCodec(on, pages),
      classifier(on),
    ]
    const all = subjects.flatMap((subject) => KINDS.map((kind) => competitor(subject, kind, pages, leastMs)))
    const hashed = (await hashes(on)).map((subject) => competitor(subject, 'random', pages, leastMs))
    const samples = await context.repeat([...all, ...hashed])
    const over = (name: string, other: string): Row => ({
      name: `${name}, over ${other}`,
      unit: '×',
      higherIsBetter: true,
      samples: ratios(samplesOf(samples, name, 'encode'), samplesOf(samples, other, 'encode')),
      required: { atLeast: 1 },
    })
    return [
      ...Object.entries(samples).flatMap(([name, measured]) => rowsOf(name, measured)),
      over('reference hash, random', 'xxhash-wasm, random'),
      ...(napi === null ? [] : BLOCK_PAGES.map((n) => over(`lz4 kernel ×${n}, text`, `lz4-napi ×${n}, text`))),
    ]
  },
}
