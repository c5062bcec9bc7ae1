-- Takes away what awkward.sql and awkward_code.sql made, as far as it is there.
SET client_min_messages = error;
DROP DATABASE IF EXISTS "sec'ond ""db"" $1;\ x" WITH (FORCE);
DROP DATABASE IF EXISTS latin WITH (FORCE);
DROP EVENT TRIGGER IF EXISTS "note; it";
DROP EVENT TRIGGER IF EXISTS off;
DROP SUBSCRIPTION IF EXISTS "sub; it";
DROP PUBLICATION IF EXISTS "pub; it", schemas, nothing;
DROP SCHEMA IF EXISTS "awk ward" CASCADE;
DROP SCHEMA IF EXISTS extensions CASCADE;
DROP EXTENSION IF EXISTS postgres_fdw CASCADE;
SELECT lo_unlink(oid) FROM pg_largeobject_metadata WHERE oid BETWEEN 700000 AND 700999;
DO $$
DECLARE name text;
BEGIN
    FOREACH name IN ARRAY ARRAY['own''er "q" ;$1\', 'order', E'line\nbreak', E'para\u2029graph', 'Reader', 'plain_group'] LOOP
        IF EXISTS (SELECT FROM pg_roles WHERE rolname = name) THEN
            EXECUTE format('DROP OWNED BY %I CASCADE', name);
            EXECUTE format('DROP ROLE %I', name);
        END IF;
    END LOOP;
END $$;
