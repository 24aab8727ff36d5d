// The text of INFO: sections of facts. A shard writes its own; a gateway reads those of all shards and adds them up.

export type Facts = Readonly<Record<string, string | number>>
export type Sections = Readonly<Record<string, Facts>>

/** Words for everything. */
const ALL: readonly string[] = ['all', 'default', 'everything']

/** The sections that are wanted, in any case; none wanted: all. */
export function infoText(sections: Sections, wanted: readonly string[]): string {
  const names = wanted.map((name) => name.toLowerCase())
  const all = names.length === 0 || names.some((name) => ALL.includes(name))
  const chosen = Object.entries(sections).filter(([name]) => all || names.includes(name.toLowerCase()))
  const lines = (facts: Facts): string =>
    Object.entries(facts)
      .map(([key, value]) => `${key}:${value}\r\n`)
      .join('')
  return chosen.map(([name, facts]) => `# ${name}\r\n${lines(facts)}`).join('\r\n')
}

/** The sections of a text that `infoText` made. */
export function infoSections(text: string): Sections {
  const sections: Record<string, Record<string, string>> = {}
  let facts: Record<string, string> = {}
  for (const line of text.split('\r\n')) {
    const colon = line.indexOf(':')
    if (line.startsWith('# ')) {
      facts = {}
      sections[line.slice(2)] = facts
    } else if (colon > 0) facts[line.slice(0, colon)] = line.slice(colon + 1)
  }
  return sections
}

const isNumber = (text: string | number): boolean => /^\d+$/.test(String(text))

/** `keys=1,expires=0` of two shards. */
function sumOfPairs(a: string, b: string): string {
  const others = new Map(b.split(',').map((pair) => pair.split('=', 2) as [string, string]))
  return a
    .split(',')
    .map((pair) => {
      const [key, value] = pair.split('=', 2) as [string, string]
      return `${key}=${Number(value) + Number(others.get(key) ?? 0)}`
    })
    .join(',')
}

/** What several shards say together: numbers and counts of keys are added, everything else is the first one's. */
export function sumOfSections(all: readonly Sections[]): Sections {
  const sum: Record<string, Record<string, string | number>> = {}
  for (const [name, facts] of all.flatMap((sections) => Object.entries(sections))) {
    sum[name] ??= {}
    const into = sum[name]
    for (const [key, value] of Object.entries(facts)) {
      const before = into[key]
      if (before === undefined) into[key] = value
      else if (isNumber(before) && isNumber(value)) into[key] = Number(before) + Number(value)
      else if (name === 'Keyspace') into[key] = sumOfPairs(String(before), String(value))
    }
  }
  return sum
}
