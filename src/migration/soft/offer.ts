// The switch of soft, at which nobody pauses (R27): what is stale at the destination is named, the digest is proven over the
// rest, and the destination records that it shares the guest. Until it has, nothing has moved.

import { saveFree } from '../../guest/free-map.ts'
import { countBits, mergeInto } from '../../guest/page-set.ts'
import { staleAtSwitch } from '../../guest/sharing.ts'
import { absentPages, leaveOut } from '../freeze.ts'
import { harvest } from '../precopy.ts'
import { digestWith } from '../proof.ts'
import type { SourceContext } from '../source-context.ts'

const REGISTER_BYTES = 1024

/**
 * Names the pages that were written since they were sent; `dirty` has them from then on, and `toSend` none. Every round is
 * placed. Returns the digest over the others (null: nothing is verified), the free map that the destination has from then on,
 * and how many pages were named.
 */
export async function nameStale(
  context: SourceContext,
  round: number,
): Promise<{ readonly digest: string | null; readonly free: Uint8Array | null; readonly stale: number }> {
  const { memory, kernels, control, epoch, settings } = context
  const { toSend, dirty } = memory.layout
  await harvest(context)
  // Behind the harvest: a page that is freed or used again from here on is marked, and its bit comes along with it (R17).
  const free = saveFree(memory, kernels)
  mergeInto(memory, toSend, dirty)
  if (round === 0 && free !== null) leaveOut(memory, free)
  const absent = absentPages(context)
  const stale = countBits(memory, toSend)
  memory.controlBytes.set(absent, staleAtSwitch(memory.layout))
  mergeInto(memory, dirty, toSend)
  // vCPUs cross one at a time, later, each with its own state.
  const vcpus = Array.from({ length: memory.layout.vcpus }, () => ({
    steps: 0,
    registers: new Uint8Array(REGISTER_BYTES),
  }))
  const digest = settings.verify === 'none' ? null : digestWith(memory, vcpus, free)
  const state = { round: round - 1, epoch, vcpus, digest, verify: settings.verify, free, absent }
  control.send({ type: 'state', ...state, pull: false, shared: true })
  return { digest, free, stale }
}
