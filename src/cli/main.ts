#!/usr/bin/env node
// The `godwit` command: hands the words to command-line.ts and turns its answer into the exit status.

import { compileCache } from '../compile-cache.ts'
import { runCommandLine } from './command-line.ts'
import { processTerminal } from './terminal.ts'

// For the threads and processes that a command starts.
process.env.NODE_COMPILE_CACHE = compileCache()

// A reader that went away (`godwit ps | head -1`) is no error, but what the command came to stays its status.
for (const stream of [process.stdout, process.stderr]) {
  stream.on('error', (error: NodeJS.ErrnoException) => {
    if (error.code === 'EPIPE' || stream === process.stderr) return
    process.stderr.write(`godwit: cannot write: ${error.message}\n`)
    process.exit(1)
  })
}

process.exitCode = await runCommandLine(process.argv.slice(2), processTerminal())
