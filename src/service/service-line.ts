// One gateway's connection to a guest process, the guest's end: requests from the socket into the rings, answers out in
// batches. Made by service-lines.ts when a connection comes in.
//
//   silent ──hello──► greeted: requests ⇄ answers ──end of either side, a broken rule, answers not taken──► closed
//
// A request that finds its ring full stops the reading: nothing is queued here but what one read brought.

import type { Socket } from 'node:net'
import { GodwitError } from '../errors.ts'
import { giveBack } from '../give-back.ts'
import type { ServiceAnswer } from '../guest/program.ts'
import { ANSWERS } from '../guest/service-ports.ts'
import { HELLO_TIMEOUT_MS, SERVICE_FULL_RETRY_MS, SERVICE_LINE_QUEUE_BYTES } from '../limits.ts'
import { FRAME_TYPE } from '../wire/frame.ts'
import { FrameBatch } from '../wire/frame-batch.ts'
import { decodeLine, encodeLine, type LineMessage, type LineMessageOf, lineEnd } from '../wire/line-messages.ts'
import { LineReader } from '../wire/line-reader.ts'
import { PROTOCOL_VERSION } from '../wire/protocol.ts'
import { answerSize, RequestCursor, writeAnswerHead } from '../wire/service-frames.ts'
import type { GuestService } from './guest-service.ts'

/** What a line asks of those that know all lines. */
export interface LineHost {
  readonly service: GuestService
  readonly vcpus: number
  /** Takes the line in, or throws why not; the line then says welcome. */
  greet(line: ServiceLine, hello: LineMessageOf<'hello'>): LineMessage[]
  /** The line is that gateway, for the vCPU, from now on. */
  number(line: ServiceLine, gateway: number): void
  /** Something waits for `flush`, which is to be called once in this turn of the event loop. */
  dirty(line: ServiceLine): void
  closed(line: ServiceLine): void
}

/** Up to so many bytes are copied one by one: a call costs more. */
const SHORT_BYTES = 64
const NOBODY = -1
const NOTHING = new Uint8Array(0)
const KIND = Object.fromEntries(ANSWERS.map((what, kind) => [what, kind])) as Record<ServiceAnswer['what'], number>

export class ServiceLine {
  /** The gateway's number for each vCPU; empty before the hello. */
  numbers: number[] = []
  /** When something was sent last, performance.now(). */
  saidAt = performance.now()
  readonly #socket: Socket
  readonly #host: LineHost
  readonly #reader = new LineReader(FRAME_TYPE.requests)
  readonly #cursor = new RequestCursor()
  readonly #answers: FrameBatch
  /** vCPUs whose requests came back since they were here last: one word for all of them. */
  readonly #bounced = new Set<number>()
  /** What one read brought, until all of it is handed on. */
  #portion: Uint8Array = NOTHING
  /** The cursor stands on a request that was not handed on. */
  #pending = false
  #retry: NodeJS.Timeout | null = null
  #tooLate: NodeJS.Timeout
  #closed = false
  /** The host was told that something waits for `flush`. */
  #dirty = false

