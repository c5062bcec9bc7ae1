-- Everything that a dump could get wrong, for the tests of equality. Run as a superuser in an empty corner of a database;
-- awkward_gone.sql takes it all away again.

-- Roles: quotes, key words, white space, memberships, settings, comments.
CREATE ROLE "own'er ""q"" ;$1\" LOGIN PASSWORD 'p''w\ $$ "x"' CONNECTION LIMIT 7 VALID UNTIL '2042-01-02 03:04:05+00';
CREATE ROLE "order" NOLOGIN BYPASSRLS;
CREATE ROLE U&"line\000Abreak" CREATEDB;
CREATE ROLE U&"para\2029graph" NOINHERIT;
CREATE ROLE "Reader";
CREATE ROLE plain_group;
GRANT plain_group TO "Reader" WITH ADMIN OPTION;
GRANT plain_group TO CURRENT_USER;
GRANT "order" TO "own'er ""q"" ;$1\";
ALTER ROLE "Reader" SET search_path TO "awk ward", public;
ALTER ROLE "own'er ""q"" ;$1\" SET application_name TO 'it''s "\ ;';
COMMENT ON ROLE "Reader" IS 'reads; it''s "all" \';
GRANT SET ON PARAMETER log_min_duration_statement TO "Reader";
ALTER DEFAULT PRIVILEGES FOR ROLE "own'er ""q"" ;$1\" GRANT SELECT ON TABLES TO "Reader" WITH GRANT OPTION;
ALTER DEFAULT PRIVILEGES FOR ROLE "own'er ""q"" ;$1\" REVOKE EXECUTE ON FUNCTIONS FROM PUBLIC;

CREATE SCHEMA "awk ward" AUTHORIZATION "own'er ""q"" ;$1\";
COMMENT ON SCHEMA "awk ward" IS E'two\nlines; \\ and \x01';
GRANT USAGE ON SCHEMA "awk ward" TO "Reader" WITH GRANT OPTION;
ALTER DEFAULT PRIVILEGES IN SCHEMA "awk ward" GRANT UPDATE ON SEQUENCES TO plain_group;
CREATE EXTENSION IF NOT EXISTS pg_trgm;
CREATE SCHEMA extensions;
CREATE EXTENSION hstore SCHEMA extensions;
CREATE EXTENSION citext SCHEMA extensions;
CREATE EXTENSION btree_gist SCHEMA extensions;
CREATE EXTENSION postgres_fdw;
COMMENT ON EXTENSION hstore IS 'ours; it''s other than theirs';
SET search_path = "awk ward", public, extensions;

-- Types.
CREATE TYPE mood AS ENUM ('sad', 'o''k', 'ha"ppy', 'é 日本');
ALTER TYPE mood ADD VALUE 'between' BEFORE 'o''k';
CREATE DOMAIN positive AS numeric(12, 3) DEFAULT 1 CONSTRAINT "above; zero" CHECK (VALUE > 0);
CREATE DOMAIN words AS text[] NOT NULL;
CREATE TYPE pair AS ("first ""one""" int, second positive);
CREATE TYPE span AS RANGE (subtype = float8, subtype_diff = float8mi, multirange_type_name = spans);
CREATE COLLATION "german; phone" (provider = icu, locale = 'de-u-co-phonebk');
CREATE COLLATION blind (provider = icu, locale = 'und-u-ks-level2', deterministic = false);
COMMENT ON TYPE pair IS 'two';

-- Names, and text that looks like something else.
CREATE TABLE U&"t ""q"" ' ;$1 \005C line\000Abreak sep\2028arator \0085" (
    U&"c ""q"" ' ;$1 \005C line\000Abreak" text, "select" int DEFAULT 3, "%s %% {} :x :'y'" text DEFAULT E'\\.\n');
