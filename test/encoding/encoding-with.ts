// A batch encoding with references and deltas whose policy is the test's own.

import { BatchEncoder } from '../../src/encoding/batch-encoder.ts'
import type { BatchEncoding } from '../../src/encoding/batch-encoding.ts'
import { Codecs } from '../../src/encoding/codecs.ts'
import { Deltas } from '../../src/encoding/deltas.ts'
import { LZ4_KERNEL } from '../../src/encoding/lz4-backend.ts'
import type { EncodePolicy } from '../../src/encoding/policy.ts'
import { createReferences } from '../../src/encoding/references.ts'
import type { SharedVersions } from '../../src/encoding/version-store.ts'
import { CODEC_AREA } from '../../src/guest/layout.ts'
import type { GuestMemory } from '../../src/guest/memory.ts'
import { loadClassifier } from '../../src/kernels/classify.ts'
import type { Kernels } from '../../src/kernels/kernels.ts'

/** The seed of references in tests. */
export const SEED = 0x0123_4567_89ab_cdefn

/** What `createBatchEncoding` makes, with a policy of the test's. */
export function encodingWith(
  policy: EncodePolicy,
  { memory, kernels, versions }: { memory: GuestMemory; kernels: Kernels; versions: SharedVersions | null },
  channel: number,
): BatchEncoding {
  const area = memory.layout.codecs + channel * CODEC_AREA.bytes
  const context = { memory, kernels, area }
  const references = createReferences(context, channel, SEED)
  const encoder = new BatchEncoder({
    ...context,
    codecs: new Codecs(context, LZ4_KERNEL),
    classify: loadClassifier(memory, area + CODEC_AREA.tables),
    policy,
    references,
    deltas: versions === null ? null : new Deltas(context, versions),
  })
  return { policy, encoder, references }
}
