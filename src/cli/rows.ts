// Rows of a summary: a name at the left, text at the right, wrapped so that it fits a terminal of 100 columns.

const COLUMNS = 100
const NAME_WIDTH = 10

/** A number stays with its unit. */
const BETWEEN_WORDS = / (?!(?:µs|ms|s|min|[KMGT]?i?B(?:\/s)?)\b)/

/** One row, of several lines if need be. */
export function row(name: string, text: string): string {
  const lines: string[] = []
  let line = ''
  for (const word of text.split(BETWEEN_WORDS)) {
    if (line !== '' && line.length + 1 + word.length > COLUMNS - NAME_WIDTH - 3) {
      lines.push(line)
      line = word
    } else line = line === '' ? word : `${line} ${word}`
  }
  lines.push(line)
  return lines.map((each, i) => `  ${(i === 0 ? name : '').padEnd(NAME_WIDTH)} ${each}`).join('\n')
}
