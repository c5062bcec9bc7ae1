-- The other half of awkward.sql: what does something, and who may do what.
SET search_path = "awk ward", public, extensions;
CREATE FUNCTION add_one(int) RETURNS int LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE COST 7 AS $fn$ SELECT $1 + 1 $fn$;
CREATE FUNCTION "q""uoted; $$"(a text DEFAULT 'it''s', VARIADIC b int[] DEFAULT '{}') RETURNS text LANGUAGE plpgsql
    SECURITY DEFINER SET search_path TO 'awk ward', public SET work_mem = '7MB' AS $body$
BEGIN
    -- $$ ; ' " \
    EXECUTE $x$ SELECT '$$' $x$;
    RETURN a || $$'\$$ || E'\\';
END $body$;
CREATE FUNCTION atomic(a int) RETURNS SETOF int BEGIN ATOMIC SELECT id FROM base WHERE id > a; SELECT 1; END;
CREATE PROCEDURE does(INOUT a int) LANGUAGE plpgsql AS $$ BEGIN a := a + 1; COMMIT; END $$;
CREATE FUNCTION many(OUT a int, OUT b text) RETURNS SETOF record LANGUAGE sql ROWS 7 AS 'SELECT 1, ''x''';
CREATE AGGREGATE product(numeric) (SFUNC = numeric_mul, STYPE = numeric, INITCOND = '1', PARALLEL = SAFE);
CREATE AGGREGATE middle(float8 ORDER BY anyelement) (SFUNC = ordered_set_transition, STYPE = internal,
    FINALFUNC = percentile_disc_final, FINALFUNC_EXTRA);
CREATE FUNCTION near(text, text) RETURNS bool LANGUAGE sql IMMUTABLE AS 'SELECT lower($1) OPERATOR(pg_catalog.=) lower($2)';
CREATE OPERATOR ~=~ (FUNCTION = near, LEFTARG = text, RIGHTARG = text, COMMUTATOR = ~=~, RESTRICT = eqsel);
CREATE OPERATOR CLASS backwards FOR TYPE int USING btree AS OPERATOR 1 >, OPERATOR 2 >=, OPERATOR 3 =, OPERATOR 4 <=,
    OPERATOR 5 <, FUNCTION 1 btint4cmp(int, int);
CREATE FUNCTION to_pair(int) RETURNS pair LANGUAGE sql IMMUTABLE AS 'SELECT ROW($1, $1 + 1)::"awk ward".pair';
CREATE CAST (int AS pair) WITH FUNCTION to_pair(int) AS ASSIGNMENT;
CREATE TABLE by_function (a int, b int GENERATED ALWAYS AS ("awk ward".add_one(a)) STORED);
INSERT INTO by_function VALUES (1), (2);
CREATE INDEX ON by_function ("awk ward".add_one(a));

CREATE VIEW simple AS SELECT id, note FROM base WHERE note IS NOT NULL WITH CASCADED CHECK OPTION;
CREATE VIEW "over; it" WITH (security_barrier, security_invoker) AS SELECT s.*, "q""uoted; $$"('a', 1, 2) AS q FROM simple s;
CREATE RECURSIVE VIEW counting (n) AS VALUES (1) UNION ALL SELECT n + 1 FROM counting WHERE n < 5;
CREATE MATERIALIZED VIEW seen AS SELECT kind, count(*) AS n FROM events GROUP BY 1 ORDER BY 1;
CREATE UNIQUE INDEX ON seen (kind);
CREATE MATERIALIZED VIEW seen_again AS SELECT sum(n) AS n FROM seen;
CREATE MATERIALIZED VIEW not_yet AS SELECT * FROM seen WITH NO DATA;
CREATE RULE "no; deletes" AS ON DELETE TO base WHERE old.id > 100 DO INSTEAD NOTHING;
CREATE RULE log AS ON INSERT TO simple DO INSTEAD INSERT INTO base VALUES (new.id, 'by rule: ' || new.note) RETURNING id, note;
CREATE RULE silent AS ON UPDATE TO hen DO ALSO NOTIFY hens;
ALTER TABLE hen DISABLE RULE silent;

CREATE FUNCTION stamped() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN new.note := coalesce(new.note, '') || TG_ARGV[0]; RETURN new; END $$;
CREATE TRIGGER "stamp; it" BEFORE INSERT OR UPDATE OF note ON base FOR EACH ROW WHEN (new.id > 0)
    EXECUTE FUNCTION stamped('it''s \ "x"');
CREATE TRIGGER sleeping BEFORE INSERT ON rooms FOR EACH ROW EXECUTE FUNCTION stamped('never');
ALTER TABLE rooms DISABLE TRIGGER sleeping;
CREATE TRIGGER always BEFORE INSERT ON derived FOR EACH ROW EXECUTE FUNCTION stamped('always');
ALTER TABLE derived ENABLE ALWAYS TRIGGER always;
CREATE TRIGGER replica BEFORE INSERT ON derived FOR EACH ROW EXECUTE FUNCTION stamped('replica');
ALTER TABLE derived ENABLE REPLICA TRIGGER replica;
CREATE CONSTRAINT TRIGGER later AFTER INSERT ON hen DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION stamped('');
CREATE FUNCTION noted() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN RAISE DEBUG 'noted'; END $$;
CREATE FUNCTION refused() RETURNS event_trigger LANGUAGE plpgsql AS $$ BEGIN RAISE 'no more tables'; END $$;
CREATE EVENT TRIGGER "note; it" ON ddl_command_end WHEN TAG IN ('CREATE TABLE', 'DROP TABLE') EXECUTE FUNCTION noted();
CREATE EVENT TRIGGER off ON sql_drop EXECUTE FUNCTION noted();
ALTER EVENT TRIGGER off DISABLE;

