// Requests and answers in frames, many in each: numbers and bytes go in and come out by a cursor that is used again and again,
// so that a command costs no object. Pure; every entry is checked before it is seen. Used by both ends of a line.
//
//   request   │ length u32 │ vcpu u32 │ sequence f64 │ acknowledged f64 │ now f64 │ bytes │ to 8 bytes        little endian
//   answer    │ length u32 │ vcpu u16 │ what u8 │ 0 u8 │ sequence f64 │ bytes │ to 8 bytes

import { GodwitError } from '../errors.ts'
import { ANSWERS } from '../guest/service-ports.ts'
import { MAX_VCPUS, SERVICE_REPLY_BYTES, SERVICE_REQUEST_BYTES } from '../limits.ts'

export const REQUEST_HEAD_BYTES = 32
export const ANSWER_HEAD_BYTES = 16
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

/** Walks the requests of a frame. The fields are those of the current one, its bytes lie at `at` of `payload`. */
export class RequestCursor {
  payload: Uint8Array = new Uint8Array(0)
  vcpu = 0
  sequence = 0
  acknowledged = 0
  nowMs = 0
  at = 0
  length = 0
  #view: DataView = new DataView(new ArrayBuffer(0))
  #next = 0

  begin(payload: Uint8Array): void {
    this.payload = payload
    this.#view = viewOf(payload)
    this.#next = 0
  }

  /** False behind the last one. Throws `bad-frame` or `frame-too-long`. */
  next(): boolean {
    const at = this.#next
    const view = this.#view
    const left = view.byteLength - at
    if (left === 0) return false
    if (left < REQUEST_HEAD_BYTES) throw bad('a request is cut short')
    const length = view.getUint32(at + REQUEST.length, true)
    if (length > SERVICE_REQUEST_BYTES) throw new GodwitError('frame-too-long', `a request of ${length} bytes`)
    if (requestSize(length) > left) throw bad('a request is cut short')
    this.vcpu = view.getUint32(at + REQUEST.vcpu, true)
    this.sequence = view.getFloat64(at + REQUEST.sequence, true)
    this.acknowledged = view.getFloat64(at + REQUEST.acknowledged, true)
    this.nowMs = view.getFloat64(at + REQUEST.nowMs, true)
    if (this.vcpu >= MAX_VCPUS) throw bad(`a request to vCPU ${this.vcpu}`)
    if (!isCount(this.sequence) || !isCount(this.acknowledged)) throw bad('a request is numbered by no count')
    if (this.sequence > 0 && this.acknowledged >= this.sequence) throw bad('a request acknowledges its own reply')
    if (!isCount(this.nowMs)) throw bad('a request has no time')
    this.at = at + REQUEST_HEAD_BYTES
    this.length = length
    this.#next = at + requestSize(length)
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
export class AnswerCursor {
  payload: Uint8Array = new Uint8Array(0)
  vcpu = 0
  kind = 0
  sequence = 0
  at = 0
  length = 0
  #view: DataView = new DataView(new ArrayBuffer(0))
  #next = 0

  begin(payload: Uint8Array): void {
    this.payload = payload
    this.#view = viewOf(payload)
    this.#next = 0
  }

  /** False behind the last one. Throws `bad-frame` or `frame-too-long`. */
  next(): boolean {
    const at = this.#next
    const view = this.#view
    const left = view.byteLength - at
    if (left === 0) return false
    if (left < ANSWER_HEAD_BYTES) throw bad('an answer is cut short')
    const length = view.getUint32(at + ANSWER.length, true)
    if (length > SERVICE_REPLY_BYTES) throw new GodwitError('frame-too-long', `an answer of ${length} bytes`)
    if (answerSize(length) > left) throw bad('an answer is cut short')
    this.vcpu = view.getUint16(at + ANSWER.vcpu, true)
    this.kind = view.getUint8(at + ANSWER.what)
    this.sequence = view.getFloat64(at + ANSWER.sequence, true)
    if (this.vcpu >= MAX_VCPUS) throw bad(`an answer of vCPU ${this.vcpu}`)
    if (this.kind >= ANSWERS.length || view.getUint8(at + ANSWER.zero) !== 0) throw bad('an answer of no known kind')
    if (!isCount(this.sequence) || this.sequence === 0) throw bad('an answer is numbered by no count')
    this.at = at + ANSWER_HEAD_BYTES
    this.length = length
    this.#next = at + answerSize(length)
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
