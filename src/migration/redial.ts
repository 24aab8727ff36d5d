// After a cut behind the commit point the destination dials again. The source waits for it by turns, each of them short: in
// between it asks the destination's agent. Used by commit-wait.ts, page-server.ts and soft/source-sharing.ts.

import { GodwitError } from '../errors.ts'
import { REDIAL_WAIT_MS } from '../limits.ts'
import type { ControlLink } from './ports.ts'
import type { SourceWorld } from './source-context.ts'

/** One turn: the next control link. Rejects with `timeout` when nobody dialled in time, or with the signal's reason. */
export async function redialledInTime(
  world: Pick<SourceWorld, 'clock' | 'redialled'>,
  signal: AbortSignal,
): Promise<ControlLink> {
  const late = new AbortController()
  const timer = world.clock.sleep(REDIAL_WAIT_MS, late.signal).then(
    () => late.abort(new GodwitError('timeout', 'no redial yet')),
    () => {},
  )
  try {
    return await world.redialled(AbortSignal.any([signal, late.signal]))
  } finally {
    late.abort(new GodwitError('cancelled', 'over'))
    await timer
  }
}
