// Passes events on to the clients of the event streams. A client that does not read is dropped when its queue is
// full; nobody waits for it. http.ts turns one subscription into one server-sent event stream.

import { GodwitError } from '../errors.ts'
import { EVENT_QUEUE_LENGTH, MAX_EVENT_CLIENTS } from '../limits.ts'

export interface AgentEvent {
  /** `stage`, `round`, `progress`, `ended`, `report`, `guest`. */
  readonly type: string
  readonly migration?: string
  readonly [field: string]: unknown
}

/** One client's queue: an async iterable that ends when it is closed or was too slow. */
export class Subscription implements AsyncIterable<AgentEvent> {
  readonly #queue: AgentEvent[] = []
  readonly #filter: (event: AgentEvent) => boolean
  readonly #onClose: (subscription: Subscription) => void
  #wake: (() => void) | null = null
  #closed = false
  /** True when it was closed because the client did not keep up. */
  dropped = false

  constructor(filter: (event: AgentEvent) => boolean, onClose: (subscription: Subscription) => void) {
    this.#filter = filter
    this.#onClose = onClose
  }

  get closed(): boolean {
    return this.#closed
  }

  offer(event: AgentEvent): void {
    if (this.#closed || !this.#filter(event)) return
    if (this.#queue.length >= EVENT_QUEUE_LENGTH) {
      this.dropped = true
      return this.close()
    }
    this.#queue.push(event)
    this.#wake?.()
  }

  /** The next event, null at the end, 'silent' when there was none for `ms`. */
  async next(ms: number): Promise<AgentEvent | null | 'silent'> {
    if (this.#queue.length === 0 && !this.#closed) {
      await new Promise<void>((resolve) => {
        const timer = setTimeout(resolve, ms)
        this.#wake = () => {
          clearTimeout(timer)
          resolve()
        }
      })
      this.#wake = null
    }
    const event = this.dropped ? undefined : this.#queue.shift()
    if (event !== undefined) return event
    return this.#closed ? null : 'silent'
  }

  async *[Symbol.asyncIterator](): AsyncGenerator<AgentEvent> {
    for (;;) {
      const event = await this.next(60_000)
      if (event === null) return
      if (event !== 'silent') yield event
    }
  }

  close(): void {
    if (this.#closed) return
    this.#closed = true
    this.#onClose(this)
    this.#wake?.()
  }
}

export class EventHub {
  readonly #subscriptions = new Set<Subscription>()

  publish(event: AgentEvent): void {
    for (const subscription of this.#subscriptions) subscription.offer(event)
  }

  /** Subscribes to events, of one migration or (null) all. Throws `too-many-migrations` when too many listen. */
  subscribe(migration: string | null): Subscription {
    if (this.#subscriptions.size >= MAX_EVENT_CLIENTS) {
      throw new GodwitError('too-many-migrations', `${MAX_EVENT_CLIENTS} clients listen to this agent already`, {
        hint: 'close some of them, or ask for the migration instead of listening',
      })
    }
    const filter = (event: AgentEvent): boolean => migration === null || event.migration === migration
    const subscription = new Subscription(filter, (closed) => this.#subscriptions.delete(closed))
    this.#subscriptions.add(subscription)
    return subscription
  }

  close(): void {
    for (const subscription of this.#subscriptions) subscription.close()
  }
}
