-- What teams have: names in quotes, other schemas, keys of all kinds, partitions, row level security.
CREATE SCHEMA shop;
CREATE SCHEMA "Sales";
CREATE TYPE mood AS ENUM ('good', 'bad');
CREATE TABLE users(
    id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, email text NOT NULL UNIQUE, bio text,
    mood mood, tags text[], balance numeric(20, 8) NOT NULL DEFAULT 0,
    created timestamptz NOT NULL DEFAULT now(), org_id int);
INSERT INTO users(email, bio, mood, tags, balance, org_id)
    SELECT 'u' || n || '@example.com', 'bio ' || n, 'good', ARRAY['a', 'b c'], n * 1.00000001, n % 3
    FROM generate_series(1, 1200) n;
CREATE TABLE "Order Items"(id int PRIMARY KEY);
CREATE TABLE U&"two\000Alines: {}"(id int PRIMARY KEY);
CREATE TABLE "USERS"(id int PRIMARY KEY, "Odd ""name" text, "OrgId" int);
CREATE TABLE "Sales"."Invoices"(
    "Id" uuid PRIMARY KEY DEFAULT gen_random_uuid(), "Total" numeric, "Note" varchar(40), net int,
    gross int GENERATED ALWAYS AS (net * 2) STORED);
INSERT INTO "Sales"."Invoices"("Total", "Note", net)
    SELECT n, 'note', n FROM generate_series(1, 50) n;
CREATE TABLE shop.users(
    tenant_id text NOT NULL, name text COLLATE "POSIX" PRIMARY KEY, word text COLLATE "POSIX");
INSERT INTO shop.users SELECT 't' || n % 4, 'n' || n, 'w' FROM generate_series(1, 40) n;
CREATE TABLE memberships(
    user_id bigint REFERENCES users(id) ON DELETE CASCADE, group_id int, role text,
    PRIMARY KEY (user_id, group_id));
CREATE TABLE settings(
    account_id int NOT NULL, name text NOT NULL, value jsonb, PRIMARY KEY (account_id, name));
INSERT INTO settings SELECT n % 2, 's' || n, '{"a": 1}' FROM generate_series(1, 20) n;
CREATE TABLE posts(
    id serial PRIMARY KEY, author bigint REFERENCES users(id) ON DELETE CASCADE, title text,
    body text, changed int DEFAULT 0);
INSERT INTO posts(author, title, body) SELECT n, 'title', 'body' FROM generate_series(1, 100) n;
CREATE FUNCTION touch() RETURNS trigger LANGUAGE plpgsql AS
    $$BEGIN NEW.changed := NEW.changed + 1; RETURN NEW; END$$;
CREATE TRIGGER touch BEFORE UPDATE ON posts FOR EACH ROW EXECUTE FUNCTION touch();
CREATE TABLE visits(id bigint, at date NOT NULL, what text, PRIMARY KEY (id, at))
    PARTITION BY RANGE (at);
CREATE TABLE parts(id bigint PRIMARY KEY, what text) PARTITION BY HASH (id);
CREATE TABLE parts_0 PARTITION OF parts FOR VALUES WITH (MODULUS 2, REMAINDER 0);
CREATE TABLE parts_1 PARTITION OF parts FOR VALUES WITH (MODULUS 2, REMAINDER 1);
INSERT INTO parts SELECT n, 'x' FROM generate_series(1, 700) n;
CREATE TABLE secured(id int PRIMARY KEY, owner text, tenant text NOT NULL);
ALTER TABLE secured ENABLE ROW LEVEL SECURITY;
CREATE POLICY mine ON secured USING (owner = current_user);
INSERT INTO secured VALUES (1, 'a', 'x'), (2, 'b', 'y');
CREATE TABLE forced(id int PRIMARY KEY);
ALTER TABLE forced ENABLE ROW LEVEL SECURITY;
ALTER TABLE forced FORCE ROW LEVEL SECURITY;
CREATE UNLOGGED TABLE cache(id int PRIMARY KEY);
CREATE TABLE nokey(a int);
CREATE TABLE floats(f float8 PRIMARY KEY);
CREATE TABLE parent(id int PRIMARY KEY);
CREATE TABLE child() INHERITS (parent);
CREATE VIEW everyone AS SELECT * FROM users;
