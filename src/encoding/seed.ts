/** The seed of a session's content hashes: the first 64 bits of its token, which both sides know and nobody else (R14). */
export const seedOf = (token: string): bigint => BigInt(`0x${token.slice(0, 16)}`)
