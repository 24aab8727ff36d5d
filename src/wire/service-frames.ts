// Requests and answers in frames, many in each: numbers and bytes go in and come out by a cursor that is used again and again,
// so that a command costs no object. Pure; every entry is checked before it is seen. Used by both ends of a line.
//
//   request   │ length u32 │ vcpu u32 │ sequence f64 │ acknowledged f64 │ now f64 │ bytes │ to 8 bytes        little endian
//   answer    │ length u32 │ vcpu u16 │ what u8 │ 0 u8 │ sequence f64 │ bytes │ to 8 bytes

import { GodwitError } from '../errors.ts'
import { ANSWERS } from '../guest/service-ports.ts'
import { MAX_VCPUS, SERVICE_REPLY_BYTES, SERVICE_REQUEST_BYTES } from '../limits.ts'

export const REQUEST_HEAD_BYTES = 32
const ANSWER_HEAD_BYTES = 16
/** Byte offsets. */
export const REQUEST = { length: 0, vcpu: 4, sequence: 8, acknowledged: 16, nowMs: 24 } as const
const ANSWER = { length: 0, vcpu: 4, what: 6, zero: 7, sequence: 8 } as const

const padded = (length: number): number => (length + 7) & ~7

/** What an entry takes in a frame. */
export const requestSize = (length: number): number => REQUEST_HEAD_BYTES + padded(length)
export const answerSize = (length: number): number => ANSWER_HEAD_BYTES + padded(length)

const viewOf = (bytes: Uint8Array): DataView => new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength)
const bad = (reason: string): GodwitError => new GodwitError('bad-frame', reason)
const isCount = (value: number): boolean => Number.isSafeInteger(value) && value >= 0

/** Walks the entries of a frame: each begins with the length of its bytes, which lie at `at` of `payload` once it is entered. */
class EntryCursor {
  payload: Uint8Array = new Uint8Array(0)
  vcpu = 0
  sequence = 0
  at = 0
  length = 0
  protected view: DataView = new DataView(new ArrayBuffer(0))
  #next = 0

  begin(payload: Uint8Array): void {
    this.payload = payload
    this.view = viewOf(payload)
    this.#next = 0
  }

  /** Where the next entry's head is; -1 behind the last one. Throws `bad-frame` or `frame-too-long`. */
  protected enter(what: string, headBytes: number, maxBytes: number): number {
    const head = this.#next
    const left = this.view.byteLength - head
    if (left === 0) return -1
    if (left < headBytes) throw bad(`${what} is cut short`)
    const length = this.view.getUint32(head, true)
    if (length > maxBytes) throw new GodwitError('frame-too-long', `${what} of ${length} bytes`)
    const size = headBytes + padded(length)
    if (size > left) throw bad(`${what} is cut short`)
    this.at = head + headBytes
    this.length = length
    this.#next = head + size
    return head
  }
}

/** Walks the requests of a frame: the fields are those of the current one. */
export class RequestCursor extends EntryCursor {
  acknowledged = 0
  nowMs = 0

  /** False behind the last one. Throws `bad-frame` or `frame-too-long`. */
  next(): boolean {
    const head = this.enter('a request', REQUEST_HEAD_BYTES, SERVICE_REQUEST_BYTES)
    if (head < 0) return false
    const { view } = this
    this.vcpu = view.getUint32(head + REQUEST.vcpu, true)
    this.sequence = view.getFloat64(head + REQUEST.sequence, true)
    this.acknowledged = view.getFloat64(head + REQUEST.acknowledged, true)
    this.nowMs = view.getFloat64(head + REQUEST.nowMs, true)
    if (this.vcpu >= MAX_VCPUS) throw bad(`a request to vCPU ${this.vcpu}`)
    if (!isCount(this.sequence) || !isCount(this.acknowledged)) throw bad('a request is numbered by no count')
    if (this.sequence > 0 && this.acknowledged >= this.sequence) throw bad('a request acknowledges its own reply')
    if (!isCount(this.nowMs)) throw bad('a request has no time')
    return true
  }
}

/** Writes a request's head at `at`; its bytes belong behind it. */
export function writeRequestHead(
  view: DataView,
  at: number,
  length: number,
  vcpu: number,
  sequence: number,
  acknowledged: number,
  nowMs: number,
): void {
  view.setUint32(at + REQUEST.length, length, true)
  view.setUint32(at + REQUEST.vcpu, vcpu, true)
  view.setFloat64(at + REQUEST.sequence, sequence, true)
  view.setFloat64(at + REQUEST.acknowledged, acknowledged, true)
  view.setFloat64(at + REQUEST.nowMs, nowMs, true)
}

/** Walks the answers of a frame; `kind` is an index of ANSWERS. */
export class AnswerCursor extends EntryCursor {
  kind = 0

  /** False behind the last one. Throws `bad-frame` or `frame-too-long`. */
  next(): boolean {
    const head = this.enter('an answer', ANSWER_HEAD_BYTES, SERVICE_REPLY_BYTES)
    if (head < 0) return false
    const { view } = this
    this.vcpu = view.getUint16(head + ANSWER.vcpu, true)
    this.kind = view.getUint8(head + ANSWER.what)
    this.sequence = view.getFloat64(head + ANSWER.sequence, true)
    if (this.vcpu >= MAX_VCPUS) throw bad(`an answer of vCPU ${this.vcpu}`)
    if (this.kind >= ANSWERS.length || view.getUint8(head + ANSWER.zero) !== 0) throw bad('an answer of no known kind')
    if (!isCount(this.sequence) || this.sequence === 0) throw bad('an answer is numbered by no count')
    return true
  }
}

export function writeAnswerHead(
  view: DataView,
  at: number,
  length: number,
  vcpu: number,
  kind: number,
  sequence: number,
): void {
  view.setUint32(at + ANSWER.length, length, true)
  view.setUint16(at + ANSWER.vcpu, vcpu, true)
  view.setUint8(at + ANSWER.what, kind)
  view.setUint8(at + ANSWER.zero, 0)
  view.setFloat64(at + ANSWER.sequence, sequence, true)
}
