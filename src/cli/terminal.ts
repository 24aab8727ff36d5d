// Where a command writes to: results on standard output, everything else on standard error. Tests put buffers here.

/** The two outputs of a command, and whether a person watches. */
export interface Terminal {
  /** Results; one JSON document with --json. */
  out(text: string): void
  /** Progress, errors and hints. */
  error(text: string): void
  /** Standard error is a terminal whose line may be redrawn. */
  readonly interactive: boolean
  readonly columns: number
}

/** The terminal of this process. */
export function processTerminal(): Terminal {
  return {
    out: (text) => void process.stdout.write(`${text}\n`),
    error: (text) => void process.stderr.write(text),
    get interactive() {
      return process.stderr.isTTY === true
    },
    get columns() {
      return process.stderr.columns ?? 100
    },
  }
}
