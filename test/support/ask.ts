// A command to a backend with a closure for its reply, as tests like it.

import type { Backend, BackendError } from '../../src/gateway/backend.ts'
import { requestOf } from '../../src/programs/kv/request.ts'

/** `onReply` hears the reply's bytes, its own, or the error. */
export function sendTo(
  backend: Backend,
  vcpu: number,
  parts: readonly (string | Uint8Array)[],
  onReply: (reply: Buffer | BackendError) => void,
): void {
  const taker = {
    onReply: (_tag: number, bytes: Uint8Array, start: number, end: number) =>
      onReply(Buffer.copyBytesFrom(bytes, start, end - start)),
    onFailure: (_tag: number, error: BackendError) => onReply(error),
  }
  backend.send(vcpu, requestOf(...parts), taker, 0)
}