CREATE TEXT SEARCH DICTIONARY "dict; 1" (TEMPLATE = simple, ACCEPT = false);
CREATE TEXT SEARCH CONFIGURATION "conf ""ig""" (COPY = simple);
ALTER TEXT SEARCH CONFIGURATION "conf ""ig""" ALTER MAPPING FOR asciiword, word WITH "dict; 1", simple;
CREATE SERVER "else; where" FOREIGN DATA WRAPPER postgres_fdw OPTIONS (host 'it''s', dbname '"x"');
CREATE USER MAPPING FOR "Reader" SERVER "else; where" OPTIONS (user 'u', password 'p''w"\');
CREATE FOREIGN TABLE far_away (a int OPTIONS (column_name 'é'), b text) SERVER "else; where" OPTIONS (table_name 't;');

-- Who may do what.
CREATE TABLE secrets (id int, whose text, note text);
INSERT INTO secrets VALUES (1, 'Reader', 'a'), (2, 'x', 'b');
ALTER TABLE secrets ENABLE ROW LEVEL SECURITY, FORCE ROW LEVEL SECURITY;
ALTER TABLE secrets OWNER TO "own'er ""q"" ;$1\";
-- of one role each: pg_dump writes several in the order in which they were made
CREATE POLICY "own; rows" ON secrets FOR SELECT TO "Reader" USING (whose = current_user);
CREATE POLICY strict ON secrets AS RESTRICTIVE USING (id < 100) WITH CHECK (note <> 'it''s');
CREATE POLICY for_all ON base TO PUBLIC USING (true);
GRANT SELECT (id, note), UPDATE (note) ON secrets TO "Reader" WITH GRANT OPTION;
GRANT ALL ON secrets TO U&"line\000Abreak";
REVOKE DELETE ON secrets FROM "own'er ""q"" ;$1\";
REVOKE ALL ON FUNCTION add_one(int) FROM PUBLIC;
GRANT EXECUTE ON FUNCTION add_one(int) TO U&"para\2029graph";
GRANT USAGE ON TYPE mood TO "order";
REVOKE USAGE ON TYPE pair FROM PUBLIC;
GRANT USAGE ON FOREIGN SERVER "else; where" TO plain_group;
GRANT SELECT ON kinds TO PUBLIC;
SET ROLE "own'er ""q"" ;$1\";
CREATE TABLE by_owner (a int);
GRANT SELECT ON by_owner TO plain_group;
RESET ROLE;
SET ROLE "Reader"; GRANT SELECT ON by_owner TO "order"; RESET ROLE;

SELECT lo_from_bytea(700001, decode(repeat('5c00ff0a', 500000), 'hex'));
SELECT lo_from_bytea(700002, '');
SELECT lo_from_bytea(n, convert_to('object ' || n, 'UTF8')) FROM generate_series(700010, 700060) n;
ALTER LARGE OBJECT 700001 OWNER TO "own'er ""q"" ;$1\";
GRANT SELECT, UPDATE ON LARGE OBJECT 700001 TO "Reader";
GRANT SELECT ON LARGE OBJECT 700002 TO PUBLIC;
COMMENT ON LARGE OBJECT 700002 IS 'nothing; it''s empty';

CREATE PUBLICATION "pub; it" FOR TABLE base (id), hen WHERE (id > 5)
    WITH (publish = 'insert, truncate', publish_via_partition_root);
CREATE PUBLICATION schemas FOR TABLES IN SCHEMA "awk ward", extensions;
CREATE PUBLICATION nothing;
ALTER PUBLICATION nothing OWNER TO CURRENT_USER;
CREATE SUBSCRIPTION "sub; it" CONNECTION 'host=nowhere.invalid dbname=''x''' PUBLICATION "pub; it"
    WITH (connect = false, slot_name = NONE, enabled = false);

-- Other databases of the application: what hangs on the name, locales, an encoding that has not all characters.
CREATE DATABASE "sec'ond ""db"" $1;\ x" OWNER "own'er ""q"" ;$1\" CONNECTION LIMIT 9 TEMPLATE template0
    LOCALE_PROVIDER icu ICU_LOCALE 'de';
ALTER DATABASE "sec'ond ""db"" $1;\ x" SET search_path TO "awk ward", '', public;
ALTER DATABASE "sec'ond ""db"" $1;\ x" SET app.mode TO 'it''s \ "x"';
ALTER ROLE "Reader" IN DATABASE "sec'ond ""db"" $1;\ x" SET statement_timeout TO '77s';
COMMENT ON DATABASE "sec'ond ""db"" $1;\ x" IS 'the other; it''s \';
REVOKE ALL ON DATABASE "sec'ond ""db"" $1;\ x" FROM PUBLIC;
GRANT CONNECT, TEMPORARY ON DATABASE "sec'ond ""db"" $1;\ x" TO "Reader" WITH GRANT OPTION;
GRANT CONNECT ON DATABASE "sec'ond ""db"" $1;\ x" TO U&"line\000Abreak";
CREATE DATABASE latin TEMPLATE template0 ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C';
