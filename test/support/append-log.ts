// Commands that each append their number to one string of the store, `log`, and what became of them: from the two together it follows
// whether each was executed once and heard of once. Used by test/gateway/exactly-once.test.ts.

import type { Backend, BackendError, ReplyTaker } from '../../src/gateway/backend.ts'
import { GATEWAY_TICK_MS, HOLD_MS } from '../../src/limits.ts'
import { requestOf } from '../../src/programs/kv/request.ts'

interface Append {
  readonly gateway: number
  readonly sentAt: number
  /** Null: nobody has heard yet. */
  outcome: 'reply' | BackendError | null
  /** By the reply, characters of the log behind it. */
  logLength: number
  heldMs: number
}

export class AppendLog implements ReplyTaker {
  static readonly key = 'log'
  /** What is wrong, a sentence each. */
  readonly faults: string[] = []
  readonly #appends: Append[] = []
  /** By gateway, the latest of its commands that was heard of. */
  readonly #heard = new Map<number, number>()

  send(gateway: number, backend: Backend): void {
    const id = this.#appends.length
    this.#appends.push({ gateway, sentAt: performance.now(), outcome: null, logLength: 0, heldMs: 0 })
    backend.send(0, requestOf('APPEND', AppendLog.key, `${id},`), this, id)
  }

  onReply(id: number, bytes: Uint8Array, start: number, end: number): void {
    const reply = Buffer.from(bytes.subarray(start, end)).toString()
    if (!/^:\d+\r\n$/.test(reply)) this.faults.push(`${id} has the reply ${JSON.stringify(reply)}`)
    this.#hear(id, 'reply').logLength = Number(reply.slice(1))
  }

  onFailure(id: number, error: BackendError): void {
    this.#hear(id, error)
  }

  /** Counts outcomes into `total`. */
  count(total: Map<string, number>): void {
    for (const { outcome } of this.#appends) total.set(`${outcome}`, (total.get(`${outcome}`) ?? 0) + 1)
  }

  /** Checks all of them, when nothing is under way any more. */
  check(log: string): void {
    const executed = log.split(',').slice(0, -1).map(Number)
    const times = new Map<number, number>()
    for (const id of executed) times.set(id, (times.get(id) ?? 0) + 1)
    for (const [id, append] of this.#appends.entries()) this.#checkOne(id, append, times.get(id) ?? 0, log)
    this.#checkOrder(executed)
  }

  #checkOne(id: number, { outcome, logLength, heldMs }: Append, times: number, log: string): void {
    // R30: executed once, or not at all if the error says so.
    if (times > 1) this.faults.push(`${id} (${outcome}) was executed ${times} times`)
    if (outcome === null) this.faults.push(`${id} was never answered`)
    if (outcome === 'reply' && times === 0) this.faults.push(`${id} has a reply and was not executed`)
    if (outcome === 'reply' && !log.slice(0, logLength).endsWith(`${id},`))
      this.faults.push(`${id} has another's reply`)
    const unexecuted = outcome === 'unreachable' || outcome === 'refused'
    if (unexecuted && times > 0) this.faults.push(`${id} is ${outcome} and was executed`)
    // R31: held no longer than that; the gateway looks once a tick.
    if (heldMs > HOLD_MS + GATEWAY_TICK_MS) this.faults.push(`${id} (${outcome}) was held for ${heldMs} ms`)
  }

  /** R30: a gateway's commands are executed in the order in which they were sent. */
  #checkOrder(executed: readonly number[]): void {
    const latest = new Map<number, number>()
    for (const id of executed) {
      const gateway = this.#appends[id]?.gateway ?? -1
      const before = latest.get(gateway) ?? -1
      if (id < before) this.faults.push(`${id} was executed behind ${before}`)
      latest.set(gateway, id)
    }
  }

  #hear(id: number, outcome: 'reply' | BackendError): Append {
    const append = this.#appends[id] as Append
    if (append.outcome !== null) this.faults.push(`${id} hears ${outcome} behind ${append.outcome}`)
    const before = this.#heard.get(append.gateway) ?? -1
    if (id < before) this.faults.push(`${id} is answered behind ${before}`)
    this.#heard.set(append.gateway, id)
    append.outcome = outcome
    append.heldMs = performance.now() - append.sentAt
    return append
  }
}
