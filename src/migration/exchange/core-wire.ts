// What a side of the exchange hears and says, as frames. Used by exchange-thread.ts over a socket, which socket-link.ts writes to,
// and by rehearsals, where bytes go from one side to the other as they are.

import { encodeApplied, encodeAsk, encodeCross, encodeGive, encodeRuns } from '../../wire/exchange-frames.ts'
import type { ExchangeSink } from '../../wire/exchange-reader.ts'
import type { ExchangeCore } from './core.ts'
import type { ExchangeLink } from './sides.ts'

/** Where frames that were read go; what the control channel says is not the core's. */
export const hearing = (core: ExchangeCore): Omit<ExchangeSink, 'control'> => ({
  give: (table, contents) => core.onGive(table, contents),
  runs: (table) => core.onRuns(table),
  cross: (crossing) => core.onCross(crossing),
  ask: (wanted) => core.onAsk(wanted),
  applied: (count) => core.onApplied(count),
})

/** A link that is always open and carries pages without their contents. */
export function frameLink(carry: (frame: Uint8Array) => void): ExchangeLink {
  const send = (frame: Uint8Array): number => {
    carry(frame)
    return frame.length
  }
  return {
    open: true,
    give: (table) => send(encodeGive(table)),
    runs: (table) => send(encodeRuns(table)),
    cross: (crossing) => void send(encodeCross(crossing)),
    ask: (pages, count) => void send(encodeAsk(pages, count)),
    applied: (count) => void send(encodeApplied(count)),
  }
}
