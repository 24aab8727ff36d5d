// The rounds before the switch, as they are placed at the destination; destination-session.ts awaits the last one.

import type { ControlLink, PageDestination } from './ports.ts'

/** Answers ROUND_PLACED for each round in turn (R12). */
export function placeRounds(
  control: ControlLink,
  pages: PageDestination,
): { failed: Promise<never>; until(round: number): Promise<void> } {
  let done = -1
  const waiting = new Map<number, () => void>()
  const loop = async (): Promise<never> => {
    for (let round = 0; ; round++) {
      const { bytes } = await pages.placed(round)
      control.send({ type: 'placed', round, bytes })
      done = round
      waiting.get(round)?.()
    }
  }
  const failed = loop()
  failed.catch(() => {})
  const until = (round: number): Promise<void> =>
    done >= round ? Promise.resolve() : new Promise((resolve) => waiting.set(round, resolve))
  return { failed, until }
}
