// A terminal of two strings, for tests of the command line in this process.

import { runCommandLine } from '../../src/cli/command-line.ts'
import type { Terminal } from '../../src/cli/terminal.ts'

/** Collects what a command prints. */
export class BufferTerminal implements Terminal {
  output = ''
  errors = ''
  readonly interactive: boolean
  readonly columns = 100

  constructor(interactive = false) {
    this.interactive = interactive
  }

  out(text: string): void {
    this.output += `${text}\n`
  }

  error(text: string): void {
    this.errors += text
  }
}

/** Runs a command line; returns its exit status and what it printed. */
export async function godwit(...words: string[]): Promise<{ status: number; output: string; errors: string }> {
  const terminal = new BufferTerminal()
  const status = await runCommandLine(words, terminal)
  return { status, output: terminal.output, errors: terminal.errors }
}
