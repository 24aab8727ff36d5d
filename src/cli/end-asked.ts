// When a command that runs in the foreground is to end. Used by `godwit agent` and `godwit gateway`.

/** Resolves on Ctrl-C, SIGTERM, SIGHUP, or when the process that started this one with a channel (the demo) is gone. */
export function endAsked(): Promise<void> {
  return new Promise((resolve) => {
    let asked = false
    const ask = (): void => {
      // Whoever asks twice does not want to wait.
      if (asked) process.exit(1)
      asked = true
      resolve()
    }
    for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, ask)
    // A referenced channel would keep this process alive after its work is done.
    process.channel?.unref()
    process.once('disconnect', () => resolve())
  })
}
