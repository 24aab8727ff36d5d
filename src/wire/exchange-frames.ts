// The frames of the exchange, on which pages and vCPUs change their owner (R25, R26): how they are laid out and what a
// reader must check before it believes one. Pure. GIVE, RUNS and CROSS are ownership frames, numbered from 1 in each
// direction; APPLIED says how many of the other side's have taken effect, ASK which pages vCPUs wait for.
//
//   GIVE     │ number u32 │ count u32 │ entries, 16 each │ generations, u32 each │ raw page │ raw page │ …
//            entry: │ page u32 │ how u8 │ free u8 │ home u8 │ 0 │ seal u64 │       pages ascend
//   RUNS     │ number u32 │ 0 u32 │ sum u64 │ runs, 16 each: first, count, generation, home │     runs ascend
//   CROSS    │ number u32 │ vcpu u32 │ generation u32 │ 0 u32 │ steps u64 │ registers, 1,024 bytes │
//   ASK      │ pages, u32 each │
//   APPLIED  │ count u32 │

import { GodwitError } from '../errors.ts'
import type { VcpuState } from '../guest/vcpus-port.ts'
import { BATCH_PAGES, MAX_NEEDS, MAX_RUNS, PAGE_BYTES } from '../limits.ts'
import { checkOf, encodeHeader, FRAME_HEADER_BYTES, FRAME_TYPE, type FrameType } from './frame.ts'

const GIVE_HEAD_BYTES = 8
export const GIVE_ENTRY_BYTES = 16
const RUNS_HEAD_BYTES = 16
const RUN_ENTRY_BYTES = 16
const CROSS_HEAD_BYTES = 24
const REGISTER_BYTES = 1024
/** A page changes its owner some thousand times a second at most: not in the life of a guest. */
const MAX_GENERATION = 2 ** 31

/** How a given page travels; the kernels write the first two. `same`: the receiver's own copy has these bytes. */
export const HOW = { zero: 1, raw: 2, same: 3 } as const

/** The guest that a frame is about. */
export interface Bounds {
  readonly pageCount: number
  readonly vcpus: number
}

/** A GIVE frame's tables; one object is used for many frames. */
export interface GiveTable {
  number: number
  count: number
  readonly pages: Uint32Array
  readonly how: Uint8Array
  /** Whether the guest's program has the page free (R17). */
  readonly free: Uint8Array
  readonly homes: Uint8Array
  readonly generations: Uint32Array
  readonly seals: BigUint64Array
  /** Where in the payload the raw pages begin. */
  contentsAt: number
}

export const createGiveTable = (): GiveTable => ({
  number: 0,
  count: 0,
  pages: new Uint32Array(BATCH_PAGES),
  how: new Uint8Array(BATCH_PAGES),
  free: new Uint8Array(BATCH_PAGES),
  homes: new Uint8Array(BATCH_PAGES),
  generations: new Uint32Array(BATCH_PAGES),
  seals: new BigUint64Array(BATCH_PAGES),
  contentsAt: 0,
})

/** Pages given without data. */
export interface RunsTable {
  readonly number: number
  /** Sum of the digest terms of all pages; 0 where no hashes are kept. */
  readonly sum: bigint
  /** First page, count, generation and home of each run, one behind the other. */
  readonly runs: Uint32Array
}

export interface Crossing {
  readonly number: number
  readonly vcpu: number
  readonly generation: number
  readonly state: VcpuState
}

const bad = (message: string): GodwitError => new GodwitError('bad-frame', message)
const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)

/** Bytes in front of the raw pages: frame header, head and tables. */
const giveTablesBytes = (count: number): number => GIVE_HEAD_BYTES + count * (GIVE_ENTRY_BYTES + 4)

function finish(frame: Buffer<ArrayBuffer>, type: FrameType, contentBytes = 0): Buffer<ArrayBuffer> {
  const check = checkOf(type, frame.subarray(FRAME_HEADER_BYTES))
  encodeHeader(frame, 0, { type, length: frame.length - FRAME_HEADER_BYTES + contentBytes, round: 0, check })
  return frame
}

const frameOf = (payloadBytes: number): Buffer<ArrayBuffer> =>
  Buffer.allocUnsafeSlow(FRAME_HEADER_BYTES + payloadBytes).fill(0)

