// The end of a pull at the source: what the destination says it cost, and the proof that what arrived is what was frozen.

import { latenciesOf } from '../guest/fault-histogram.ts'
import type { MessageOf } from '../wire/messages.ts'
import { forgetNamed } from './freeze.ts'
import { pagesDigest } from './proof.ts'
import type { ReportFacts } from './report-builder.ts'
import type { SourceContext } from './source-context.ts'

type Complete = MessageOf<'complete'>

/** Faults, latencies and stalls of all vCPUs. */
export function recordFaults(facts: ReportFacts, { faults, dropped }: Complete): void {
  const sum = (of: (one: Complete['faults'][number]) => number): number =>
    faults.reduce((total, one) => total + of(one), 0)
  const longestMs = Math.max(0, ...faults.map((one) => one.longestMs))
  facts.pull = { ...facts.pull, dropped }
  facts.faults = {
    network: sum((one) => one.network),
    localWait: sum((one) => one.localWait),
    stallMs: sum((one) => one.stallMs),
    vcpuStallMs: faults.map((one) => one.stallMs),
    ...latenciesOf(
      faults.map((one) => one.histogram),
      longestMs * 1000,
    ),
  }
}

/**
 * The digest over everything that stayed and everything that was pulled, on both sides. Pages that the destination wrote
 * as a whole before they came are in neither: there nothing of the source's is left.
 */
export function isPulledWhole({ memory, kernels }: SourceContext, { digest, written }: Complete): boolean {
  // What a peer says of pages behind the last one means nothing.
  forgetNamed(memory, kernels, written?.subarray(0, memory.layout.pageCount / 8) ?? null)
  return digest === pagesDigest(memory)
}
