// Every encoding of this build, by wire id and by name. Page frames look up ids that come from a peer, so a lookup
// either answers or throws a coded error.

import { GodwitError } from '../errors.ts'
import { dedup } from './dedup.ts'
import { delta } from './delta.ts'
import type { PageEncoding } from './encoding.ts'
import { fill } from './fill.ts'
import { lz4 } from './lz4.ts'
import { packed } from './packed.ts'
import { pattern } from './pattern.ts'
import { raw } from './raw.ts'
import { shared } from './shared.ts'
import { sparse } from './sparse.ts'
import { zero } from './zero.ts'

/** In the order of their ids. */
export const ENCODINGS: readonly PageEncoding[] = [zero, raw, fill, sparse, pattern, packed, lz4, delta, dedup, shared]

const byId: (PageEncoding | undefined)[] = []
for (const encoding of ENCODINGS) byId[encoding.id] = encoding
const byName = new Map(ENCODINGS.map((encoding) => [encoding.name, encoding]))

/** The encoding of a wire id. Throws `bad-encoding` for 0, unknown ids and anything that is no id. */
export function encodingById(id: number): PageEncoding {
  const encoding = byId[id]
  if (encoding !== undefined) return encoding
  throw new GodwitError('bad-encoding', `page encoding ${id} is not known here`, {
    hint: `this build knows ${ENCODINGS.map((one) => `${one.name} (${one.id})`).join(', ')}`,
  })
}

/** The encoding of that name. Throws `bad-encoding`. */
export function encodingByName(name: string): PageEncoding {
  const encoding = byName.get(name)
  if (encoding !== undefined) return encoding
  throw new GodwitError('bad-encoding', `no page encoding is called '${name}'`, {
    hint: `choose one of ${ENCODINGS.map((one) => one.name).join(', ')}`,
  })
}

/**
 * Checks one entry of a run table that came from a peer, all four numbers of it, and returns its encoding.
 * Throws `bad-run` (not inside a guest of `pageCount` pages), `bad-encoding` or `bad-payload`.
 */
export function checkRun(
  pageCount: number,
  firstPage: number,
  count: number,
  encodingId: number,
  payloadBytes: number,
): PageEncoding {
  const inside = Number.isInteger(firstPage) && Number.isInteger(count) && firstPage >= 0 && count >= 1
  if (!inside || firstPage + count > pageCount) {
    throw new GodwitError('bad-run', `run of ${count} pages at page ${firstPage} in a guest of ${pageCount} pages`)
  }
  const encoding = encodingById(encodingId)
  encoding.checkPayload(count, payloadBytes)
  return encoding
}