  constructor(socket: Socket, host: LineHost) {
    this.#socket = socket
    this.#host = host
    this.#answers = new FrameBatch(FRAME_TYPE.answers, (frame, sent) => this.#write(frame, sent))
    this.#tooLate = setTimeout(() => this.end(new GodwitError('bad-message', 'no hello in time')), HELLO_TIMEOUT_MS)
    socket.setNoDelay(true)
    socket.setKeepAlive(true, 1000)
    socket.on('data', (bytes) => {
      this.#portion = bytes
      this.#reader.push(bytes)
      this.#work()
    })
    socket.on('error', () => {})
    socket.on('close', () => this.#close())
  }

  get greeted(): boolean {
    return this.numbers.length > 0
  }

  /** Puts an answer of the vCPU among those that wait for `flush`. */
  answer(vcpu: number, { what, gateway, sequence, bytes, from = 0, length = bytes.length }: ServiceAnswer): void {
    if (this.#closed || this.numbers[vcpu] !== gateway) return
    const batch = this.#answers
    const at = batch.reserve(answerSize(length))
    writeAnswerHead(batch.view, at, length, vcpu, what === 'reply' ? KIND.reply : KIND[what], sequence)
    const to = at + answerSize(0)
    const target = batch.bytes
    if (length > SHORT_BYTES) target.set(bytes.subarray(from, from + length), to)
    else for (let index = 0; index < length; index++) target[to + index] = bytes[from + index] as number
    if (this.#dirty) return
    this.#dirty = true
    this.#host.dirty(this)
  }

  /** Sends the answers that wait, and tries again what found its ring full. */
  flush(): void {
    this.#dirty = false
    if (this.#closed) return
    this.#answers.flush()
    if (this.#pending) this.#work()
  }

  /** Behind the answers that were given before. */
  say(message: LineMessage): void {
    if (this.#closed) return
    if (message.type === 'here') this.#bounced.delete(message.vcpu)
    this.#answers.flush()
    this.#write(encodeLine(message), () => {})
  }

  /** Tells the gateway why the line ends, and ends it. */
  end(error: GodwitError): void {
    if (this.#closed) return
    this.#socket.write(lineEnd(error))
    this.#close()
    this.#socket.destroySoon()
    // One that does not read its last word does not keep its socket.
    setTimeout(() => this.#socket.destroy(), HELLO_TIMEOUT_MS).unref()
  }

  /** Ends it without a word. */
  destroy(): void {
    this.#close()
    this.#socket.destroy()
  }

  #work(): void {
    try {
      while (!this.#closed) {
        if (this.#pending && !this.#handOn()) return
        if (!this.#reader.next()) break
        if (this.#reader.type === FRAME_TYPE.line) this.#hear(decodeLine(this.#reader.payload))
        else {
          this.#cursor.begin(this.#reader.payload)
          this.#pending = this.#cursor.next()
        }
      }
      giveBack(this.#portion)
      this.#portion = NOTHING
      if (!this.#closed && this.#socket.isPaused()) this.#socket.resume()
    } catch (thrown) {
      this.end(GodwitError.from(thrown))
    }
  }

  /** Hands on the requests of a frame from the current one on; false: a ring is full, and it stands there. */
  #handOn(): boolean {
    const cursor = this.#cursor
    const { service } = this.#host
    // The vCPU that is to be told of its requests, when those of another come or there are no more.
    let untold = NOBODY
    try {
      do {
        const { vcpu, sequence } = cursor
        const gateway = this.numbers[vcpu]
        if (gateway === undefined) throw new GodwitError('bad-frame', `a request to vCPU ${vcpu}, which is not there`)
        if (vcpu !== untold && untold !== NOBODY) service.submitted(untold)
        untold = vcpu
        const { acknowledged, nowMs, payload, at, length } = cursor
        const submitted = service.submitBytes(vcpu, gateway, sequence, acknowledged, nowMs, payload, at, length)
        if (submitted === 'full') {
          this.#block()
          return false
        }
        if (submitted === 'not-here' && !this.#bounced.has(vcpu)) {
          this.#bounced.add(vcpu)
          this.say({ type: 'not-here', vcpu })
        }
      } while (cursor.next())
    } finally {
      if (untold !== NOBODY) service.submitted(untold)
    }
    this.#pending = false
    return true
  }

  #block(): void {
    if (!this.#socket.isPaused()) this.#socket.pause()
    this.#retry ??= setTimeout(() => {
      this.#retry = null
      if (this.#pending && !this.#closed) this.#work()
    }, SERVICE_FULL_RETRY_MS)
  }

  #hear(message: LineMessage): void {
    if (!this.greeted) {
      if (message.type !== 'hello') throw new GodwitError('unexpected-message', `'${message.type}' before hello`)
      return this.#greet(message)
    }
    if (message.type === 'end') return this.destroy()
    if (message.type !== 'number') throw new GodwitError('unexpected-message', `'${message.type}' from a gateway`)
    const { vcpu, gateway } = message
    if (vcpu >= this.numbers.length) throw new GodwitError('bad-frame', `a number for vCPU ${vcpu}, which is not there`)
    this.numbers[vcpu] = gateway
    this.#host.number(this, gateway)
    this.say({ type: 'numbered', vcpu, gateway })
  }

  #greet(hello: LineMessageOf<'hello'>): void {
    if (hello.version !== PROTOCOL_VERSION) {
      throw new GodwitError('wrong-version', `the gateway speaks protocol ${hello.version}, not ${PROTOCOL_VERSION}`)
    }
    const words = this.#host.greet(this, hello)
    this.numbers = Array.from({ length: this.#host.vcpus }, () => hello.gateway)
    clearTimeout(this.#tooLate)
    this.#reader.greeted = true
    for (const word of words) this.say(word)
  }

  #write(bytes: Uint8Array, sent: () => void): void {
    if (this.#socket.destroyed) return
    this.saidAt = performance.now()
    this.#socket.write(bytes, sent)
    if (this.#socket.writableLength <= SERVICE_LINE_QUEUE_BYTES) return
    const text = `${SERVICE_LINE_QUEUE_BYTES} bytes of answers wait for the gateway`
    this.#close()
    this.#socket.destroy(new GodwitError('line-slow', text))
  }

  #close(): void {
    if (this.#closed) return
    this.#closed = true
    clearTimeout(this.#tooLate)
    if (this.#retry !== null) clearTimeout(this.#retry)
    this.#host.closed(this)
  }
}
