// Connections whose other end has not shown yet who it is, at any port that listens: few may be in that state, and whoever
// fills the places must not keep out the one that is waited for (R14).

import { MAX_STRANGERS } from '../limits.ts'

/** Takes a stranger in; where all places are taken, the oldest goes, for it has had its chance. */
export function admitStranger<T extends { destroy(): unknown }>(strangers: Set<T>, stranger: T): void {
  const [oldest] = strangers
  if (oldest !== undefined && strangers.size >= MAX_STRANGERS) {
    strangers.delete(oldest)
    oldest.destroy()
  }
  strangers.add(stranger)
}
