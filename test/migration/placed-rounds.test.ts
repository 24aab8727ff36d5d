// Which state a destination obeys when pages of the last round could not be made from their references (R12).

import { expect, test } from 'vitest'
import { Inbox } from '../../src/migration/inbox.ts'
import { lastState, placeRounds } from '../../src/migration/placed-rounds.ts'
import type { ControlLink, PageDestination } from '../../src/migration/ports.ts'
import type { ControlMessage, MessageOf } from '../../src/wire/messages.ts'

const STATE = {
  type: 'state' as const,
  epoch: 1,
  vcpus: [],
  digest: null,
  verify: 'digest' as const,
  free: null,
  absent: null,
}
type Way = Pick<MessageOf<'state'>, 'pull' | 'shared'>

/** The round of the state that is obeyed when round 0 lacks page 3 and round 1 nothing; the source sends a state for each. */
async function obeyed(way: Way, rounds: number[]): Promise<number | 'none'> {
  const said: ControlMessage[] = []
  const states: ControlMessage[] = rounds.map((round) => ({ ...STATE, ...way, round }))
  const never = new Promise<never>(() => {})
  const control = {
    send: (message: ControlMessage) => void said.push(message),
    receive: () => (states.length > 0 ? Promise.resolve(states.shift()) : never),
  } as unknown as ControlLink
  const pages = {
    placed: (round: number) => (round > 1 ? never : Promise.resolve({ bytes: 0, missing: round === 0 ? [3] : [] })),
  } as unknown as PageDestination
  const placed = placeRounds(control, pages, 64)
  const late = new Promise<'none'>((resolve) => setTimeout(resolve, 50, 'none'))
  const found = await Promise.race([lastState(new Inbox(control, 'source'), placed).then(({ round }) => round), late])
  expect(said.map((message) => message.type === 'placed' && message.missing?.[0])).toEqual([8, undefined])
  return found
}

test('of a guest that stands still: the one that comes with the round of just those pages', async () => {
  expect(await obeyed({ pull: false, shared: false }, [0, 1])).toBe(1)
})

test('of a guest that pulls, or that both hosts will run: the only one, which names them', async () => {
  expect(await obeyed({ pull: true, shared: false }, [0])).toBe(0)
  expect(await obeyed({ pull: false, shared: true }, [0])).toBe(0)
})
