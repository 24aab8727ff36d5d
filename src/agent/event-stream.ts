// One server-sent event stream: of all events, or of one migration until its report. A client that stops reading fills
// its queue in the event hub and is dropped; a silent stream carries comments, so that dead ones are noticed.

import { EVENT_HEARTBEAT_MS } from '../limits.ts'
import type { Agent } from './agent.ts'
import type { AgentEvent, Subscription } from './event-hub.ts'
import type { MigrationView } from './schemas.ts'

const encoder = new TextEncoder()
const encode = (event: AgentEvent): Uint8Array =>
  encoder.encode(`event: ${event.type}\ndata: ${JSON.stringify(event)}\n\n`)

/** The answer to a request for events; `of` null means all. */
export function eventStream(
  signal: AbortSignal,
  agent: Agent,
  of: { subscription: Subscription; view: MigrationView } | null,
): Response {
  const subscription = of?.subscription ?? agent.events.subscribe(null)
  signal.addEventListener('abort', () => subscription.close(), { once: true })
  const first = of === null ? null : firstEvent(of.view)
  let begun = false
  let over = false
  const body = new ReadableStream<Uint8Array>(
    {
      async pull(controller) {
        // An opening comment sends the headers at once.
        if (!begun) {
          begun = true
          controller.enqueue(encoder.encode(': godwit\n\n'))
          if (first !== null) controller.enqueue(encode(first))
          over = first?.type === 'report'
        } else if (!over) {
          const event = await subscription.next(EVENT_HEARTBEAT_MS)
          if (event === 'silent') controller.enqueue(encoder.encode(': still here\n\n'))
          else if (event === null) over = true
          else {
            controller.enqueue(encode(event))
            over = of !== null && event.type === 'report'
          }
        }
        if (!over) return
        subscription.close()
        controller.close()
      },
      cancel: () => subscription.close(),
    },
    { highWaterMark: 1 },
  )
  return new Response(body, {
    headers: { 'content-type': 'text/event-stream', 'cache-control': 'no-store', 'x-accel-buffering': 'no' },
  })
}

/** What a client that comes late has missed: the report, or how far it is. */
function firstEvent(view: MigrationView): AgentEvent | null {
  const { id: migration, guest, report, progress } = view
  if (report !== null) return { type: 'report', migration, guest, report }
  return progress === null ? null : { type: 'progress', migration, guest, progress }
}
