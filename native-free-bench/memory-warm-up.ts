// Touches as much memory as a timed run is about to use and gives it back, so that the run meets pages which the
// machine's own host has already backed. harness.ts calls it before every timed run, for every competitor alike.
// Run as a program (`node memory-warm-up.ts BYTES`) it is the process that touches: ending it frees everything at once.

import { execFile } from 'node:child_process'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'

const CHUNK_BYTES = 256 * 1024 * 1024
const PAGE_BYTES = 4096

/** Touches and frees `bytes` of memory in a process of its own. */
export async function warmMemory(bytes: number): Promise<void> {
  await promisify(execFile)(process.execPath, [fileURLToPath(import.meta.url), String(bytes)])
}

function touch(bytes: number): void {
  const kept: Uint8Array[] = []
  for (let left = bytes; left > 0; left -= CHUNK_BYTES) {
    const chunk = new Uint8Array(Math.min(left, CHUNK_BYTES))
    for (let at = 0; at < chunk.length; at += PAGE_BYTES) chunk[at] = 1
    kept.push(chunk)
  }
}

if (process.argv[1] === fileURLToPath(import.meta.url)) touch(Number(process.argv[2] ?? 0))
