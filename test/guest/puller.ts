// A guest of real vCPU threads whose pages are absent, and the test in the place of the urgent lane: what the vCPUs ask
// for, and pages that come.

import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { onTestFinished } from 'vitest'
import { resetAsks, takeAsks } from '../../src/guest/asks.ts'
import { beginAbsent, Installer } from '../../src/guest/installing.ts'
import { HEADER } from '../../src/guest/layout.ts'
import { GuestMemory } from '../../src/guest/memory.ts'
import { registersOf, vcpuWords } from '../../src/guest/safepoint.ts'
import { VCPU } from '../../src/guest/safepoint-machine.ts'
import type { GuestVcpus } from '../../src/guest/vcpus.ts'
import { startGuest } from '../programs/guest-fixture.ts'

export const PAGE = 4096
export const PAGES = 16

/**
 * A program that does one command per order: the test writes register 1 (operation) to 4, raises register 0, and the
 * vCPU answers in registers 5 (value) and 6 (1: it threw), raising register 7. It steps on all the time.
 */
const SOURCE = `
const page = new Uint8Array(4096)
const operations = [
  (a, at) => a.loadU32(at),
  (a, at, value) => a.storeU32(at, value),
  (a, at, value) => a.storeBytes(at, page.fill(value)),
  (a, at) => a.free(at),
  (a, at) => a.reuse(at),
  (a, at, value) => a.storeBytes(at, page.subarray(0, 8).fill(value)),
  (a, at) => { a.loadBytes(at, page.subarray(0, 8)); return page[0] },
  (a, at) => a.loadU8(at),
  (a, at) => a.loadF64(at),
  (a, at) => a.loadU16(at),
]
export const create = ({ registers: r }) => ({ step(a) {
  const order = Atomics.load(r, 0)
  if (order === Atomics.load(r, 7)) return
  const address = new Float64Array(r.buffer, r.byteOffset + 16, 1)[0]
  let threw = 0
  try { r[3] = operations[r[1]](a, address, r[2]) ?? 0 } catch (error) { threw = error instanceof RangeError ? 1 : 2 }
  r[6] = threw
  Atomics.store(r, 7, order)
} })`

export const OP = {
  load: 0,
  store: 1,
  whole: 2,
  free: 3,
  reuse: 4,
  part: 5,
  loadBytes: 6,
  u8: 7,
  f64: 8,
  u16: 9,
} as const

export interface PullingGuest {
  readonly memory: GuestMemory
  readonly vcpus: GuestVcpus
  readonly installer: Installer
  /** Gives a vCPU a command without awaiting it. */
  order(vcpu: number, operation: number, address: number, value?: number): void
  /** Whether its command is done, and then what came of it. */
  done(vcpu: number): boolean
  value(vcpu: number): number
  threw(vcpu: number): boolean
  phase(vcpu: number): number
  parkedInside(vcpu: number): boolean
  presence(page: number): number
  missing(): number
  /** What was asked since the last time. */
  asks(): { faults: number[]; unneeded: number[] }
  /** As a lane does: claim, bytes, install. */
  bring(page: number, byte: number): void
}

export async function pullingGuest(vcpuCount: number, absent: Uint8Array | null = null): Promise<PullingGuest> {
  const directory = mkdtempSync(join(tmpdir(), 'godwit-puller-'))
  onTestFinished(() => rmSync(directory, { recursive: true }))
  writeFileSync(join(directory, 'orders.mjs'), SOURCE)
  const memory = GuestMemory.create(PAGES * PAGE, vcpuCount)
  const changes = { program: 'orders.mjs', vcpus: vcpuCount, memoryBytes: PAGES * PAGE }
  const { vcpus } = await startGuest(changes, { programsDirectory: directory, startPaused: true, memory })
  beginAbsent(memory, absent)
  resetAsks(memory)
  vcpus.setPulling(true)
  vcpus.resume()
  await vcpus.running()
  const registers = Array.from({ length: vcpuCount }, (_, vcpu) => registersOf(memory, vcpu))
  const of = (vcpu: number): Uint32Array<SharedArrayBuffer> => registers[vcpu] as Uint32Array<SharedArrayBuffer>
  const installer = new Installer(memory)
  const phase = (vcpu: number): number => Atomics.load(memory.controlWords, vcpuWords(memory, vcpu).state)
  return {
    memory,
    vcpus,
    installer,
    order(vcpu, operation, address, value = 0) {
      const mine = of(vcpu)
      mine[1] = operation
      mine[2] = value
      new Float64Array(mine.buffer, mine.byteOffset + 16, 1)[0] = address
      Atomics.add(mine, 0, 1)
    },
    done: (vcpu) => Atomics.load(of(vcpu), 0) === Atomics.load(of(vcpu), 7),
    value: (vcpu) => of(vcpu)[3] as number,
    threw: (vcpu) => of(vcpu)[6] === 1,
    phase,
    parkedInside: (vcpu) => phase(vcpu) === VCPU.parkedInside,
    presence: (page) => Atomics.load(memory.controlBytes, memory.layout.presence + page),
    missing: () => Atomics.load(memory.controlWords, HEADER.missing),
    asks() {
      const found = { faults: [] as number[], unneeded: [] as number[] }
      takeAsks(
        memory,
        256,
        (page) => found.faults.push(page),
        (page) => found.unneeded.push(page),
      )
      return found
    },
    bring(page, byte) {
      if (installer.claim(page) !== 'claimed') throw new Error(`page ${page} cannot be claimed`)
      memory.bytes.fill(byte, page * PAGE, (page + 1) * PAGE)
      installer.install(page)
    },
  }
}

/** Waits until the condition holds; no longer than a test may take, so that it says what it waited for. */
export async function until(condition: () => boolean, what: string): Promise<void> {
  const end = performance.now() + 25_000
  while (!condition()) {
    if (performance.now() > end) throw new Error(`waited in vain: ${what}`)
    await new Promise((resolve) => setTimeout(resolve, 1))
  }
}
export const wait = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))
