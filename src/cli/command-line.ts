// The command line without its process: finds the command, parses, prints help or errors, returns the exit status.
// main.ts calls it with the real terminal, tests with buffers.

import { GodwitError } from '../errors.ts'
import { distanceBetween, parseArguments } from './arguments.ts'
import { COMMANDS } from './commands.ts'
import { commandHelp, generalHelp } from './help.ts'
import { namingOptions } from './option-names.ts'
import type { Terminal } from './terminal.ts'
import { version } from './version.ts'

const USAGE_CODES = new Set(['usage', 'bad-size'])

/** Runs `godwit ...words`; resolves with the exit status, never rejects. */
export async function runCommandLine(words: string[], terminal: Terminal): Promise<number> {
  try {
    const [name, ...rest] = words
    if (name === '--version' || name === '-V') return print(terminal, version())
    if (name === undefined) {
      terminal.error(`${generalHelp()}\n`)
      return 2
    }
    if (name === '--help' || name === '-h') return print(terminal, generalHelp())
    if (name === 'help') {
      const topic = rest[0]
      return print(terminal, topic === undefined ? generalHelp() : commandHelp(topic, commandOf(topic)))
    }
    const command = commandOf(name)
    const end = rest.indexOf('--')
    const options = end < 0 ? rest : rest.slice(0, end)
    if (options.includes('--help') || options.includes('-h')) return print(terminal, commandHelp(name, command))
    const args = parseArguments(name, command.options, [...command.operands], rest)
    const { run } = await command.load()
    return await run(args, terminal).catch((thrown) => {
      throw thrown instanceof GodwitError ? namingOptions(thrown, name, command.options) : thrown
    })
  } catch (thrown) {
    return printError(thrown, terminal)
  }
}

/** Prints `godwit: message (code)` and a hint; returns the exit status: 2 for usage, else 1. */
export function printError(thrown: unknown, terminal: Terminal): number {
  const error = GodwitError.from(thrown)
  const line = error.message.replaceAll(/\s*\n\s*/g, ' ')
  terminal.error(`godwit: ${line} (${error.code})\n`)
  if (error.hint !== undefined) terminal.error(`  hint: ${error.hint}\n`)
  if (error.code === 'internal' && process.env.GODWIT_DEBUG !== undefined) {
    terminal.error(`${(thrown as Error)?.stack ?? ''}\n`)
  }
  return USAGE_CODES.has(error.code) ? 2 : 1
}

function commandOf(name: string) {
  const command = Object.hasOwn(COMMANDS, name) ? COMMANDS[name] : undefined
  if (command !== undefined) return command
  const nearest = Object.keys(COMMANDS).find((known) => distanceBetween(known, name) <= 2)
  const hint = nearest === undefined ? 'see: godwit --help' : `did you mean godwit ${nearest}?`
  throw new GodwitError('usage', `there is no command '${name}'`, { hint })
}

function print(terminal: Terminal, text: string): number {
  terminal.out(text)
  return 0
}
