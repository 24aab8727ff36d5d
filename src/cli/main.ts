#!/usr/bin/env node
// The `godwit` command: hands the words to command-line.ts and turns its answer into the exit status.

import { runCommandLine } from './command-line.ts'
import { processTerminal } from './terminal.ts'

// A reader that went away (`godwit ps | head -1`) is no error.
process.stdout.on('error', (error: NodeJS.ErrnoException) => {
  if (error.code === 'EPIPE') process.exit(0)
  throw error
})

process.exitCode = await runCommandLine(process.argv.slice(2), processTerminal())
