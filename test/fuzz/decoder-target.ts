// The fuzz target of a page encoding: an input is a few runs and their payloads, as a frame would bring them; the decoder
// gets what passes checkPayload. It may fail with bad-payload and nothing else, and write to its run and its area only.
//
//   input   │ runs 1–4 │ per run: gap u8, pages u8, payload u16 │ payloads, one behind the other │

import type { EncodingContext, PageEncoder, PageEncoding } from '../../src/encoding/encoding.ts'
import { WantedPages } from '../../src/encoding/shared.ts'
import { GodwitError } from '../../src/errors.ts'
import { CODEC_AREA } from '../../src/guest/layout.ts'
import { GuestMemory } from '../../src/guest/memory.ts'
import { loadKernels } from '../../src/kernels/kernels.ts'
import { createReferenceKernel } from '../../src/kernels/reference.ts'
import { GROUP_PAGES, PAGE_BYTES } from '../../src/limits.ts'
import { CONTENTS, fillPage } from '../../src/programs/contents.ts'
import type { FuzzTarget } from './loop.ts'

const PAGES = 32
const MOST_RUNS = 4
const RUN_BYTES = 4
const MOST_BYTES = 8192
/** Bytes on either side of the area that are looked at after every run; `audit` looks at all. */
const NEAR_BYTES = 4096
const GUARD = 0x5a

const contextOf = (memory: GuestMemory): EncodingContext => ({
  memory,
  kernels: loadKernels(memory),
  area: memory.layout.codecs + CODEC_AREA.bytes,
  session: { seed: 0n, missing: () => {}, wanted: new WantedPages(() => PAGES) },
})

/** What a run wants of other guests is placed later: here from copies that nobody has filled. */
function placeWanted({ memory, area, session }: EncodingContext): void {
  const wanted = session?.wanted
  if (session === undefined || wanted === undefined || wanted.count === 0) return
  const { placeCopy } = createReferenceKernel(memory, session.seed)
  for (let index = 0; index < wanted.count; index++) {
    const copy = area + CODEC_AREA.copies + index * PAGE_BYTES
    if (placeCopy(wanted.record[index] as number, wanted.page[index] as number, copy) === 0) {
      session.missing(wanted.page[index] as number)
    }
  }
  wanted.count = 0
}

export interface Run {
  readonly gap: number
  readonly count: number
  readonly payload: Uint8Array
}

/** Runs as an input. */
export function inputOf(runs: readonly Run[]): Uint8Array {
  const table = runs.flatMap(({ gap, count, payload }) => [gap, count - 1, payload.length & 255, payload.length >> 8])
  return Uint8Array.from([runs.length - 1, ...table, ...runs.flatMap(({ payload }) => [...payload])])
}

function runsOf(input: Uint8Array): Run[] {
  const count = ((input[0] ?? 0) % MOST_RUNS) + 1
  const byte = (at: number): number => input[at] ?? 0
  let payloadAt = 1 + count * RUN_BYTES
  return Array.from({ length: count }, (_, run) => {
    const at = 1 + run * RUN_BYTES
    const bytes = byte(at + 2) | (byte(at + 3) << 8)
    const payload = input.subarray(payloadAt, payloadAt + bytes)
    payloadAt += bytes
    return { gap: byte(at) % 8, count: (byte(at + 1) % GROUP_PAGES) + 1, payload }
  })
}

/** Payloads that an encoder of single pages makes of what programs hold, one page a run. */
export function pageSeeds(create: (context: EncodingContext) => PageEncoder): Uint8Array[] {
  return payloadSeeds((context, at, to) => create(context).encodePage(at, to, PAGE_BYTES))
}

/**
 * The same for any function from the copy at `from`, the first of the group area, to a payload at `to` for a run of `count`
 * pages; −1: none.
 */
