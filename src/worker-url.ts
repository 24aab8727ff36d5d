// Worker threads and child processes are started by file; this gives the file beside the caller with the extension
// the caller itself has: .ts from a checkout, .js from a published build.

/** URL of the module `name` (relative, without extension) next to the module whose `import.meta.url` is given. */
export function workerUrl(importMetaUrl: string, name: string): URL {
  const extension = importMetaUrl.endsWith('.ts') ? '.ts' : '.js'
  return new URL(`${name}${extension}`, importMetaUrl)
}
