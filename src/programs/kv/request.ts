// A command as it came: the arguments are ranges of one buffer, the name is the first. Nothing is copied before it is
// known where to; the parser overwrites the object with the next command.

export interface Request {
  /** Holds all arguments. */
  bytes: Uint8Array
  /** Where each argument begins, and its length; `count` of each. */
  starts: Uint32Array
  lengths: Uint32Array
  count: number
}

export const startOf = (request: Request, index: number): number => request.starts[index] as number
export const lengthOf = (request: Request, index: number): number => request.lengths[index] as number

/** An argument as text, one character a byte, cut off at `most`. */
export function textOf(request: Request, index: number, most = 128): string {
  const start = startOf(request, index)
  const { buffer, byteOffset } = request.bytes
  return Buffer.from(buffer, byteOffset + start, Math.min(lengthOf(request, index), most)).toString('latin1')
}

/** Whether an argument is the word, which is written in capitals, in any case. */
export function isWord(request: Request, index: number, word: string): boolean {
  return lengthOf(request, index) === word.length && textOf(request, index).toUpperCase() === word
}

/** A request of these arguments, for tests and for callers that have no RESP. */
export function requestOf(...parts: readonly (string | Uint8Array)[]): Request {
  const all = parts.map((part) => (typeof part === 'string' ? Buffer.from(part) : part))
  const starts = new Uint32Array(all.length)
  for (let index = 1; index < all.length; index++) {
    starts[index] = (starts[index - 1] as number) + (all[index - 1] as Uint8Array).length
  }
  const lengths = Uint32Array.from(all, (part) => part.length)
  return { bytes: Buffer.concat(all), starts, lengths, count: all.length }
}