export function payloadSeeds(
  encode: (context: EncodingContext, from: number, to: number) => number,
  count = 1,
): Uint8Array[] {
  const memory = GuestMemory.create(PAGES * PAGE_BYTES, 1)
  const context = contextOf(memory)
  const words = new Uint32Array(memory.bytes.buffer)
  const copy = context.area + CODEC_AREA.group
  const seeds: Uint8Array[] = []
  for (const content of CONTENTS) {
    memory.bytes.fill(0)
    for (let page = 0; page < PAGES; page++) {
      fillPage(memory.bytes as unknown as Uint8Array, words, content, 1, page)
      memory.controlBytes.set(memory.bytes.subarray(page * PAGE_BYTES, (page + 1) * PAGE_BYTES), copy)
      const length = encode(context, copy, memory.layout.staging)
      if (length < 0 || length > PAGE_BYTES) continue
      const payload = memory.controlBytes.slice(memory.layout.staging, memory.layout.staging + length)
      seeds.push(inputOf([{ gap: 1, count, payload }]))
    }
  }
  return seeds
}

/** How an input ended, without the numbers in it. */
const worded = (error: GodwitError): string => `${error.code}: ${error.message.replace(/\d+/g, 'n')}`

export function decoderTarget(encoding: PageEncoding, seeds: readonly Uint8Array[] = []): FuzzTarget {
  const memory = GuestMemory.create(PAGES * PAGE_BYTES, 1)
  const { bytes, controlBytes } = memory
  const context = contextOf(memory)
  const canvas = Uint8Array.from({ length: bytes.length }, (_, index) => Math.imul(index, 0x9e3779b1) >>> 24)
  bytes.set(canvas)
  const [areaFrom, areaTo] = [context.area, context.area + CODEC_AREA.bytes]
  const near = [
    controlBytes.subarray(areaFrom - NEAR_BYTES, areaFrom),
    controlBytes.subarray(areaTo, areaTo + NEAR_BYTES),
  ]
  // The payload ends where the memory ends: reading on traps.
  const tail = controlBytes.subarray(controlBytes.length - MOST_BYTES)
  for (const region of [...near, tail]) region.fill(GUARD)
  const before = Buffer.from(controlBytes)
  const guard = before.subarray(areaFrom - NEAR_BYTES, areaFrom)
  const decoder = encoding.createDecoder(context)

  /** Decodes one run as a receiver does; returns what the decoder threw, null if nothing. */
  const decode = (firstPage: number, count: number, from: number, payloadBytes: number): unknown => {
    if (context.session?.wanted !== undefined) context.session.wanted.count = 0
    try {
      decoder.decodeRun(firstPage, count, from, payloadBytes)
      placeWanted(context)
      return null
    } catch (thrown) {
      return thrown
    }
  }

  /** One run. Throws what checkPayload and the decoder throw, and Error for a breach. */
  const place = (firstPage: number, { count, payload }: Run): void => {
    encoding.checkPayload(count, payload.length)
    const from = controlBytes.length - payload.length
    controlBytes.set(payload, from)
    const thrown = decode(firstPage, count, from, payload.length)
    const kept = Buffer.compare(controlBytes.subarray(from), payload) === 0
    tail.fill(GUARD)
    if (!kept) throw new Error('the payload was written to')
    const [begin, end] = [firstPage * PAGE_BYTES, (firstPage + count) * PAGE_BYTES]
    bytes.set(canvas.subarray(begin, end), begin)
    if (Buffer.compare(bytes, canvas) !== 0) throw new Error('a page outside the run was written')
    if (near.some((region) => !guard.equals(region))) throw new Error('memory beside the area was written')
    if (thrown !== null) throw thrown
  }

  return {
    seeds,
    most: MOST_BYTES,
    run(input) {
      const said: string[] = []
      let page = 0
      const attempt = (action: () => void): void => {
        try {
          action()
          said.push('placed')
        } catch (error) {
          if (!(error instanceof GodwitError) || error.code !== 'bad-payload') throw error
          said.push(worded(error))
        }
      }
      for (const run of runsOf(input)) {
        if (page + run.gap + run.count > PAGES) break
        attempt(() => place(page + run.gap, run))
        page += run.gap + run.count
      }
      attempt(() => decoder.endFrame?.())
      return said.join(' | ')
    },
    audit() {
      // The area is the decoder's; all else of the control memory must be as it was.
      const same = [
        [0, areaFrom],
        [areaTo, controlBytes.length],
      ].every(([from, to]) => before.subarray(from, to).equals(controlBytes.subarray(from, to)))
      if (!same) throw new Error('memory of another part of the engine was written')
    },
  }
}
