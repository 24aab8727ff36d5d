// What all commands share: their form, and Redis's words for what is wrong.

import type { Reply } from './reply.ts'
import type { Request } from './request.ts'
import type { Shard } from './shard.ts'

/** Answers and returns true; false: no memory is left, and nothing that a client can see has changed. */
export type Run = (shard: Shard, request: Request, reply: Reply) => boolean

export const WRONG_TYPE = 'WRONGTYPE Operation against a key holding the wrong kind of value'
export const NOT_AN_INTEGER = 'ERR value is not an integer or out of range'
export const SYNTAX = 'ERR syntax error'
export const OUT_OF_MEMORY = "OOM command not allowed when used memory > 'maxmemory'."
export const wrongArguments = (command: string): string => `ERR wrong number of arguments for '${command}' command`
export const invalidExpiry = (command: string): string => `ERR invalid expire time in '${command}' command`

/** Says the error and ends the command. */
export function refuse(reply: Reply, error: string): true {
  reply.error(error)
  return true
}
