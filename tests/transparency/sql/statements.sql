-- Statements of most kinds; everything that a server says is compared, so nothing here may be random.
SET client_min_messages TO notice;
CREATE TABLE "T ü" (id int PRIMARY KEY, name text NOT NULL, price numeric(8, 2) CHECK (price > 0), doc jsonb, tags text[]);
\d "T ü"
INSERT INTO "T ü" VALUES (1, 'one', 1.5, '{"a": [1, null]}', '{a,"b c",NULL}'), (2, E'tab\tline\nend', 2, NULL, '{}');
INSERT INTO "T ü" VALUES (1, 'again', 1, NULL, NULL);
INSERT INTO "T ü" VALUES (3, NULL, 1, NULL, NULL);
INSERT INTO "T ü" VALUES (3, 'three', -1, NULL, NULL) RETURNING *;
SELECT * FROM "T ü" ORDER BY id;
\x on
SELECT *, row_to_json("T ü") FROM "T ü" ORDER BY id;
\x off
SELECT 'ü' AS "Spalte ä", length('ü😀'), 'it''s', $$dollar$$, E'\u00e9', U&'\00e9', B'101', X'1F', '\not escaped';
SELECT 1 +;
SELECT nothing FROM "T ü";
SELECT * FROM nowhere;
SELECT 1 / 0;
SELECT ''::int;
SELECT 1 AS a \; SELECT 2 AS b, 'x' AS c \; SELECT 3 WHERE false;
SELECT 1 \; SELECT 1 / 0 \; SELECT 3;
;
BEGIN;
SAVEPOINT one;
SELECT 1 / 0;
SELECT 'skipped';
ROLLBACK TO one;
SELECT 'again';
COMMIT AND CHAIN;
ROLLBACK;
ROLLBACK;
PREPARE double (int) AS SELECT $1 * 2 AS twice;
EXECUTE double (21);
EXECUTE double ('x');
DEALLOCATE double;
EXECUTE double (1);
SELECT $1::int + $2::int AS sum \bind 4 5 \g
SELECT $1::int + 1 AS sum \parse named
\bind_named named 41 \g
\close_prepared named
BEGIN;
DECLARE walk SCROLL CURSOR FOR SELECT g, g * g AS square FROM generate_series(1, 10) g;
FETCH 2 FROM walk;
MOVE 3 FROM walk;
FETCH BACKWARD 2 FROM walk;
FETCH ALL FROM walk;
CLOSE walk;
FETCH walk;
END;
COPY "T ü" (id, name) FROM STDIN;
10	ten
11	a\tb\\c\nd
\.
COPY "T ü" (id, name) FROM STDIN (FORMAT csv, HEADER);
id,name
12,"quoted ""name"", with comma
and line"
\.
COPY "T ü" (id, name) FROM STDIN;
not a number	x
\.
COPY (SELECT id, name FROM "T ü" ORDER BY id) TO STDOUT;
COPY (SELECT id, name, tags FROM "T ü" ORDER BY id) TO STDOUT (FORMAT csv, HEADER, FORCE_QUOTE *);
COPY nowhere TO STDOUT;
UPDATE "T ü" SET price = id WHERE id > 9 RETURNING id, price;
DELETE FROM "T ü" WHERE id = 12;
MERGE INTO "T ü" t USING (VALUES (10, 'merged'), (20, 'new')) v (id, name) ON t.id = v.id
WHEN MATCHED THEN UPDATE SET name = v.name WHEN NOT MATCHED THEN INSERT (id, name) VALUES (v.id, v.name) RETURNING merge_action(), t.id;
CREATE VIEW seen AS SELECT id, upper(name) AS loud FROM "T ü";
SELECT * FROM seen ORDER BY 1;
ALTER TABLE "T ü" RENAME COLUMN name TO label;
\d+ seen
DO $$ BEGIN RAISE NOTICE 'value %', 42; RAISE WARNING 'careful' USING DETAIL = 'why', HINT = 'how'; RAISE EXCEPTION 'enough' USING ERRCODE = 'ZZ999'; END $$;
CREATE FUNCTION boom(n int) RETURNS int LANGUAGE plpgsql AS $$ BEGIN RETURN 1 / n; END $$;
SELECT boom(0);
\set VERBOSITY verbose
SELECT boom(0);
\set VERBOSITY default
CREATE TEMP TABLE brief AS SELECT g FROM generate_series(1, 3) g;
SELECT sum(g) FROM brief;
CREATE SCHEMA other;
CREATE TABLE other.brief (elsewhere int);
SELECT * FROM other.brief;
SET search_path TO other, public;
SELECT current_schemas(false);
SHOW search_path;
RESET search_path;
SET LOCAL work_mem TO '1MB';
SET nothing TO 1;
EXPLAIN (COSTS off) SELECT * FROM seen WHERE id = 1;
LISTEN news;
NOTIFY news;
UNLISTEN *;
CREATE ROLE somebody;
GRANT SELECT ON seen TO somebody;
SET ROLE somebody;
SELECT current_user, count(*) FROM seen;
SELECT * FROM "T ü";
RESET ROLE;
TRUNCATE "T ü";
VACUUM (ANALYZE) "T ü";
SELECT 1 AS one \gset
\echo :one
SELECT 'select ' || g FROM generate_series(1, 3) g \gexec
\startpipeline
SELECT 1 \sendpipeline
SELECT 'piped' AS x \bind \sendpipeline
\syncpipeline
SELECT 1 / 0 \bind \sendpipeline
SELECT 'skipped' \bind \sendpipeline
\endpipeline
DROP SCHEMA other CASCADE;
DROP VIEW seen;
DROP TABLE "T ü";
DROP FUNCTION boom;
DROP ROLE somebody;
