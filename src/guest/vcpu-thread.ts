// One vCPU: a worker thread that runs the guest's program and nothing else. Started by vcpus.ts. It never yields to its
// event loop; terminate() ends it, also in a park.

import { parentPort, workerData } from 'node:worker_threads'
import type { GuestConfig } from './config.ts'
import { GuestMemory, type SharedGuestMemory } from './memory.ts'
import { Pacer } from './pacer.ts'
import type { Program, ProgramModule } from './program.ts'
import { arrive, registersOf, vcpuWords } from './safepoint.ts'
import { VCPU } from './safepoint-machine.ts'
import { type ServiceRings, VcpuRequests } from './service-ports.ts'
import { VcpuSafepoint } from './vcpu-safepoint.ts'

/** What vcpus.ts hands over. */
export interface VcpuThreadData {
  readonly memory: SharedGuestMemory
  readonly config: GuestConfig
  readonly vcpu: number
  readonly programUrl: string
  /** Null: the program does not serve. */
  readonly rings: ServiceRings | null
}

/** What the thread tells vcpus.ts. */
export type VcpuThreadMessage =
  | { readonly type: 'ready' }
  | { readonly type: 'invalid'; readonly message: string }
  | { readonly type: 'crash'; readonly message: string; readonly stack: string | undefined }

async function loadProgram(data: VcpuThreadData, registers: Uint32Array): Promise<Program> {
  const module = (await import(data.programUrl)) as Partial<ProgramModule>
  if (typeof module.create !== 'function') throw new Error('it does not export a function create')
  const { vcpus, memoryBytes, options, seed } = data.config
  const service = data.rings === null ? {} : { requests: new VcpuRequests(data.rings) }
  const program = module.create({ vcpu: data.vcpu, vcpus, memoryBytes, options, seed, registers, ...service })
  if (typeof program?.step !== 'function') throw new Error('create() returns no object with a function step')
  return program
}

/** Steps for ever; returns only by a throw of the program. */
function run(program: Program, safepoint: VcpuSafepoint, pacer: Pacer): never {
  for (;;) {
    if (!safepoint.poll()) continue
    const budget = pacer.budget()
    if (budget === 0) continue
    const startedAt = performance.now()
    let done = 0
    let idle = false
    // R5: before the steps look for work, so that what comes while they do ends the rest at once.
    const wake = safepoint.wakeSeen()
    const { accessors } = safepoint
    try {
      // R3: at most POLL_STEPS, never a poll inside a step.
      while (done < budget && !idle) {
        idle = program.step(accessors) === false
        done++
      }
    } finally {
      safepoint.steps += done
    }
    pacer.did(done, performance.now(), startedAt)
    if (idle) pacer.idle(wake)
  }
}

async function main(data: VcpuThreadData): Promise<void> {
  const memory = new GuestMemory(data.memory)
  const words = vcpuWords(memory, data.vcpu)
  const registers = registersOf(memory, data.vcpu)
  const say = (message: VcpuThreadMessage): void => parentPort?.postMessage(message)
  let program: Program
  try {
    program = await loadProgram(data, registers)
  } catch (thrown) {
    say({ type: 'invalid', message: thrown instanceof Error ? thrown.message : String(thrown) })
    return
  }
  const safepoint = new VcpuSafepoint(memory, data.vcpu)
  const pacer = new Pacer(memory, words, safepoint, data.config)
  say({ type: 'ready' })
  try {
    safepoint.begin()
    run(program, safepoint, pacer)
  } catch (thrown) {
    safepoint.flush()
    const error = thrown instanceof Error ? thrown : new Error(String(thrown))
    say({ type: 'crash', message: error.message, stack: error.stack })
    Atomics.store(memory.controlWords, words.state, VCPU.dead) // R7
    arrive(memory)
  }
}

if (parentPort !== null) await main(workerData as VcpuThreadData)
