// Passes migration events on to the agent, but never while the guest stands still: agent and clients would wake up and
// compete for the processor with the switchover they are told about. Used by main.ts.

import type { MigrationEvent } from '../events.ts'

/** Events are passed on in batches of this much time, so that none is on its way when the guest stops. */
const BATCH_MS = 20
/** A switchover that takes longer has nothing to lose, and whoever watches wants to know. */
const HOLD_MS = 100

export interface QuietEvents {
  /** Takes an event; it is passed on in its turn. */
  take(event: MigrationEvent): void
  /** Passes on now what is held: before anything that must come after it. */
  flush(): void
}

/** Gives the events to `send`, in their order. */
export function quietEvents(send: (event: MigrationEvent) => void): QuietEvents {
  let waiting: MigrationEvent[] = []
  let timer: NodeJS.Timeout | null = null
  const flush = (): void => {
    const events = waiting
    waiting = []
    if (timer !== null) clearTimeout(timer)
    timer = null
    for (const event of events) send(event)
  }
  const flushIn = (ms: number): void => {
    if (timer !== null) clearTimeout(timer)
    timer = setTimeout(flush, ms)
  }
  const take = (event: MigrationEvent): void => {
    waiting.push(event)
    if (event.type === 'stage' && event.stage === 'stop') flushIn(HOLD_MS)
    else if (event.type === 'ended' || (event.type === 'stage' && event.stage === 'activate')) flushIn(0)
    else if (timer === null) flushIn(BATCH_MS)
  }
  return { take, flush }
}
