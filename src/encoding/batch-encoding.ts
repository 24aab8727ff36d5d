// What a transfer thread of the source needs to encode its pages as `--encode` says: policy, codecs and batch encoder.

import { CODEC_AREA } from '../guest/layout.ts'
import type { GuestMemory } from '../guest/memory.ts'
import { loadClassifier } from '../kernels/classify.ts'
import type { Kernels } from '../kernels/kernels.ts'
import { BatchEncoder } from './batch-encoder.ts'
import { Codecs } from './codecs.ts'
import { Deltas } from './deltas.ts'
import { fill } from './fill.ts'
import { lz4 } from './lz4.ts'
import { chooseLz4Backend, type Lz4Choice } from './lz4-backend.ts'
import type { EncodeMode } from './modes.ts'
import { packed } from './packed.ts'
import { pattern } from './pattern.ts'
import { AdaptivePolicy, type EncodePolicy, FallbackPolicy, ForcedPolicy } from './policy.ts'
import { raw } from './raw.ts'
import { createReferences, type References } from './references.ts'
import { encodingByName } from './registry.ts'
import { sparse } from './sparse.ts'
import type { SharedVersions } from './version-store.ts'

export interface BatchEncoding {
  readonly policy: EncodePolicy
  readonly encoder: BatchEncoder
  /** Pages sent before, and pages of other guests, to refer to; null: neither. */
  readonly references: References | null
}

export interface BatchEncodingOptions {
  readonly memory: GuestMemory
  readonly kernels: Kernels
  readonly channel: number
  readonly mode: EncodeMode
  /** What compresses where lz4 is chosen (default auto). */
  readonly lz4?: Lz4Choice
  /** A limit set on this channel, bytes per second. */
  readonly bytesPerSecond: number | null
  /** Of the hashes in references. */
  readonly seed: bigint
  /** The cache of deltas, shared by all channels; null: no deltas. */
  readonly versions: SharedVersions | null
  /** Takes a line for the log. */
  notice(text: string): void
}

/** The codecs that `adaptive` chooses from. */
const ADAPTIVE = [fill.id, sparse.id, packed.id, pattern.id, lz4.id]

function policyOf(mode: EncodeMode, bytesPerSecond: number | null): EncodePolicy {
  if (mode === 'adaptive') return new AdaptivePolicy(ADAPTIVE, bytesPerSecond)
  if (mode === 'fallback') return new FallbackPolicy()
  // What relies on pages sent before is tried in front of any codec.
  return new ForcedPolicy(mode === 'delta' || mode === 'dedup' ? raw.id : encodingByName(mode).id)
}

/** Null for the modes that need no look at single pages, `zero` and `raw`. */
export async function createBatchEncoding(options: BatchEncodingOptions): Promise<BatchEncoding | null> {
  const { memory, kernels, channel, mode, bytesPerSecond, seed, versions, notice } = options
  if (mode === 'zero' || mode === 'raw') return null
  const { backend, notice: missing } = await chooseLz4Backend(options.lz4)
  if (missing !== null) notice(missing)
  const area = memory.layout.codecs + channel * CODEC_AREA.bytes
  const context = { memory, kernels, area }
  const policy = policyOf(mode, bytesPerSecond)
  const references = mode === 'adaptive' || mode === 'dedup' ? createReferences(context, channel, seed) : null
  const encoder = new BatchEncoder({
    memory,
    kernels,
    area,
    codecs: new Codecs(context, backend),
    classify: loadClassifier(memory, area + CODEC_AREA.tables),
    policy,
    references,
    deltas: versions === null ? null : new Deltas(context, versions),
  })
  return { policy, encoder, references }
}
