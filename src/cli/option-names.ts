// What an agent refuses it names by the field of its schema; whoever typed a command knows options. command-line.ts
// turns one into the other.

import { GodwitError } from '../errors.ts'
import type { OptionTable } from './arguments.ts'

/** Fields whose option is not the field's own name with dashes. */
const OPTIONS: Record<string, string> = { memoryBytes: 'memory', options: 'option' }

const FIELD = /^([a-zA-Z]+(?:\.[a-zA-Z]+)*): /

/** A `usage` error that begins with a field of which `options` has the option names that option instead. */
export function namingOptions(error: GodwitError, command: string, options: OptionTable): GodwitError {
  const match = FIELD.exec(error.message)
  if (error.code !== 'usage' || match === null) return error
  const path = (match[1] ?? '').split('.').filter((part) => part !== 'settings')
  // `options.workload` has an option of its own, `options.other` is one of --option.
  const names = [...path].reverse().map((field) => OPTIONS[field] ?? dashed(field))
  const option = names.find((name) => Object.hasOwn(options, name))
  if (option === undefined) return error
  return new GodwitError('usage', `--${option}: ${error.message.slice(match[0].length)}`, {
    hint: `see: godwit ${command} --help`,
    side: error.side,
    cause: error,
  })
}

const dashed = (camelCase: string): string => camelCase.replaceAll(/[A-Z]/g, (letter) => `-${letter.toLowerCase()}`)