/** Header, head and tables of a GIVE; its raw pages are written behind it. */
export function encodeGive(table: GiveTable): Buffer<ArrayBuffer> {
  const { count } = table
  const frame = frameOf(giveTablesBytes(count))
  const view = viewOf(frame)
  view.setUint32(FRAME_HEADER_BYTES, table.number, true)
  view.setUint32(FRAME_HEADER_BYTES + 4, count, true)
  const entries = FRAME_HEADER_BYTES + GIVE_HEAD_BYTES
  const generations = entries + count * GIVE_ENTRY_BYTES
  let rawPages = 0
  for (let index = 0; index < count; index++) {
    const at = entries + index * GIVE_ENTRY_BYTES
    const how = table.how[index] as number
    if (how === HOW.raw) rawPages++
    view.setUint32(at, table.pages[index] as number, true)
    view.setUint8(at + 4, how)
    view.setUint8(at + 5, table.free[index] as number)
    view.setUint8(at + 6, table.homes[index] as number)
    view.setBigUint64(at + 8, table.seals[index] as bigint, true)
    view.setUint32(generations + 4 * index, table.generations[index] as number, true)
  }
  return finish(frame, FRAME_TYPE.give, rawPages * PAGE_BYTES)
}

/** How much of a payload its check covers: all of it, but of a GIVE not the pages. Throws `bad-frame`. */
export function checkedBytes(type: FrameType, payload: Uint8Array): number {
  if (type !== FRAME_TYPE.give) return payload.length
  if (payload.length < giveTablesBytes(1)) throw bad(`a give of ${payload.length} bytes`)
  const count = viewOf(payload).getUint32(4, true)
  if (count === 0 || count > BATCH_PAGES) throw bad(`a give of ${count} pages`)
  if (giveTablesBytes(count) > payload.length) throw bad(`a give of ${count} pages in ${payload.length} bytes`)
  return giveTablesBytes(count)
}

/** Reads a GIVE, whose check has passed, into `table`. Throws `bad-frame`, `bad-run` or `bad-encoding`. */
export function decodeGive(payload: Uint8Array, bounds: Bounds, table: GiveTable): void {
  const tablesBytes = checkedBytes(FRAME_TYPE.give, payload)
  const view = viewOf(payload)
  const count = view.getUint32(4, true)
  const generations = GIVE_HEAD_BYTES + count * GIVE_ENTRY_BYTES
  let rawPages = 0
  let before = -1
  for (let index = 0; index < count; index++) {
    const at = GIVE_HEAD_BYTES + index * GIVE_ENTRY_BYTES
    const page = view.getUint32(at, true)
    requireRun(page, 1, before, bounds)
    before = page
    const [how, free, home] = [view.getUint8(at + 4), view.getUint8(at + 5), view.getUint8(at + 6)]
    if (how < HOW.zero || how > HOW.same) throw new GodwitError('bad-encoding', `page encoding ${how} in a give`)
    if (free > 1 || (free === 1 && how === HOW.raw) || view.getUint8(at + 7) !== 0) throw bad('flags of a given page')
    if (how === HOW.raw) rawPages++
    table.pages[index] = page
    table.how[index] = how
    table.free[index] = free
    table.homes[index] = homeIn(home, bounds)
    table.generations[index] = generationIn(view.getUint32(generations + 4 * index, true))
    table.seals[index] = view.getBigUint64(at + 8, true)
  }
  if (tablesBytes + rawPages * PAGE_BYTES !== payload.length) {
    throw bad(`${rawPages} raw pages of ${count} in a give of ${payload.length} bytes`)
  }
  table.number = numberIn(view.getUint32(0, true))
  table.count = count
  table.contentsAt = tablesBytes
}

export function encodeRuns({ number, sum, runs }: RunsTable): Buffer<ArrayBuffer> {
  const frame = frameOf(RUNS_HEAD_BYTES + 4 * runs.length)
  const view = viewOf(frame)
  view.setUint32(FRAME_HEADER_BYTES, number, true)
  view.setBigUint64(FRAME_HEADER_BYTES + 8, sum, true)
  for (let index = 0; index < runs.length; index++) {
    view.setUint32(FRAME_HEADER_BYTES + RUNS_HEAD_BYTES + 4 * index, runs[index] as number, true)
  }
  return finish(frame, FRAME_TYPE.runs)
}

