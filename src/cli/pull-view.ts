// What `ps`, `show` and `recover` say of a guest that runs before all its memory is there, and of one that lost it.

import type { GuestView } from '../agent/schemas.ts'

/** Pages that a pulling guest still misses; null when that is not known or not the case. */
export function missingPagesOf(guest: GuestView): number | null {
  const missing = guest.migration?.progress?.missingPages
  return guest.state === 'pulling' && typeof missing === 'number' ? missing : null
}

/** What the operator can do about a paused pull. */
export const pausedHint = (migration: string): string =>
  `it dials again by itself; at once, or another way: godwit recover ${migration} [--via HOST]`

/** What the operator can do about a guest that is lost: its host knows how it came to be. */
export function lostHint({ config, crash }: GuestView): string {
  if (crash?.code === 'lost' && crash.hint !== undefined) return crash.hint
  return `give it up: godwit resolve ${config.name} --abandon`
}

/** A state in words, for those that do not speak for themselves. */
export function stateText({ state, owner }: GuestView): string {
  if (state === 'migrating' && owner === 'elsewhere') return 'migrating: it runs there, its memory is still needed here'
  if (owner === 'both') return `${state === 'migrating' ? 'leaving' : 'arriving'}: both hosts run it, each a part`
  if (state === 'pulling') return 'pulling: it runs here, its memory is still coming'
  return state === 'lost' ? 'lost: part of its memory is gone, it runs nowhere' : state
}
