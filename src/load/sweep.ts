// One operation on each of many keys, as fast as the server takes them: how a load fills its keys, reads its counters at
// the end and removes what it wrote. An operation whose connection is lost is sent again, on any connection: all three may
// be done twice.

import { LOAD_SWEEP_OUTSTANDING } from '../limits.ts'
import type { Connection, Owner } from './connection.ts'
import type { Operation } from './operations.ts'
import type { Reply } from './reply-parser.ts'

/** How often it looks whether anything moves. */
const LOOK_MS = 200

export interface SweepOptions {
  readonly kind: Operation
  readonly counter: boolean
  readonly keys: number
  /** Takes a reply; an error ends the sweep. */
  readonly take: (key: number, reply: Reply) => void
  /** A connection was lost; an error ends the sweep. */
  readonly disconnected?: ((reason: string) => void) | undefined
  /** It is given up when nothing moves for so long. */
  readonly patienceMs: number
  readonly clock: () => number
  /** Ends it early when it says so. */
  readonly over?: (() => boolean) | undefined
}

/** Resolves with the number of keys that were answered: less than all when the service stays away. Rejects with what `take` throws. */
export function sweep(connections: readonly Connection[], options: SweepOptions): Promise<number> {
  const { kind, counter, keys, take, clock, patienceMs, over = () => false, disconnected = () => {} } = options
  return new Promise((resolve, reject) => {
    const again: number[] = []
    let next = 0
    let answered = 0
    let progressMs = clock()
    const timer = setInterval(() => {
      if (over() || clock() - progressMs > patienceMs) end(null)
    }, LOOK_MS)
    const end = (error: unknown): void => {
      clearInterval(timer)
      for (const connection of connections) {
        connection.owner = null
        // Replies to what is given up must not be taken for replies to what comes behind.
        if (answered < keys && connection.outstanding.length > 0) connection.drop('given up')
      }
      if (error === null) resolve(answered)
      else reject(error)
    }
    const unlessThrown = (act: () => void): void => {
      try {
        act()
      } catch (error) {
        end(error)
      }
    }
    const feed = (connection: Connection): void => {
      const nowMs = clock()
      while (
        connection.canSend &&
        connection.outstanding.length < LOAD_SWEEP_OUTSTANDING &&
        (again.length > 0 || next < keys)
      ) {
        connection.send(kind, again.pop() ?? next++, 0, counter, nowMs, nowMs)
      }
      connection.flush()
    }
    const owner: Owner = {
      answered: ({ outstanding }, reply, nowMs) => {
        progressMs = nowMs
        answered++
        unlessThrown(() => take(outstanding.key, reply))
        if (answered === keys) end(null)
      },
      lost: ({ outstanding }) => void again.push(outstanding.key),
      disconnected: (_, reason) => unlessThrown(() => disconnected(reason)),
      ready: feed,
    }
    for (const connection of connections) connection.owner = owner
    for (const connection of connections) feed(connection)
  })
}
