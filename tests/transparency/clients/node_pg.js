// `pg` (node-postgres) with cursors, query streams and COPY streams. One line per step: name, tab, outcome as JSON.
const { Client, Pool } = require('pg')
const Cursor = require('pg-cursor')
const QueryStream = require('pg-query-stream')
const { from, to } = require('pg-copy-streams')
const { pipeline } = require('node:stream/promises')
const { Readable, Writable } = require('node:stream')

const collect = (chunks) => new Writable({ write(chunk, _, done) { chunks.push(chunk); done() } })
const failure = (error) => ({ code: error.code, message: error.message, detail: error.detail, hint: error.hint, position: error.position, severity: error.severity, constraint: error.constraint, table: error.table, column: error.column })

async function main() {
  const client = new Client()
  await client.connect()
  const notices = []
  client.on('notice', (notice) => notices.push([notice.severity, notice.message]))
  const step = async (name, work) => {
    let outcome
    try { outcome = await work() } catch (error) { outcome = { failed: failure(error) } }
    console.log(`${name}\t${JSON.stringify(outcome)}`)
  }
  await client.query('CREATE SCHEMA node_pg')
  await step('search_path', () => client.query('SET search_path TO node_pg').then((r) => r.command))
  await step('create', () => client.query('CREATE TABLE t (id serial PRIMARY KEY, name text UNIQUE, n numeric, at timestamptz, doc jsonb, tags text[], raw bytea)').then((r) => r.command))
  await step('insert', () => client.query('INSERT INTO t (name, n, at, doc, tags, raw) VALUES ($1, $2, $3, $4, $5, $6) RETURNING *', ['one', '1.50', new Date(0), { a: [1, 'ü'] }, ['x', 'y z'], Buffer.from([0, 1, 255])]).then((r) => [r.rows, r.fields.map((f) => [f.name, f.dataTypeID, f.format, f.columnID])]))
  await step('named', async () => [(await client.query({ name: 'q', text: 'SELECT $1::int + 1 AS n', values: [1] })).rows, (await client.query({ name: 'q', text: 'SELECT $1::int + 1 AS n', values: [41] })).rows])
  await step('multi', () => client.query("SELECT 1 AS a; SELECT 'b' AS b; SELECT 3 WHERE false").then((all) => all.map((r) => [r.command, r.rowCount, r.rows])))
  await step('array rows', () => client.query({ text: 'SELECT g, g * 2 FROM generate_series(1, 3) g', rowMode: 'array' }).then((r) => r.rows))
  await step('binary', () => client.query({ text: 'SELECT 1::int4 AS a, 2.5::float8 AS b', binary: true }).then((r) => r.rows))
  await step('duplicate', () => client.query("INSERT INTO t (name) VALUES ('one')"))
  await step('syntax', () => client.query('SELECT 1 +'))
  await step('in a failed transaction', async () => {
    await client.query('BEGIN')
    const first = await client.query('SELECT * FROM nowhere').catch(failure)
    const second = await client.query('SELECT 1').catch(failure)
    return [first, second, (await client.query('ROLLBACK')).command]
  })
  await step('queued', () => Promise.all([1, 2, 3, 4, 5].map((n) => client.query('SELECT $1::int AS n', [n]).then((r) => r.rows[0].n))))
  await step('cursor', async () => {
    const cursor = client.query(new Cursor('SELECT * FROM generate_series(1, 250) g', []))
    const sizes = []
    for (let rows = await cursor.read(100); rows.length; rows = await cursor.read(100)) sizes.push([rows.length, rows[0].g])
    await cursor.close()
    return sizes
  })
  await step('cursor, given up', async () => {
    const cursor = client.query(new Cursor('SELECT * FROM generate_series(1, 100000) g', []))
    const rows = await cursor.read(10)
    await cursor.close()
    return [rows.length, (await client.query('SELECT 1 AS after')).rows]
  })
  await step('stream', async () => {
    let sum = 0
    for await (const row of client.query(new QueryStream('SELECT * FROM generate_series(1, 5000) g', [], { batchSize: 700 }))) sum += row.g
    return sum
  })
  await step('copy from', async () => {
    await pipeline(Readable.from(Array.from({ length: 5000 }, (_, n) => `${n + 10}\tname ${n}\n`)), client.query(from('COPY t (id, name) FROM STDIN')))
    return (await client.query('SELECT count(*), max(name) FROM t')).rows
  })
  await step('copy from, broken', () => pipeline(Readable.from(['not a number\tx\n']), client.query(from('COPY t (id, name) FROM STDIN'))))
  await step('copy to', async () => {
    const chunks = []
    await pipeline(client.query(to('COPY (SELECT id, name FROM t ORDER BY id) TO STDOUT (FORMAT csv)')), collect(chunks))
    return [Buffer.concat(chunks).length, Buffer.concat(chunks).subarray(0, 40).toString()]
  })
  await step('notice', async () => { await client.query("DO $$ BEGIN RAISE NOTICE 'here: %', 42; END $$"); return notices })
  await step('notify', async () => {
    await client.query('LISTEN channel')
    const heard = new Promise((resolve) => client.once('notification', resolve))
    await client.query("SELECT pg_notify('channel', 'payload ü')")
    const { channel, payload, processId } = await heard
    return [channel, payload, processId === client.processID]
  })
  await step('backend', async () => (await client.query('SELECT pg_backend_pid() AS pid')).rows[0].pid === client.processID)
  await step('timeout', async () => {
    const hasty = new Client({ statement_timeout: 100 })
    await hasty.connect()
    const outcome = await hasty.query('SELECT pg_sleep(20)').catch(failure)
    await hasty.end()
    return outcome
  })
  await step('long text', async () => (await client.query('SELECT length($1::text) AS n', ['ü'.repeat(3_000_000)])).rows)
  await step('pool', async () => {
    const pool = new Pool({ max: 8 })
    const found = await Promise.all(Array.from({ length: 100 }, (_, n) => pool.query('SELECT $1::int AS n', [n])))
    await pool.end()
    return found.reduce((sum, r) => sum + r.rows[0].n, 0)
  })
  await client.query('DROP SCHEMA node_pg CASCADE')
  await client.end()
}
main().catch((error) => { console.error(error); process.exit(1) })
