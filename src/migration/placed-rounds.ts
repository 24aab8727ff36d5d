// The rounds before the switch, as they are placed at the destination; destination-session.ts awaits the last one.

import { bitmapOf } from '../guest/page-set.ts'
import type { MessageOf } from '../wire/messages.ts'
import type { Inbox } from './inbox.ts'
import type { ControlLink, PageDestination } from './ports.ts'

export interface PlacedRounds {
  /** Rejects with the first failure of a channel; never resolves. */
  readonly failed: Promise<never>
  /** Resolves when the round is placed; false: pages of it are missing, and a later round brings them. */
  until(round: number): Promise<boolean>
}

/** Answers ROUND_PLACED for each round of a guest of `pageCount` pages in turn (R12). */
export function placeRounds(control: ControlLink, pages: PageDestination, pageCount: number): PlacedRounds {
  const whole: boolean[] = []
  const waiting = new Map<number, (whole: boolean) => void>()
  const loop = async (): Promise<never> => {
    for (let round = 0; ; round++) {
      const { bytes, missing } = await pages.placed(round)
      whole.push(missing.length === 0)
      control.send({
        type: 'placed',
        round,
        bytes,
        missing: missing.length === 0 ? null : bitmapOf(missing, pageCount),
      })
      waiting.get(round)?.(missing.length === 0)
    }
  }
  const failed = loop()
  failed.catch(() => {})
  const until = (round: number): Promise<boolean> => {
    // Round −1: there was none.
    if (round < whole.length) return Promise.resolve(whole[round] ?? true)
    return new Promise((resolve) => waiting.set(round, resolve))
  }
  return { failed, until }
}

/**
 * R12: the state that comes with a round of which nothing is missing. With `pull` or `shared` the source names what is, and there
 * is no other state to wait for.
 */
export async function lastState(inbox: Inbox, placed: PlacedRounds): Promise<MessageOf<'state'>> {
  for (;;) {
    const state = await inbox.next('state')
    if ((await placed.until(state.round)) || state.pull || state.shared) return state
  }
}
