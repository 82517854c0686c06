// `postgres` (postgres.js): pipelined prepared statements, cursors, COPY streams. One line per step: name, tab, outcome as JSON.
const postgres = require('postgres')
const { pipeline } = require('node:stream/promises')
const { Readable } = require('node:stream')

async function main() {
  const notices = []
  const sql = postgres({ max: 4, onnotice: (notice) => notices.push([notice.severity, notice.message]), fetch_types: true })
  const step = async (name, work) => {
    let outcome
    try { outcome = await work() } catch (error) { outcome = { failed: { code: error.code, message: error.message, detail: error.detail, position: error.position } } }
    console.log(`${name}\t${JSON.stringify(outcome)}`)
  }
  await sql`CREATE TABLE node_postgres (id int PRIMARY KEY, name text, doc jsonb, tags text[], at timestamptz)`
  await step('insert', () => sql`INSERT INTO node_postgres ${sql([{ id: 1, name: 'a', doc: { x: 1 }, tags: ['p', 'q'], at: new Date(0) }, { id: 2, name: null, doc: null, tags: [], at: null }])} RETURNING *`)
  await step('select', () => sql`SELECT * FROM node_postgres ORDER BY id`)
  await step('columns', () => sql`SELECT 1 AS a, 'b' AS b`.then((r) => r.columns.map((c) => [c.name, c.type, c.table, c.number])))
  await step('pipelined', () => Promise.all(Array.from({ length: 50 }, (_, n) => sql`SELECT ${n}::int AS n`.then((r) => r[0].n))))
  await step('simple', () => sql`SELECT 1 AS x; SELECT 2 AS y`.simple())
  await step('unsafe', () => sql.unsafe('SELECT $1::text AS t', ["it's"]))
  await step('transaction', () => sql.begin((sql) => [sql`INSERT INTO node_postgres (id) VALUES (3)`, sql`SELECT count(*)::int AS n FROM node_postgres`]).then((r) => r.map((each) => [...each])))
  await step('savepoint', () => sql.begin(async (sql) => {
    const inner = await sql.savepoint((sql) => sql`SELECT 1/0`).catch((error) => error.code)
    return [inner, [...(await sql`SELECT 1 AS after`)]]
  }))
  await step('failed transaction', () => sql.begin(async (sql) => { await sql`INSERT INTO node_postgres (id) VALUES (4)`; await sql`SELECT nothing` }))
  await step('rolled back', () => sql`SELECT count(*)::int AS n FROM node_postgres`)
  await step('cursor', async () => {
    const sizes = []
    await sql`SELECT * FROM generate_series(1, 55) g`.cursor(20, (rows) => { sizes.push(rows.length) })
    return sizes
  })
  await step('forEach', async () => { let sum = 0; await sql`SELECT g FROM generate_series(1, 1000) g`.forEach((row) => { sum += row.g }); return sum })
  await step('describe', () => sql`SELECT id, name FROM node_postgres WHERE id = ${1}`.describe().then((d) => [d.types, d.columns.map((c) => [c.name, c.type])]))
  await step('copy in', async () => {
    await pipeline(Readable.from(['10\tten\n', '11\televen\n']), await sql`COPY node_postgres (id, name) FROM STDIN`.writable())
    return [...(await sql`SELECT id, name FROM node_postgres WHERE id >= 10 ORDER BY id`)]
  })
  await step('copy out', async () => {
    const chunks = []
    for await (const chunk of await sql`COPY (SELECT g FROM generate_series(1, 2000) g) TO STDOUT`.readable()) chunks.push(chunk)
    return Buffer.concat(chunks).length
  })
  await step('cancel', async () => {
    const query = sql`SELECT pg_sleep(20)`
    setTimeout(() => query.cancel(), 200)
    return query
  })
  await step('notify', async () => {
    let hear
    const heard = new Promise((resolve) => { hear = resolve })
    await sql.listen('news', hear)
    await sql.notify('news', 'today')
    return heard
  })
  await sql`DROP TABLE node_postgres`
  await step('notices', () => notices)
  await sql.end()
}
main().catch((error) => { console.error(error); process.exit(1) })
