// What a destination tells before it is ready, of its copy (kept-copy.ts) and of its neighbours (neighbours.ts), has many
// parts: how one is sent, and the source's error for one that does not fit.

import { GodwitError } from '../errors.ts'
import type { ControlMessage } from '../wire/messages.ts'
import type { Clock, ControlLink } from './ports.ts'

/** Sends one part. A slow link must not pile them up, and pings want their turn. */
export async function tellPart(control: ControlLink, clock: Clock, message: ControlMessage): Promise<void> {
  control.send(message)
  await control.flushed()
  await clock.sleep(0)
}

/** `what` the destination told that is out of order, above a cap or not asked for. */
export const unexpectedlyTold = (what: string): GodwitError =>
  new GodwitError('unexpected-message', `the destination told ${what}`, { side: 'destination' })
