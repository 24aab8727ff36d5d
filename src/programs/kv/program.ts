// The key-value store as a guest's program: each step takes one request from the vCPU's ring, executes it exactly once
// (R30), and answers. Executing and noting it is one step, and a vCPU stops, moves or is read between steps only.
//
//   request ──► acknowledged long ago: dropped
//           ──► executed before: its reply, which the guest keeps, is sent again
//           ──► the next one: executed, reply kept and sent              no room to keep it, unexecuted: 'busy'
//           ──► behind a gap: 'out-of-order'         of a gateway that has replies, and is unknown or known less: 'forgotten'
//           ──► of a gateway for which there was no place, or whose session is forgotten: that again, as often as it comes

import { assert } from '../../errors.ts'
import type { Accessors } from '../../guest/accessors.ts'
import type { Program, ProgramContext, RequestPort, ServiceAnswer, ServiceRequest } from '../../guest/program.ts'
import { KV_ROOM_PATIENCE_MS } from '../../limits.ts'
import { execute } from './execute.ts'
import { Reply } from './reply.ts'
import type { Request } from './request.ts'
import { decodeRequest } from './request-codec.ts'
import { Sessions } from './sessions.ts'
import { Shard } from './shard.ts'
import { sessionPages, shareOf, storePages } from './shares.ts'

export { fillStore as fill } from './arena-layout.ts'

const FIRST_ARGUMENTS = 64
const FIRST_REPLY_BYTES = 16 * 1024
/** A ring full of replies takes about a millisecond to go through: no more of the time than that. */
const COMPACT_INTERVAL_MS = 5
const NOTHING = new Uint8Array(0)
const MALFORMED = 'ERR Protocol error: malformed request'

/** Throws when the guest is too small for so many vCPUs (`bad-size`). */
export function create({ memoryBytes, vcpu, vcpus, seed, requests }: ProgramContext): Program {
  assert(requests !== undefined, 'the key-value store needs somebody to serve')
  const share = shareOf(memoryBytes, vcpu, vcpus)
  const server: { now: Server | null } = { now: null }
  return {
    step(accessors: Accessors): boolean {
      const request = requests.peek()
      if (request === null) return false
      // The vCPU gets other accessors when it begins or ends to pull (R8): the store is opened anew over the same bytes.
      if (server.now?.accessors !== accessors) {
        const shard = new Shard(accessors, storePages(share), seed)
        server.now = new Server(accessors, shard, new Sessions(accessors, sessionPages(share)), requests)
      }
      if (!server.now.serve(request)) return false
      requests.done()
      return true
    },
  }
}

class Server {
  readonly accessors: Accessors
  readonly #shard: Shard
  readonly #sessions: Sessions
  readonly #requests: RequestPort
  readonly #reply: Reply
  readonly #request: Request
  /** performance.now() since when no reply found room; 0: the latest did. */
  #busySince = 0
  /** performance.now(). */
  #compactedAt = 0

  constructor(accessors: Accessors, shard: Shard, sessions: Sessions, requests: RequestPort) {
    this.accessors = accessors
    this.#shard = shard
    this.#sessions = sessions
    this.#requests = requests
    const { maxReplyBytes } = sessions
    this.#reply = new Reply(new Uint8Array(Math.min(FIRST_REPLY_BYTES, maxReplyBytes)), maxReplyBytes)
    const places = (): Uint32Array => new Uint32Array(FIRST_ARGUMENTS)
    this.#request = { bytes: NOTHING, starts: places(), lengths: places(), count: 0 }
  }

  /** False: the request stays where it is until the host has room for an answer. */
  serve(request: ServiceRequest): boolean {
    const sessions = this.#sessions
    const { gateway, sequence } = request
    if (!this.#canAnswer()) return false
    let session = sessions.find(gateway)
    if (session === 0) {
      if (sequence === 0) return true
      const turnedAway = sessions.turnedAway.why(gateway)
      if (turnedAway !== null) return this.#answer(turnedAway, request, NOTHING)
      if (sequence !== 1) {
        // What was sent before it may have come back from here, and be on its way once more, the first one with it.
        if (request.acknowledged === 0) return this.#answer('out-of-order', request, NOTHING)
        sessions.turnedAway.note(gateway, 'forgotten')
        return this.#answer('forgotten', request, NOTHING)
      }
      session = sessions.admit(gateway, this.#timeOf(request))
      if (session === 0) return this.#answer('refused', request, NOTHING)
    }
    sessions.acknowledge(session, request.acknowledged)
    const executed = sessions.executed(session)
    if (sequence === 0) return true
    // The guest is older than its own replies: somebody took a stale one (R22).
    if (request.acknowledged > executed) return this.#answer('forgotten', request, NOTHING)
    if (sequence <= executed) {
      const reply = sessions.recall(session, sequence)
      return reply === null || this.#answer('reply', request, reply)
    }
    // One that is lost must not pass for one that was executed.
    if (sequence !== executed + 1) return this.#answer('out-of-order', request, NOTHING)
    if (!this.#canKeep(session)) return this.#answer('busy', request, NOTHING)
    this.#execute(request)
    sessions.record(session, this.#reply.bytes, this.#reply.length, this.#shard.nowMs)
    return this.#answer('reply', request, this.#reply.bytes, this.#reply.length)
  }

  #execute(request: ServiceRequest): void {
    this.#reply.rewind(0)
    if (decodeRequest(request.bytes, this.#request, request.from, request.length)) {
      execute(this.#shard, this.#request, this.#reply, this.#timeOf(request))
    } else this.#reply.error(MALFORMED)
  }

  /** R31: the latest time that any request brought; the shard keeps it. */
  #timeOf({ nowMs }: ServiceRequest): number {
    return Math.max(this.#shard.nowMs, Number.isSafeInteger(nowMs) ? nowMs : 0)
  }

  #answer(
    what: ServiceAnswer['what'],
    { gateway, sequence }: ServiceRequest,
    bytes: Uint8Array,
    length: number = bytes.length,
  ): true {
    this.#requests.answer({ what, gateway, sequence, bytes, from: 0, length })
    return true
  }

  #canAnswer(): boolean {
    const { maxReplyBytes } = this.#sessions
    if (this.#requests.fits(maxReplyBytes)) return true
    this.#requests.awaitRoom()
    return this.#requests.fits(maxReplyBytes)
  }

  /**
   * R30, back-pressure: the request goes back instead of waiting here, because behind it may be what gives room, the
   * acknowledgement of another gateway or its question for a reply. One that is gone must not hold up the others for ever.
   */
  #canKeep(session: number): boolean {
    const sessions = this.#sessions
    if (!sessions.hasRoom()) {
      const now = performance.now()
      if (this.#busySince === 0) this.#busySince = now
      const forgot = now - this.#busySince >= KV_ROOM_PATIENCE_MS && sessions.forgetOldest(session)
      if (forgot) this.#busySince = now
      if (forgot || now - this.#compactedAt >= COMPACT_INTERVAL_MS) {
        sessions.compact()
        this.#compactedAt = performance.now()
      }
      if (!sessions.hasRoom()) return false
    }
    this.#busySince = 0
    return true
  }
}
