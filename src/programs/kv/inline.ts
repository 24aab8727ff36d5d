// An inline command's line to its arguments, by the rules of Redis's sdssplitargs: "…" with escapes, '…' with \' alone.

const [SPACE, QUOTE, APOSTROPHE, BACKSLASH, X] = [0x20, 0x22, 0x27, 0x5c, 0x78]
const ESCAPES: Readonly<Record<string, number>> = { n: 0x0a, r: 0x0d, t: 0x09, b: 0x08, a: 0x07 }

const isSpace = (byte: number | undefined): boolean => byte === SPACE || (byte !== undefined && byte >= 9 && byte <= 13)

/** The arguments of a line without its end; null: a quote is not closed, or something follows it at once. */
export function splitInline(line: Uint8Array): Uint8Array[] | null {
  const parts: Uint8Array[] = []
  // Unquoting never makes longer, so one buffer of the line's size holds them all.
  const bytes = new Uint8Array(line.length)
  let end = 0
  let at = 0
  for (;;) {
    while (isSpace(line[at])) at++
    if (at === line.length) return parts
    const start = end
    while (at < line.length && !isSpace(line[at])) {
      const byte = line[at] as number
      if (byte !== QUOTE && byte !== APOSTROPHE) {
        bytes[end++] = byte
        at++
        continue
      }
      at++
      while (at < line.length && line[at] !== byte) {
        const [value, length] = unquoted(line, at, byte)
        bytes[end++] = value
        at += length
      }
      const closed = at < line.length && (at + 1 === line.length || isSpace(line[at + 1]))
      if (!closed) return null
      at++
    }
    parts.push(bytes.subarray(start, end))
  }
}

const hexDigits = (line: Uint8Array, at: number): number => {
  const text = String.fromCharCode(line[at] ?? 0, line[at + 1] ?? 0)
  return /^[0-9a-f]{2}$/i.test(text) ? Number.parseInt(text, 16) : -1
}

/** One byte inside quotes, and how many of the line it took. */
function unquoted(line: Uint8Array, at: number, quote: number): readonly [value: number, length: number] {
  const byte = line[at] as number
  const next = line[at + 1]
  if (byte !== BACKSLASH || next === undefined) return [byte, 1]
  if (quote === APOSTROPHE) return next === APOSTROPHE ? [next, 2] : [byte, 1]
  const hex = next === X ? hexDigits(line, at + 2) : -1
  return hex >= 0 ? [hex, 4] : [ESCAPES[String.fromCharCode(next)] ?? next, 2]
}
