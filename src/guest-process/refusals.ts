// What a guest host answers to wishes that do not fit the state its guest is in. Used by host.ts.

import { GodwitError } from '../errors.ts'
import type { GuestConfig } from '../guest/config.ts'
import { type MigrationSettings, shares } from '../migration/settings.ts'
import type { GuestState } from './host-port.ts'

export const migrating = (guest: string): GodwitError =>
  new GodwitError('guest-busy', `guest ${guest} is already migrating`, {
    hint: 'wait for it; until it has left its source it can be cancelled: godwit cancel',
  })

/** Throws `usage` for a locked guest that is to move by soft. */
export function refuseLockedSoft({ name, pace }: GuestConfig, { movement }: MigrationSettings): void {
  if (!shares(movement) || pace.kind !== 'locked') return
  throw new GodwitError('usage', `guest ${name} has a locked pace: soft has no one host that could grant its steps`, {
    hint: 'choose another --movement, or start the guest with --pace free',
  })
}

export const held = (guest: string, what: string): GodwitError =>
  new GodwitError('guest-busy', `guest ${guest} is ${what}`, { hint: 'try again in a moment' })

export const notLeaving = (guest: string): GodwitError =>
  new GodwitError('no-such-migration', `guest ${guest} is not leaving this host`, {
    hint: 'cancel at the source of the migration',
  })

export const hasLeft = (guest: string): GodwitError =>
  new GodwitError('too-late', `guest ${guest} has left this host`, { hint: 'migrate it back instead' })

export const noCopy = (guest: string): GodwitError =>
  new GodwitError('guest-not-running', `there is no copy of guest ${guest} here that could be used`, {
    hint: 'the agent ends it and starts with empty memory',
  })

export const notPulling = (guest: string): GodwitError =>
  new GodwitError('guest-not-running', `guest ${guest} is not pulling its memory`, {
    hint: 'recover is for the destination of a post-copy or hybrid migration whose link was lost',
  })

export const nothingToResolve = (guest: string, state: GuestState): GodwitError =>
  new GodwitError('guest-not-running', `guest ${guest} is ${state}: nothing to resolve`, {
    hint: 'resolve is for a guest that both hosts hold paused after a failed switchover',
  })

export const notRunning = (guest: string, state: GuestState, what: string, crash: GodwitError | null): GodwitError =>
  new GodwitError('guest-not-running', `guest ${guest} is ${state} and cannot be ${what}`, { hint: crash?.message })

export const noReplay = (guest: string): GodwitError =>
  new GodwitError('no-replay', `guest ${guest} serves requests: no replay can tell what its memory must be`, {
    hint: 'its migrations are proven by digest and audit; its clients know what they were answered',
  })
