// Memory that is not needed any more, given back at once. Node.js reads an accepted socket into 64 KiB of new memory each time, and
// V8 sees so much memory outside its heap that it marks the whole heap several times a second to get it back; a stream of
// 3 GB takes a third less processor time without that.

/** Smaller ones cost less than giving them back. */
const WORTH_BYTES = 16 * 1024

/**
 * Frees the memory under `bytes`, if it is theirs: they begin it and are most of it, as what a socket read is (Node.js 26 leaves the
 * end of it empty), and no piece of a pool. Nobody may look at it again.
 */
export function giveBack(bytes: Uint8Array): void {
  const { buffer, byteOffset, length } = bytes
  const theirs = byteOffset === 0 && length > buffer.byteLength / 2
  if (length >= WORTH_BYTES && theirs && buffer instanceof ArrayBuffer) buffer.transfer(0)
}
