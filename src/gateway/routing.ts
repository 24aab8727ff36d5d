// Where a command goes: to one vCPU by its keys, to several, to all, or nowhere because the gateway itself answers. Pure;
// client.ts asks for every command that comes.

import { type CommandSpec, lastKey } from '../programs/kv/command-table.ts'
import { lengthOf, type Request, startOf } from '../programs/kv/request.ts'
import { slotOf, vcpuOfSlot } from '../programs/kv/shares.ts'

/** What `routeOf` returns beside the numbers of vCPUs. */
export const ROUTE = {
  /** The gateway answers. */
  local: -1,
  /** Every vCPU has a part of the answer. */
  all: -2,
  /** Keys of several vCPUs. */
  split: -3,
  /** Keys of several slots, where that is refused. */
  cross: -4,
} as const

/** Commands without keys that the shards answer. */
const OF_ALL: readonly string[] = ['dbsize', 'flushall', 'flushdb', 'info']

/**
 * The vCPU of a request that fits its command, or one of `ROUTE`. `oneSlot`: several slots are refused even when they are
 * of one vCPU, as Redis Cluster does.
 */
export function routeOf(spec: CommandSpec, request: Request, vcpus: number, oneSlot: boolean): number {
  const [first, , step] = spec.keys
  if (first === 0) return OF_ALL.includes(spec.name) ? ROUTE.all : ROUTE.local
  if (vcpus === 1 && !oneSlot) return 0
  const last = lastKey(spec, request)
  const slot = slotOf(request.bytes, startOf(request, first), lengthOf(request, first))
  const vcpu = vcpuOfSlot(slot, vcpus)
  for (let index = first + step; index <= last; index += step) {
    const other = slotOf(request.bytes, startOf(request, index), lengthOf(request, index))
    if (oneSlot ? other !== slot : vcpuOfSlot(other, vcpus) !== vcpu) return oneSlot ? ROUTE.cross : ROUTE.split
  }
  return vcpu
}

/** The slot of the first key of a request that has one. */
export const firstSlot = ({ keys: [first] }: CommandSpec, request: Request): number =>
  slotOf(request.bytes, startOf(request, first), lengthOf(request, first))
