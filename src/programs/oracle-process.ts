// The oracle's process: replays a guest from its header, then compares the pages that follow on standard input and
// prints one JSON answer. Started by oracle.ts.

import { loadFree } from '../guest/free-map.ts'
import { GuestMemory } from '../guest/memory.ts'
import type { OracleAnswer, OracleHeader } from './oracle.ts'
import type { ProgramModule } from './program.ts'
import { freshMemory, type Replayed, replaySteps } from './replay.ts'

const PAGE_BYTES = 4096
const MAX_LISTED = 64

async function replayed(header: OracleHeader): Promise<Replayed> {
  const module = (await import(header.programUrl)) as ProgramModule
  return replaySteps(freshMemory(header.config, module), header.config, module, header.steps)
}

/** Notes the pages that are free on one side only (R17). */
function compareFree({ config, free }: OracleHeader, expected: Uint8Array, differing: Set<number>): void {
  const found = GuestMemory.create(config.memoryBytes, config.vcpus)
  loadFree(found, free === null ? null : Buffer.from(free, 'base64'))
  found.free.forEach((isFree, page) => {
    if ((isFree === 0) !== (expected[page] === 0) && differing.size < MAX_LISTED) differing.add(page)
  })
}

/**
 * Notes the pages that differ in a piece of the stream that begins at byte `offset` of the guest. A free page counts as
 * zero on both sides: in a guest that never moved it holds garbage, after a migration nothing (R17).
 */
function compare({ bytes: expected, free }: GuestMemory, piece: Buffer, offset: number, differing: Set<number>): void {
  if (Buffer.compare(expected.subarray(offset, offset + piece.length), piece) === 0) return
  for (let at = 0; at < piece.length; ) {
    const page = Math.floor((offset + at) / PAGE_BYTES)
    const end = Math.min(piece.length, (page + 1) * PAGE_BYTES - offset)
    const equal =
      free[page] !== 0 || Buffer.compare(expected.subarray(offset + at, offset + end), piece.subarray(at, end)) === 0
    if (!equal && differing.size < MAX_LISTED) differing.add(page)
    at = end
  }
}

function registersDiffer(header: OracleHeader, { registers }: Replayed): number[] {
  return registers.flatMap((words, vcpu) => {
    const found = Buffer.from(header.registers[vcpu] ?? '', 'base64')
    const expected = Buffer.from(words.buffer, words.byteOffset, words.byteLength)
    return expected.equals(found) ? [] : [vcpu]
  })
}

async function main(): Promise<OracleAnswer> {
  let pending = Buffer.alloc(0)
  let header: OracleHeader | null = null
  let replay: Replayed | null = null
  let offset = 0
  const differing = new Set<number>()
  for await (const chunk of process.stdin as AsyncIterable<Buffer>) {
    let piece = chunk
    if (header === null) {
      pending = Buffer.concat([pending, chunk])
      const length = pending.length < 4 ? Number.POSITIVE_INFINITY : pending.readUInt32LE(0)
      if (pending.length < 4 + length) continue
      header = JSON.parse(pending.toString('utf8', 4, 4 + length)) as OracleHeader
      replay = await replayed(header)
      compareFree(header, replay.memory.free, differing)
      piece = pending.subarray(4 + length)
    }
    if (replay === null) continue
    if (offset + piece.length > replay.memory.bytes.length) throw new Error('more pages than the guest has')
    compare(replay.memory, piece, offset, differing)
    offset += piece.length
  }
  if (header === null || replay === null) throw new Error('the stream ended within its header')
  if (offset !== replay.memory.bytes.length) throw new Error(`the stream ended after ${offset} bytes`)
  const registers = registersDiffer(header, replay)
  const equal = differing.size === 0 && registers.length === 0
  return { equal, differing: [...differing].sort((a, b) => a - b), registersDiffer: registers }
}

process.stdout.write(JSON.stringify(await main()))
