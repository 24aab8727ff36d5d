// The source's pause before a switchover: what is still to be sent crosses now (stop-and-copy, pre-copy), or its pages are
// named as absent and follow when the guest runs at the destination (post-copy, hybrid). Then the state crosses, with the
// digest over everything that the destination is to have by then.

import { GodwitError } from '../errors.ts'
import { saveFree } from '../guest/free-map.ts'
import { THREAD_BLOCK } from '../guest/layout.ts'
import type { GuestMemory } from '../guest/memory.ts'
import { clearAll, mergeInto } from '../guest/page-set.ts'
import { MAX_LANES } from '../limits.ts'
import type { MessageOf } from '../wire/messages.ts'
import { harvestPaused } from './precopy.ts'
import { switchDigest } from './proof.ts'
import { pulls } from './settings.ts'
import type { SourceContext } from './source-context.ts'
import type { FrozenTimes } from './switch-times.ts'

export interface Frozen extends FrozenTimes {
  readonly digest: string | null
}

/** Pauses the guest and sends what must cross while it stands still. `round`: index of the round that would be next. */
export async function freeze(context: SourceContext, round: number): Promise<Frozen> {
  const { vcpus, clock, pages, settings } = context
  const pausedFrom = clock.now()
  await context.orInterrupt(vcpus.pause())
  const pausedAt = clock.now()
  harvestPaused(context)
  pages.setBandwidth(settings.bandwidth)
  return pulls(settings.movement)
    ? await nameAbsent(context, round, { pausedFrom, pausedAt })
    : await sendRest(context, round, { pausedFrom, pausedAt })
}

type Paused = Pick<FrozenTimes, 'pausedFrom' | 'pausedAt'>

/** R12: the last round ends when what its references missed has been sent, too; a second one relies on nothing. */
async function sendRest(context: SourceContext, round: number, paused: Paused): Promise<Frozen> {
  const { memory } = context
  const last = await sendLast(context, round, paused, true)
  if (last.missing === null) return last
  mergeInto(memory, memory.layout.toSend, memory.layout.dirty)
  const again = await sendLast(context, round + 1, paused, false)
  if (again.missing === null) return again
  throw new GodwitError('bad-message', 'the destination misses pages that refer to nothing', { side: 'destination' })
}

async function sendLast(
  context: SourceContext,
  round: number,
  { pausedFrom, pausedAt }: Paused,
  refer: boolean,
): Promise<Frozen & Pick<MessageOf<'placed'>, 'missing'>> {
  const { vcpus, clock, memory, kernels, pages, settings, control, epoch } = context
  const { verify } = settings
  const placed = context.placed(round)
  const startedAt = clock.now()
  const { hashing: hash, copy } = context
  const sending = pages.sendRound({ round, skip: false, hash, refer, copy: copy && round === 0, final: true })
  const states = vcpus.save()
  const sent = await context.orInterrupt(sending)
  const sentAt = clock.now()
  const digest = switchDigest(verify, memory, kernels, states)
  const rest = { free: saveFree(memory, kernels), pull: false, absent: null, shared: false }
  control.send({ type: 'state', round, epoch, vcpus: states, digest, verify, ...rest })
  const stateAt = clock.now()
  const { missing } = await context.orInterrupt(placed)
  const placedAt = clock.now()
  const ms = Math.max(placedAt - startedAt, 0.001)
  const row = { index: round, dirty: sent.sent, sent: sent.sent, skipped: sent.skipped, bytes: sent.bytes, ms }
  const bytesPerSecond = (sent.bytes / ms) * 1000
  context.report.round({ ...row, dirtyPagesPerSecond: 0, bytesPerSecond, decision: 'final' }, sent)
  return { pausedFrom, pausedAt, sentAt, stateAt, placedAt, digest, missing }
}

/** R22: every earlier round is placed (pre-copy has waited for it); what is dirty is absent, the digest covers the rest. */
async function nameAbsent(context: SourceContext, round: number, { pausedFrom, pausedAt }: Paused): Promise<Frozen> {
  const { vcpus, clock, memory, kernels, settings, control, epoch } = context
  const { verify } = settings
  const free = saveFree(memory, kernels)
  if (round === 0 && free !== null) leaveOut(memory, free)
  const absent = round === 0 ? null : absentPages(context)
  rememberAbsent(memory)
  const states = vcpus.save()
  const sentAt = clock.now()
  const digest = switchDigest(verify, memory, kernels, states)
  const rest = { free, pull: true, absent, shared: false }
  control.send({ type: 'state', round: round - 1, epoch, vcpus: states, digest, verify, ...rest })
  const stateAt = clock.now()
  return { pausedFrom, pausedAt, sentAt, stateAt, placedAt: stateAt, digest }
}

/** The pages that are dirty now, as they travel; their hashes, and so their terms of the digest, are forgotten. */
export function absentPages({ memory, kernels }: SourceContext): Uint8Array {
  const { toSend, pageCount } = memory.layout
  forgetPages(memory, kernels, toSend)
  return memory.controlBytes.slice(toSend, toSend + pageCount / 8)
}

/** Takes the pages of a bitmap out of hash table and digest. */
function forgetPages(memory: GuestMemory, kernels: SourceContext['kernels'], bitmapOffset: number): void {
  const { hashes, pageCount, threadBlocks } = memory.layout
  const mainThread = threadBlocks + MAX_LANES * THREAD_BLOCK.bytes
  kernels.forget(bitmapOffset, Math.ceil(pageCount / 32), hashes, mainThread + THREAD_BLOCK.digest)
}

/** The same for pages that the other side has named. Needs `toSend`, which is empty afterwards. */
export function forgetNamed(memory: GuestMemory, kernels: SourceContext['kernels'], named: Uint8Array | null): void {
  const { toSend } = memory.layout
  clearAll(memory, toSend)
  if (named === null) return
  memory.controlBytes.set(named, toSend)
  forgetPages(memory, kernels, toSend)
  clearAll(memory, toSend)
}

/** R17: free pages are zero at a fresh destination; they are not sent. */
export function leaveOut({ layout, controlBytes }: GuestMemory, pages: Uint8Array): void {
  for (let byte = 0; byte < pages.length; byte++) {
    const at = layout.toSend + byte
    controlBytes[at] = (controlBytes[at] as number) & ~(pages[byte] as number)
  }
}

/** The bitmap `dirty` keeps what was absent at the switch: recovery sends nothing else, and the audit leaves it out. */
function rememberAbsent({ layout, controlBytes }: GuestMemory): void {
  controlBytes.copyWithin(layout.dirty, layout.toSend, layout.toSend + layout.pageCount / 8)
}
