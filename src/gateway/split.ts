// A command with keys of several vCPUs, taken apart: one request for each, with its keys only, in their order. Pure;
// gathering.ts puts the replies together again. The parts are executed one by one: they are not atomic, as commands on
// several nodes of a cluster are not.

import { type CommandSpec, lastKey } from '../programs/kv/command-table.ts'
import { lengthOf, type Request, startOf } from '../programs/kv/request.ts'
import { slotOf, vcpuOfSlot } from '../programs/kv/shares.ts'

export interface Part {
  readonly vcpu: number
  /** Refers to the bytes of the whole request. */
  readonly request: Request
  /** Which of the whole request's keys are in it, from 0. */
  readonly keys: readonly number[]
}

/** The parts of a request with keys, one for each vCPU that has some. */
export function splitRequest(spec: CommandSpec, request: Request, vcpus: number): Part[] {
  const [first, , step] = spec.keys
  const last = lastKey(spec, request)
  const keysOf = new Map<number, number[]>()
  for (let index = first, key = 0; index <= last; index += step, key++) {
    const vcpu = vcpuOfSlot(slotOf(request.bytes, startOf(request, index), lengthOf(request, index)), vcpus)
    const keys = keysOf.get(vcpu)
    if (keys === undefined) keysOf.set(vcpu, [key])
    else keys.push(key)
  }
  return [...keysOf].map(([vcpu, keys]) => ({ vcpu, request: partOf(request, keys, step), keys }))
}

/** The name, and `step` arguments for each of the keys. */
function partOf({ bytes, starts, lengths }: Request, keys: readonly number[], step: number): Request {
  const count = 1 + keys.length * step
  const part = { bytes, starts: new Uint32Array(count), lengths: new Uint32Array(count), count }
  const copy = (from: number, to: number): void => {
    part.starts[to] = starts[from] as number
    part.lengths[to] = lengths[from] as number
  }
  copy(0, 0)
  for (const [at, key] of keys.entries()) {
    for (let index = 0; index < step; index++) copy(1 + key * step + index, 1 + at * step + index)
  }
  return part
}

/** Whether a request with keys of several vCPUs comes apart at all: an MSET with half a pair does not. */
export const comesApart = (spec: CommandSpec, request: Request): boolean => (request.count - 1) % spec.keys[2] === 0
