// The help texts, drawn from the command table. command-line.ts prints them.

import { placeholderOf } from './arguments.ts'
import { COMMANDS, type Command } from './commands.ts'

const WIDTH = 100

/** `godwit --help`. */
export function generalHelp(): string {
  const width = Math.max(...Object.keys(COMMANDS).map((name) => name.length))
  const lines = Object.entries(COMMANDS).map(([name, { summary }]) => `  ${name.padEnd(width)}  ${summary}`)
  return [
    'Godwit moves a running guest from one host to another, and proves that nothing was lost.',
    '',
    'usage: godwit COMMAND [OPTIONS]',
    '',
    ...lines,
    '',
    'godwit COMMAND --help says more; godwit demo needs nothing and is a good start.',
  ].join('\n')
}

/** `godwit COMMAND --help`. */
export function commandHelp(name: string, command: Command): string {
  const rows = Object.entries(command.options).map(([option, spec]) => {
    const shown = spec.default === undefined || spec.type === 'flag' ? '' : ` (default ${spec.default})`
    return { left: `--${option} ${placeholderOf(spec)}`.trimEnd(), right: `${spec.help}${shown}` }
  })
  rows.push({ left: '--help', right: 'print this' })
  const width = Math.min(30, Math.max(...rows.map((row) => row.left.length)))
  return [
    `usage: ${['godwit', name, ...command.operands].join(' ')} [OPTIONS]`,
    '',
    `${command.summary.charAt(0).toUpperCase()}${command.summary.slice(1)}.`,
    '',
    ...rows.flatMap(({ left, right }) => wrapRow(left, right, width)),
    ...(command.notes === undefined ? [] : ['', command.notes]),
  ].join('\n')
}

/** One option: its name at the left, its text wrapped at the right. */
function wrapRow(left: string, right: string, width: number): string[] {
  const lines: string[] = []
  let line = ''
  for (const word of right.split(' ')) {
    if (line !== '' && line.length + word.length + 1 > WIDTH - width - 4) {
      lines.push(line)
      line = word
    } else line = line === '' ? word : `${line} ${word}`
  }
  lines.push(line)
  const heads = left.length > width ? [`  ${left}`] : []
  return [
    ...heads,
    ...lines.map((text, i) => `  ${(i === 0 && heads.length === 0 ? left : '').padEnd(width)}  ${text}`),
  ]
}
