// What `godwit demo --chaos` asks for: cuts while the guest pulls its memory, or a longer way between the agents.
// chaos-relay.ts does both, link-cutter.ts says when to cut.

import { GodwitError } from '../errors.ts'
import { type Movement, pulls } from '../migration/settings.ts'
import type { Arguments } from './arguments.ts'

const MAX_CUTS = 100
/** Half of the round trip over a satellite is less than this. */
const MAX_DELAY_MS = 1000

export interface Chaos {
  /** How often the link is cut during the pull. */
  readonly cuts: number
  /** How long every byte takes each way. */
  readonly delayMs: number
}

/** What --chaos asks for; null when it is not given. Throws `usage`. */
export function chaosOf(args: Arguments): Chaos | null {
  const text = args.text('chaos')
  if (text === undefined) return null
  const [, cut, delay] = /^(?:cut:(\d{1,3})|delay:(\d{1,4})ms)$/.exec(text) ?? []
  const chaos = { cuts: Number(cut ?? 0), delayMs: Number(delay ?? 0) }
  const known = (chaos.cuts > 0 && chaos.cuts <= MAX_CUTS) || (chaos.delayMs > 0 && chaos.delayMs <= MAX_DELAY_MS)
  if (!known) {
    throw new GodwitError('usage', `--chaos '${text}' is not known`, {
      hint: `write cut:N, N from 1 to ${MAX_CUTS}, or delay:Nms, N from 1 to ${MAX_DELAY_MS}`,
    })
  }
  const movement = args.text('movement') as Movement
  if (chaos.cuts > 0 && !pulls(movement)) {
    throw new GodwitError('usage', `--chaos cuts the link while a guest pulls its memory, and ${movement} never does`, {
      hint: 'add --movement post-copy or --movement hybrid',
    })
  }
  return chaos
}
