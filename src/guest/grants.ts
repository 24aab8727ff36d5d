// Grants of a locked guest: the side on which the vCPUs run grants steps after each batch and waits until they are
// used. Called from transfer threads, which know nothing but the guest's memory, under the select lock.

import { HEADER } from './layout.ts'
import type { GuestMemory } from './memory.ts'
import { vcpuWords, wake } from './safepoint.ts'
import { isPause, VCPU } from './safepoint-machine.ts'

/** How often a waiting thread looks for an abort. */
const ABORT_LOOK_MS = 50
const MILLIONTHS = 1_000_000

/** Step limit of vCPU `vcpu` when `total` steps have been granted since the guest was created; they sum up to `total`. */
export const limitOf = (total: number, vcpu: number, vcpus: number): number => Math.floor((total + vcpu) / vcpus)

/**
 * Grants `steps` more steps to all vCPUs together, split evenly and exactly over the guest's life. A fraction is kept
 * and granted once it is a whole step.
 */
export function grantSteps(memory: GuestMemory, steps: number): void {
  const { controlWords, controlLongs } = memory
  const { vcpus } = memory.layout
  const blocks = Array.from({ length: vcpus }, (_, vcpu) => vcpuWords(memory, vcpu))
  const millionths = Math.round(steps * MILLIONTHS) + Atomics.load(controlWords, HEADER.grantFraction)
  Atomics.store(controlWords, HEADER.grantFraction, millionths % MILLIONTHS)
  let total = Math.floor(millionths / MILLIONTHS)
  for (const words of blocks) total += Number(Atomics.load(controlLongs, words.stepLimit))
  blocks.forEach((words, vcpu) => {
    const limit = BigInt(limitOf(total, vcpu, vcpus))
    if (limit <= Atomics.load(controlLongs, words.stepLimit)) return
    Atomics.store(controlLongs, words.stepLimit, limit)
    wake(memory, words)
  })
}

/** True when every living vCPU has used up what it was granted. */
export function allUsed(memory: GuestMemory): boolean {
  const { controlWords, controlLongs } = memory
  for (let vcpu = 0; vcpu < memory.layout.vcpus; vcpu++) {
    const words = vcpuWords(memory, vcpu)
    if (Atomics.load(controlWords, words.state) === VCPU.dead) continue
    if (Atomics.load(controlLongs, words.steps) < Atomics.load(controlLongs, words.stepLimit)) return false
  }
  return true
}

/**
 * Resolves when every vCPU has used its grants, or when none will: the guest is paused, a vCPU died, or HEADER.abort is
 * set. Resolves with whether they were used.
 */
export async function grantsUsed(memory: GuestMemory): Promise<boolean> {
  const { controlWords } = memory
  for (;;) {
    const seen = Atomics.load(controlWords, HEADER.grantsDone)
    if (allUsed(memory)) return true
    const paused = isPause(Atomics.load(controlWords, HEADER.safepoint))
    if (paused || Atomics.load(controlWords, HEADER.abort) !== 0) return false
    // The timer keeps the event loop alive, which a pending waitAsync does not.
    const timer = setTimeout(() => Atomics.notify(controlWords, HEADER.grantsDone), ABORT_LOOK_MS)
    const waiting = Atomics.waitAsync(controlWords, HEADER.grantsDone, seen, ABORT_LOOK_MS)
    if (waiting.async) await waiting.value
    clearTimeout(timer)
  }
}
