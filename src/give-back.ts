// Memory that is not needed any more, given back at once. Node.js reads an accepted socket into 64 KiB of new memory each time, and
// V8 sees so much memory outside its heap that it marks the whole heap several times a second to get it back; a stream of
// 3 GB takes a third less processor time without that.

/** Smaller ones cost less than giving them back. */
const WORTH_BYTES = 16 * 1024

/** Frees what lies under `bytes`, if that is all there is: a piece of something larger stays. Nobody may look at it again. */
export function giveBack(bytes: Uint8Array): void {
  const { buffer } = bytes
  const whole = bytes.length >= WORTH_BYTES && bytes.length === buffer.byteLength
  if (whole && buffer instanceof ArrayBuffer) buffer.transfer(0)
}
