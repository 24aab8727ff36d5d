// What a process spends on a migration, for the report.

/** CPU time since `start` (ms, all threads) and peak resident memory (bytes) of this process. */
export function usageSince(start: NodeJS.CpuUsage): () => { cpuMs: number; rssPeak: number } {
  return () => {
    const { user, system } = process.cpuUsage(start)
    // maxRSS is in kilobytes.
    return { cpuMs: (user + system) / 1000, rssPeak: process.resourceUsage().maxRSS * 1024 }
  }
}
