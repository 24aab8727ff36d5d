// One connection of the gateway to a guest process, the gateway's end: says hello, sends frames of requests, hands answers on,
// and says where the vCPUs are as the guest tells it. Dials once; guest-backend.ts dials again.

import { connect, type Socket } from 'node:net'
import { GodwitError } from '../errors.ts'
import { LINE_SILENT_MS, LINE_WRITE_BYTES, READ_BYTES } from '../limits.ts'
import { FRAME_TYPE } from '../wire/frame.ts'
import { FrameBatch } from '../wire/frame-batch.ts'
import { decodeLine, encodeLine, type GuestFacts, type LineMessage, lineEnd } from '../wire/line-messages.ts'
import { LineReader } from '../wire/line-reader.ts'
import { PROTOCOL_VERSION } from '../wire/protocol.ts'
import { AnswerCursor } from '../wire/service-frames.ts'

export interface LineTarget {
  readonly host: string
  readonly port: number
  /** Name or id of the guest that is meant. */
  readonly guest: string
  readonly gateway: number
}

/** What a line tells whoever dialled it. */
export interface LineListener {
  /** The guest is there; throws when it is not the one that was meant. */
  onWelcome(line: GuestLine, guest: GuestFacts): void
  onHere(line: GuestLine, vcpu: number): void
  /** Requests of it come back, or it has left. */
  onAway(line: GuestLine, vcpu: number): void
  onNumbered(line: GuestLine, vcpu: number, gateway: number): void
  onElsewhere(line: GuestLine, host: string, port: number): void
  /** `kind`: an index of ANSWERS. The bytes are good until it returns. */
  onAnswer(
    line: GuestLine,
    vcpu: number,
    kind: number,
    sequence: number,
    payload: Uint8Array,
    at: number,
    length: number,
  ): void
  /** There is room in the socket again. */
  onRoom(line: GuestLine): void
  onClosed(line: GuestLine, why: GodwitError): void
}

export class GuestLine {
  /** Requests to this line; `flush` sends them. */
  readonly requests: FrameBatch
  /** vCPUs whose requests are taken in there, as far as it is known. */
  readonly here = new Set<number>()
  /** Numbers that the guest knows the gateway by, for vCPUs where it is not that of the hello. */
  readonly numbers = new Map<number, number>()
  readonly target: LineTarget
  ready = false
  closed = false
  readonly #listener: LineListener
  readonly #socket: Socket
  readonly #reader = new LineReader(FRAME_TYPE.answers)
  readonly #cursor = new AnswerCursor()
  #why: GodwitError | null = null
  /** Since something came last. */
  #silentMs = 0

  constructor(target: LineTarget, listener: LineListener) {
    this.target = target
    this.#listener = listener
    const { host, port, guest, gateway } = target
    this.requests = new FrameBatch(FRAME_TYPE.requests, (frame, sent) => this.#socket.write(frame, sent))
    const onread = {
      buffer: new Uint8Array(READ_BYTES),
      callback: (size: number, buffer: Uint8Array): boolean => {
        this.#read(buffer.subarray(0, size))
        return true
      },
    }
    this.#socket = connect({ host, port, noDelay: true, keepAlive: true, onread })
    this.#socket.on('connect', () => this.say({ type: 'hello', version: PROTOCOL_VERSION, gateway, guest }))
    this.#socket.on('drain', () => listener.onRoom(this))
    this.#socket.on('error', (cause) => this.#end(new GodwitError('link-lost', cause.message, { cause })))
    this.#socket.on('close', () => this.#end(new GodwitError('link-lost', 'the guest process closed the line')))
  }

  /** More is to wait here, not in the socket. */
  get congested(): boolean {
    return this.#socket.writableLength >= LINE_WRITE_BYTES
  }

  say(message: LineMessage): void {
    if (this.closed) return
    this.requests.flush()
    this.#socket.write(encodeLine(message))
  }

  /** So much time has passed: cuts a line on which nothing came for too long. */
  watch(passedMs: number): void {
    this.#silentMs += passedMs
    if (this.#silentMs < LINE_SILENT_MS) return
    this.#end(new GodwitError('peer-silent', `nothing came for ${LINE_SILENT_MS} ms`))
  }

  close(): void {
    if (this.closed) return
    this.closed = true
    this.#socket.destroy()
  }

  #read(bytes: Uint8Array): void {
    if (this.closed) return
    this.#silentMs = 0
    try {
      this.#reader.push(bytes)
      while (!this.closed && this.#reader.next()) {
        if (this.#reader.type === FRAME_TYPE.answers) this.#answers(this.#reader.payload)
        else this.#hear(decodeLine(this.#reader.payload))
      }
    } catch (thrown) {
      const error = GodwitError.from(thrown)
      if (!this.closed) this.#socket.write(lineEnd(error))
      this.#end(error)
    }
  }

  #answers(payload: Uint8Array): void {
    const cursor = this.#cursor
    const listener = this.#listener
    cursor.begin(payload)
    while (cursor.next()) {
      const { vcpu, kind, sequence, at, length } = cursor
      listener.onAnswer(this, vcpu, kind, sequence, payload, at, length)
    }
  }

  #hear(message: LineMessage): void {
    const { type } = message
    if (type === 'end') {
      this.#why = GodwitError.from(message.error)
      throw this.#why
    }
    if (!this.ready) {
      if (type !== 'welcome') throw new GodwitError('unexpected-message', `'${type}' before welcome`)
      this.#listener.onWelcome(this, message.guest)
      this.ready = true
      this.#reader.greeted = true
      for (const vcpu of message.here) this.#isHere(vcpu)
    } else if (type === 'here') this.#isHere(message.vcpu)
    else if (type === 'gone' || type === 'not-here') {
      this.here.delete(message.vcpu)
      this.#listener.onAway(this, message.vcpu)
    } else if (type === 'numbered') this.#listener.onNumbered(this, message.vcpu, message.gateway)
    else if (type === 'elsewhere') this.#listener.onElsewhere(this, message.host, message.port)
    else if (type !== 'alive') throw new GodwitError('unexpected-message', `'${type}' from a guest`)
  }

  #isHere(vcpu: number): void {
    this.here.add(vcpu)
    this.#listener.onHere(this, vcpu)
  }

  #end(why: GodwitError): void {
    if (this.closed) return
    this.closed = true
    this.#socket.destroySoon()
    // What it has not taken by now it will not take.
    setTimeout(() => this.#socket.destroy(), 100).unref()
    this.#listener.onClosed(this, this.#why ?? why)
  }
}
