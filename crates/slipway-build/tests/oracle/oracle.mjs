// Answers, as Netlify's own packages do, what a configuration means. Cases come as JSON on standard input: a list of
// `{ files, context, branch, base }`; the answers go to standard output in the same order.
import { mkdirSync, rmSync, writeFileSync } from 'node:fs'
import { dirname, join, relative } from 'node:path'
import { text } from 'node:stream/consumers'
import { resolveConfig } from '@netlify/config'

// Where git is not found it is not asked: no case is a repository, and asking takes longer than the rest.
process.env.PATH = ''

const work = join(process.cwd(), 'work')
// As many at a time.
const PARALLEL = 8

const cases = JSON.parse(await text(process.stdin))
rmSync(work, { recursive: true, force: true })
const trees = new Map()

// Cases of one tree share its directory.
const treeOf = (files) => {
  const key = JSON.stringify(files)
  if (!trees.has(key)) {
    const root = join(work, String(trees.size))
    mkdirSync(root, { recursive: true })
    for (const [path, content] of Object.entries(files)) {
      mkdirSync(dirname(join(root, path)), { recursive: true })
      writeFileSync(join(root, path), content)
    }
    trees.set(key, root)
  }
  return trees.get(key)
}

// `Cookie` is a list too, only that Netlify splits it later.
const listed = (name, value) => {
  if (Array.isArray(value)) return value.map(String)
  return name === 'Cookie' ? String(value).trim().split(/\s*,\s*/) : [String(value)]
}
const map = (object, change) => Object.fromEntries(Object.entries(object).map(([key, value]) => [key, change(key, value)]))
const redirect = ({ from, query = {}, to, status = 301, force = false, conditions = {}, headers = {} }) => ({
  from,
  query: map(JSON.parse(JSON.stringify(query)), (_, value) => String(value)),
  to,
  status,
  force,
  conditions: map(JSON.parse(JSON.stringify(conditions)), listed),
  headers: map(headers, (_, value) => String(value)),
})

const answer = async ({ files, context, branch, base }) => {
  const root = treeOf(files)
  const inside = (path) => (path === undefined ? null : relative(root, path))
  let result
  try {
    result = await resolveConfig({
      cwd: root,
      repositoryRoot: root,
      context,
      branch,
      offline: true,
      buffer: true,
      inlineConfig: base === null ? {} : { build: { base } },
    })
  } catch (error) {
    return { error: error.message.replaceAll(root, '') }
  }
  const { config, env, logs } = result
  const said = logs.stderr.join('\n')
  const lines = (kind) => [...said.matchAll(new RegExp(`Could not parse ${kind} line (\\d+)`, 'g'))].map(([, line]) => Number(line))
  return {
    config: {
      base: inside(config.build.base),
      command: config.build.command ?? null,
      publish: inside(config.build.publish),
      publish_is_set: config.build.publishOrigin !== 'default',
      ignore: config.build.ignore ?? null,
      environment: map(
        Object.fromEntries(Object.entries(env).filter(([, { sources }]) => sources[0] === 'configFile')),
        (_, { value }) => value,
      ),
      functions_directory: inside(config.functionsDirectory),
      edge_functions_directory: inside(config.build.edge_functions),
      edge_functions: (config.edge_functions ?? []).map((edge) => edge.function),
      plugins: config.plugins.map(({ package: name, inputs }) => ({ package: name, inputs })),
      spa_fallback: config.spa_fallback ?? null,
      redirects: config.redirects.map(redirect),
      headers: config.headers.map(({ for: path, values }) => ({ for: path, values })),
    },
    errors: [...said.matchAll(/Could not parse (redirect|header) (line|number)|Path should come before header|Redirects must be|Headers? must be/g)].length,
    redirect_lines: lines('redirect'),
    header_lines: lines('header'),
  }
}

// Directories first: the answers are asked for at the same time.
for (const { files } of cases) treeOf(files)
const answers = new Array(cases.length)
let next = 0
const worker = async () => {
  while (next < cases.length) {
    const index = next++
    answers[index] = await answer(cases[index])
  }
}
await Promise.all(Array.from({ length: PARALLEL }, worker))
process.stdout.write(JSON.stringify(answers))
