// Turns the words after a command into checked values, driven by the command's option table. command-line.ts parses,
// the commands read. Every mistake is a `usage` error with a hint that names the way out.

import { parseArgs } from 'node:util'
import { GodwitError } from '../errors.ts'
import { parseBytes, parseDuration, parseRate } from '../quantities.ts'

export interface OptionTable {
  readonly [name: string]: OptionSpec
}

export interface OptionSpec {
  /** `flag` takes no value; `pair` is KEY=VALUE and may be repeated, as `list` may; `rate` takes none for no limit. */
  readonly type: 'flag' | 'text' | 'choice' | 'integer' | 'bytes' | 'rate' | 'duration' | 'pair' | 'list'
  readonly help: string
  /** Shown in the help and used when the option is not given; as the user would write it. */
  readonly default?: string
  /** What stands for the value in the help. */
  readonly placeholder?: string
  readonly choices?: readonly string[]
  readonly least?: number
  readonly most?: number
}

type Value = string | number | boolean | null | Record<string, string> | readonly string[]

/** The values of one command line; the getters know the option's type from the table. */
export class Arguments {
  readonly positionals: readonly string[]
  readonly #values: ReadonlyMap<string, Value>

  constructor(positionals: readonly string[], values: ReadonlyMap<string, Value>) {
    this.positionals = positionals
    this.#values = values
  }

  flag(name: string): boolean {
    return this.#values.get(name) === true
  }

  /** The text or choice; undefined when neither given nor defaulted. */
  text(name: string): string | undefined {
    const value = this.#values.get(name)
    return typeof value === 'string' ? value : undefined
  }

  /** The integer, bytes, bytes per second or milliseconds; undefined when neither given nor defaulted. */
  number(name: string): number | undefined {
    const value = this.#values.get(name)
    return typeof value === 'number' ? value : undefined
  }

  pairs(name: string): Record<string, string> {
    const value = this.#values.get(name)
    return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, string>) : {}
  }

  /** Every value that was given, in order. */
  list(name: string): readonly string[] {
    const value = this.#values.get(name)
    return Array.isArray(value) ? value : []
  }
}

/** Parses `words` (without the command's name). Throws `usage` or `bad-size` with a hint. */
export function parseArguments(command: string, options: OptionTable, names: string[], words: string[]): Arguments {
  const { tokens } = parseArgs({
    args: words,
    strict: false,
    tokens: true,
    allowPositionals: true,
    options: Object.fromEntries(
      Object.entries(options).map(([name, spec]) => [name, { type: spec.type === 'flag' ? 'boolean' : 'string' }]),
    ),
  })
  const values = new Map<string, Value>()
  for (const [name, spec] of Object.entries(options)) {
    if (spec.default !== undefined) values.set(name, parseValue(name, spec, spec.default))
  }
  const positionals: string[] = []
  for (const token of tokens) {
    if (token.kind === 'positional') positionals.push(token.value)
    if (token.kind !== 'option') continue
    const spec = options[token.name]
    if (spec === undefined || !token.rawName.startsWith('--')) throw unknownOption(command, options, token.rawName)
    if (spec.type === 'flag') {
      if (token.value !== undefined) throw usage(`--${token.name} takes no value`, seeHelp(command))
      values.set(token.name, true)
    } else if (token.value === undefined || (!token.inlineValue && token.value.startsWith('--'))) {
      throw usage(`--${token.name} needs a value`, `write --${token.name} ${placeholderOf(spec)}`)
    } else if (spec.type === 'pair') {
      const pair = parseValue(token.name, spec, token.value) as Record<string, string>
      values.set(token.name, { ...(values.get(token.name) as Record<string, string>), ...pair })
    } else if (spec.type === 'list') {
      values.set(token.name, [...((values.get(token.name) as readonly string[]) ?? []), token.value])
    } else {
      values.set(token.name, parseValue(token.name, spec, token.value))
    }
  }
  checkPositionals(command, names, positionals)
  return new Arguments(positionals, values)
}

/** What stands for an option's value in the help. */
export function placeholderOf(spec: OptionSpec): string {
  if (spec.placeholder !== undefined) return spec.placeholder
  if (spec.choices !== undefined) return spec.choices.join('|')
  return {
    flag: '',
    text: 'TEXT',
    choice: '',
    integer: 'N',
    bytes: 'SIZE',
    rate: 'RATE',
    duration: 'TIME',
    pair: 'K=V',
    list: 'TEXT',
  }[spec.type]
}

/** The last name may end in `...`: then there may be more of it. */
function checkPositionals(command: string, names: string[], given: string[]): void {
  if (given.length < names.length) {
    throw usage(`${command} needs ${names.slice(given.length).join(' ')}`, seeHelp(command))
  }
  if (names.at(-1)?.endsWith('...') === true) return
  if (given.length > names.length) throw usage(`'${given[names.length]}' is one word too many`, seeHelp(command))
}

function parseValue(name: string, spec: OptionSpec, text: string): Value {
  switch (spec.type) {
    case 'flag':
      return text === 'true'
    case 'text':
      return text
    case 'list':
      return [text]
    case 'bytes':
      return parseBytes(text)
    case 'rate':
      return text === 'none' ? null : parseRate(text)
    case 'duration':
      return parseDuration(text)
    case 'choice':
      if (spec.choices?.includes(text)) return text
      throw usage(`--${name} '${text}' is not known`, `choose one of ${spec.choices?.join(', ')}`)
    case 'integer': {
      const [least, most] = [spec.least ?? 0, spec.most ?? Number.MAX_SAFE_INTEGER]
      const value = Number(text)
      if (/^\d+$/.test(text) && value >= least && value <= most) return value
      const range = spec.most === undefined ? `from ${least}` : `from ${least} to ${most}`
      throw usage(`--${name} '${text}' is out of range`, `give a whole number ${range}`)
    }
    case 'pair': {
      const at = text.indexOf('=')
      if (at > 0) return { [text.slice(0, at)]: text.slice(at + 1) }
      throw usage(`--${name} '${text}' is no KEY=VALUE`, `write --${name} key=value; repeat it for more`)
    }
  }
}

function unknownOption(command: string, options: OptionTable, rawName: string): GodwitError {
  const wanted = rawName.replace(/^-+/, '')
  const [nearest] = Object.keys(options)
    .map((name) => ({ name, distance: distanceBetween(wanted, name) }))
    .filter(({ name, distance }) => distance <= 2 || (wanted.length > 2 && name.startsWith(wanted)))
    .sort((a, b) => a.distance - b.distance)
  const hint = nearest === undefined ? seeHelp(command) : `did you mean --${nearest.name}?`
  return usage(`${command} has no option ${rawName}`, hint)
}

/** Levenshtein distance of two short words. */
export function distanceBetween(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, j) => j)
  for (let i = 1; i <= a.length; i++) {
    const next = [i]
    for (let j = 1; j <= b.length; j++) {
      const change = (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1)
      next.push(Math.min(change, (row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1))
    }
    row = next
  }
  return row[b.length] ?? 0
}

const seeHelp = (command: string): string => `see: godwit ${command} --help`
const usage = (message: string, hint: string): GodwitError => new GodwitError('usage', message, { hint })