INSERT INTO U&"t ""q"" ' ;$1 \005C line\000Abreak sep\2028arator \0085" VALUES
    (E'\\.', 1, E'\\N'), (E'\\\\N', 2, ''), (NULL, NULL, NULL), (E'\r\n\t\b\f\v', 4, E'\\r\\n'), (E'\n\\.\n', 5, '\x80 \xff'),
    (E'\\', 6, $$'; DROP TABLE x; --$$), ('Ã© â‚¬ ï¿½', 7, E'\uFEFF\uFFFD\uFFFE\U0010FFFF'), ('😀𝔘𐍈', 8, E'e\u0301 \u202E'),
    (repeat('long ', 200000), 9, E'\\connect x\n\\restrict y'), ('$$ $body$ :x :"y"', 10, E'\u2028\u2029\u0085');
INSERT INTO U&"t ""q"" ' ;$1 \005C line\000Abreak sep\2028arator \0085" SELECT chr(n) || 'x' || chr(n), n, chr(n)
    FROM generate_series(1, 767) n;
CREATE TABLE "no columns" ();
INSERT INTO "no columns" DEFAULT VALUES;
INSERT INTO "no columns" DEFAULT VALUES;
CREATE TABLE "empty" (a int PRIMARY KEY, b text COLLATE "german; phone");
CREATE UNLOGGED TABLE unlogged (a int);
INSERT INTO unlogged VALUES (1), (2);
CREATE TABLE of_type OF pair;
INSERT INTO of_type VALUES (1, 2.5);

-- Values of many types.
CREATE TABLE kinds (
    id bigint GENERATED ALWAYS AS IDENTITY (START 1000000007 INCREMENT -3 MINVALUE -5 MAXVALUE 1000000007 CYCLE CACHE 4),
    twice numeric GENERATED ALWAYS AS (n * 2) STORED, n numeric, f float8, r real, b bytea, j json, jb jsonb, x xml,
    d date, t timestamptz, tt timetz, iv interval, bits varbit, ip inet, mac macaddr8, u uuid, pt point, poly polygon,
    ts tsvector, tq tsquery, m mood, p positive, pr pair, prs pair[], arr text[], rng tstzrange, mr spans, c char(5),
    "c1" "char", hs hstore, ci citext, bl text COLLATE blind, lsn pg_lsn, bo bool, mon money, jp jsonpath);
INSERT INTO kinds (n, f, r, b, j, jb, x, d, t, tt, iv, bits, ip, mac, u, pt, poly, ts, tq, m, p, pr, prs, arr, rng, mr, c,
    "c1", hs, ci, bl, lsn, bo, mon, jp) VALUES
    ('NaN', '-Infinity', '1e-45', decode(repeat('00ff5c0a27', 3), 'hex'), '{"a": "\u0000 \ud83d", "a" :1 }',
     '{"é": [1e400, null, "\"\\"]}', '<a>&amp;</a>', '4713-11-24 BC', 'infinity', '23:59:59.999999-15:59',
     '-178000000 years 5 mons -3 days', B'10101', 'fe80::1/64', '08:00:2b:01:02:03:04:05',
     '00000000-0000-0000-0000-000000000000', '(1e-300,-0)', '((0,0),(1,1),(1,0))', $$'it''s':1A 'a b\\':2$$,
     $$'a' & !'b' <-> 'c':*A$$, 'ha"ppy', 0.001, ROW(NULL, 3), ARRAY[ROW(1, 2)::pair, NULL],
     '[0:1][-1:0]={{"NULL",NULL},{"a\"b\\,{}",""}}', '(,"2026-01-01 00:00:00+00"]', '{[1,2),(3,)}', 'ab', E'\\377',
     '"a\"=>"=>NULL, b=>"c\\d"', 'CiTeXt', 'ÄäA', 'FFFFFFFF/0', true, '12.34', '$.a[*] ? (@ > 1 && @ like_regex "^\\d")'),
    (10::numeric ^ 300, '-0', 'Infinity', '', 'null', '"x"', NULL, 'infinity', '0044-03-15 BC', NULL, '0', '', '::', NULL, NULL,
     NULL, NULL, '', '', 'between', DEFAULT, NULL, '{}', '{}', 'empty', '{}', '', '', '', '', '', '0/0', false, '-0.01', '$');
INSERT INTO kinds (b) SELECT string_agg(decode(lpad(to_hex(n), 2, '0'), 'hex'), '') FROM generate_series(0, 255) n;

-- Sequences where they are, also one nobody has asked yet.
CREATE SEQUENCE counted AS smallint INCREMENT 7 MINVALUE -100 MAXVALUE 3000 START 5 CACHE 3 CYCLE;
SELECT nextval('counted') FROM generate_series(1, 11);
CREATE SEQUENCE untouched START 99;
CREATE SEQUENCE told; SELECT setval('told', 41, false);
ALTER SEQUENCE told OWNED BY "empty".a;
GRANT USAGE ON SEQUENCE counted TO "Reader";

-- Partitions.
CREATE TABLE events (at timestamptz NOT NULL, kind text NOT NULL, n int, PRIMARY KEY (at, kind)) PARTITION BY RANGE (at);
CREATE TABLE events_1 PARTITION OF events FOR VALUES FROM (MINVALUE) TO ('2026-02-01Z') PARTITION BY LIST (kind);
CREATE TABLE "events_1 a;b" PARTITION OF events_1 FOR VALUES IN ('a', 'it''s');
CREATE TABLE events_1_rest PARTITION OF events_1 DEFAULT;
CREATE TABLE events_2 (kind text NOT NULL, gone int, at timestamptz NOT NULL, n int);
ALTER TABLE events_2 DROP COLUMN gone;
ALTER TABLE events ATTACH PARTITION events_2 FOR VALUES FROM ('2026-02-01Z') TO ('2026-03-01Z');
CREATE TABLE events_rest PARTITION OF events DEFAULT;
CREATE TABLE hashed (id int) PARTITION BY HASH (id);
CREATE TABLE hashed_0 PARTITION OF hashed FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE hashed_1 PARTITION OF hashed FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO hashed SELECT generate_series(1, 50);
INSERT INTO events SELECT '2026-01-20Z'::timestamptz + n * interval '9 hours', 'a', n FROM generate_series(1, 20) n;
INSERT INTO events VALUES ('2026-02-03Z', 'it''s', 1), ('2030-01-01Z', 'far', 2);
CREATE INDEX events_n ON events (n);
CREATE INDEX only_above ON ONLY events (n, at);
ALTER TABLE events_2 ADD CONSTRAINT "n; small" CHECK (n < 1000);

-- Inheritance, keys, constraints.
CREATE TABLE base (id int PRIMARY KEY, note text DEFAULT 'base', CHECK (id > 0) NO INHERIT);
CREATE TABLE derived (more int, note text DEFAULT 'derived') INHERITS (base);
INSERT INTO base VALUES (1); INSERT INTO derived VALUES (2, 'x', 3);
CREATE TABLE hen (id int PRIMARY KEY, egg int);
CREATE TABLE egg (id int PRIMARY KEY, hen int REFERENCES hen DEFERRABLE INITIALLY DEFERRED, twin int REFERENCES egg);
ALTER TABLE hen ADD FOREIGN KEY (egg) REFERENCES egg ON DELETE SET NULL (egg) DEFERRABLE;
BEGIN; INSERT INTO egg VALUES (1, 1, 1); INSERT INTO hen VALUES (1, 1); COMMIT;
INSERT INTO egg VALUES (2, NULL, 1);
ALTER TABLE hen ADD COLUMN broken int;
UPDATE hen SET broken = 77;
ALTER TABLE hen ADD CONSTRAINT unproven FOREIGN KEY (broken) REFERENCES egg NOT VALID;
ALTER TABLE hen ADD CONSTRAINT unchecked CHECK (broken < 5) NOT VALID;
CREATE TABLE rooms (room int, during tstzrange, note text COMPRESSION pglz, big text,
    CONSTRAINT "no two; at once" EXCLUDE USING gist (room WITH =, during WITH &&) WHERE (room > 0) DEFERRABLE,
    UNIQUE NULLS NOT DISTINCT (note, room) INCLUDE (during)) WITH (fillfactor = 70, autovacuum_enabled = off);
INSERT INTO rooms VALUES (1, '[2026-01-01Z,2026-01-02Z)', NULL, 'x'), (1, '[2026-01-02Z,)', 'b', repeat('y', 9999));
ALTER TABLE rooms ALTER big SET STORAGE EXTERNAL, ALTER big SET STATISTICS 77, ALTER note SET (n_distinct = -0.5);
ALTER TABLE rooms REPLICA IDENTITY FULL;
CREATE INDEX ON rooms USING gin (big gin_trgm_ops);
CREATE INDEX "weird; index" ON rooms (lower(note) DESC NULLS LAST, (room % 3)) WHERE note <> 'it''s';
CREATE INDEX ON rooms USING brin (room) WITH (pages_per_range = 8);
ALTER INDEX "weird; index" ALTER COLUMN 2 SET STATISTICS 500;
CREATE STATISTICS "st at" (ndistinct, mcv) ON room, note FROM rooms;
CREATE STATISTICS expressive ON (room * 2), (lower(note)) FROM rooms;
COMMENT ON CONSTRAINT "no two; at once" ON rooms IS 'one at a time';
COMMENT ON COLUMN rooms.note IS E'\\ '' " $$';