/** Throws `bad-frame` or `bad-run`. */
export function decodeRuns(payload: Uint8Array, bounds: Bounds): RunsTable {
  const { length } = payload
  const count = (length - RUNS_HEAD_BYTES) / RUN_ENTRY_BYTES
  if (!Number.isInteger(count) || count < 1 || count > MAX_RUNS) throw bad(`runs in ${length} bytes`)
  const view = viewOf(payload)
  if (view.getUint32(4, true) !== 0) throw bad('a head of runs')
  const runs = new Uint32Array(4 * count)
  let before = -1
  for (let index = 0; index < runs.length; index++) {
    runs[index] = view.getUint32(RUNS_HEAD_BYTES + 4 * index, true)
    if (index % 4 !== 3) continue
    const [first, pages, generation] = [runs[index - 3] as number, runs[index - 2] as number, runs[index - 1] as number]
    requireRun(first, pages, before, bounds)
    before = first + pages - 1
    generationIn(generation)
    homeIn(runs[index] as number, bounds)
  }
  return { number: numberIn(view.getUint32(0, true)), sum: view.getBigUint64(8, true), runs }
}

export function encodeCross({ number, vcpu, generation, state }: Crossing): Buffer<ArrayBuffer> {
  const frame = frameOf(CROSS_HEAD_BYTES + REGISTER_BYTES)
  frame.writeUInt32LE(number, FRAME_HEADER_BYTES)
  frame.writeUInt32LE(vcpu, FRAME_HEADER_BYTES + 4)
  frame.writeUInt32LE(generation, FRAME_HEADER_BYTES + 8)
  frame.writeBigUInt64LE(BigInt(state.steps), FRAME_HEADER_BYTES + 16)
  frame.set(state.registers.subarray(0, REGISTER_BYTES), FRAME_HEADER_BYTES + CROSS_HEAD_BYTES)
  return finish(frame, FRAME_TYPE.cross)
}

/** Throws `bad-frame`. */
export function decodeCross(payload: Uint8Array, { vcpus }: Bounds): Crossing {
  if (payload.length !== CROSS_HEAD_BYTES + REGISTER_BYTES) throw bad(`a crossing of ${payload.length} bytes`)
  const view = viewOf(payload)
  const [vcpu, steps] = [view.getUint32(4, true), view.getBigUint64(16, true)]
  if (vcpu >= vcpus) throw bad(`vCPU ${vcpu} of ${vcpus} crosses`)
  if (view.getUint32(12, true) !== 0 || steps > Number.MAX_SAFE_INTEGER) throw bad('the head of a crossing')
  return {
    number: numberIn(view.getUint32(0, true)),
    vcpu,
    generation: generationIn(view.getUint32(8, true)),
    state: { steps: Number(steps), registers: payload.slice(CROSS_HEAD_BYTES) },
  }
}

/** One ASK frame with the first `count` pages, at most MAX_NEEDS. */
export function encodeAsk(pages: Uint32Array, count: number): Buffer<ArrayBuffer> {
  const frame = frameOf(4 * count)
  for (let index = 0; index < count; index++)
    frame.writeUInt32LE(pages[index] as number, FRAME_HEADER_BYTES + 4 * index)
  return finish(frame, FRAME_TYPE.ask)
}

/** Throws `bad-frame` or `bad-run`. */
export function decodeAsk(payload: Uint8Array, { pageCount }: Bounds): Uint32Array {
  const { length } = payload
  if (length === 0 || length % 4 !== 0 || length > 4 * MAX_NEEDS) throw bad(`an ask of ${length} bytes`)
  const view = viewOf(payload)
  const pages = new Uint32Array(length / 4)
  for (let index = 0; index < pages.length; index++) {
    const page = view.getUint32(4 * index, true)
    if (page >= pageCount)
      throw new GodwitError('bad-run', `page ${page} was asked for in a guest of ${pageCount} pages`)
    pages[index] = page
  }
  return pages
}

export function encodeApplied(count: number): Buffer<ArrayBuffer> {
  const frame = frameOf(4)
  frame.writeUInt32LE(count, FRAME_HEADER_BYTES)
  return finish(frame, FRAME_TYPE.applied)
}

/** Throws `bad-frame`. */
export function decodeApplied(payload: Uint8Array): number {
  if (payload.length !== 4) throw bad(`an acknowledgement of ${payload.length} bytes`)
  return viewOf(payload).getUint32(0, true)
}

function requireRun(first: number, count: number, before: number, { pageCount }: Bounds): void {
  if (count > 0 && first > before && first + count <= pageCount) return
  throw new GodwitError('bad-run', `${count} pages from page ${first} on, behind page ${before}, of ${pageCount}`)
}

function generationIn(generation: number): number {
  if (generation === 0 || generation > MAX_GENERATION) throw bad(`generation ${generation}`)
  return generation
}

function numberIn(number: number): number {
  if (number === 0) throw bad('an ownership frame without a number')
  return number
}

function homeIn(home: number, { vcpus }: Bounds): number {
  if (home > vcpus) throw bad(`home ${home} in a guest of ${vcpus} vCPUs`)
  return home
}
