"""Adopting a PostgreSQL database that is in use, and letting go of it again (S0-28, S0-48): nobody is
held up for over a second, every row is in the log once and as it is, and after the release the
database is what it was."""
import json
import os
import re
import signal
import subprocess

import pytest

import postgresql as pg
from harness import Harness, wait_for
from releases import client

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BUILD = os.environ.get('POLY_TEST_BUILD', os.path.join(ROOT, 'build'))
POLYSTORE = os.environ.get('POLYSTORE', os.path.join(BUILD, 'src/cli/polystore'))
LONG = 'POLY_TEST_LONG' in os.environ
ROWS = 200000 if LONG else 20000
TIMEOUT, UNAVAILABLE, EXISTS, CONFLICT, INVALID = 8, 9, 4, 5, 2


@pytest.fixture(scope='module', params=['postgresql15'] + ['postgresql17', 'postgresql18'] * LONG)
def server(request):
    """One of our own: it gets roles."""
    with Harness() as harness:
        one = pg.start(harness, request.param, own=True)
        one.sql('CREATE ROLE stranger')
        yield one


class World:
    """A database, a folder with its configuration, and the command line."""

    def __init__(self, server, folder, admin=False):
        self.server, self.folder, self.admin = server, str(folder), admin
        self.name = server.database()
        self.url = server.url(database=self.name, admin=admin)
        self.config = os.path.join(self.folder, 'polystore.yaml')

    def sql(self, text, admin=None):
        return self.server.sql(text, self.name, admin=self.admin if admin is None else admin)

    def number(self, text):
        return int(self.sql(text))

    def command(self, *arguments):
        return [POLYSTORE, *arguments]

    def run(self, *arguments, **options):
        return subprocess.run(self.command(*arguments), cwd=self.folder, capture_output=True,
                              text=True, timeout=300, stdin=subprocess.DEVNULL, **options)

    def adopt(self, *arguments, code=0):
        done = self.run('adopt', '--apply', '--json', *arguments)
        assert done.returncode == code, done.stdout + done.stderr
        return json.loads(done.stdout)

    def release(self, *arguments, code=0):
        done = self.run('release', '--yes', *arguments)
        assert done.returncode == code, done.stdout + done.stderr
        return done.stdout + done.stderr

    def domains(self, text):
        """The configuration, with these domains."""
        with open(self.config, 'w') as file:
            file.write("stores: {relational: {driver: postgresql, url: '%s'}}\ndomains:\n%s"
                       % (self.url, text))

    def dump(self):
        out = os.path.join(self.server.folder, 'dump-%s.sql' % self.name)
        self.server.run('pg_dump', '-d', self.server.admin.at(database=self.name), '-f',
                        self.server.inside(out))
        with open(self.server.harness.see(out)) as file:
            text = file.read()
        return re.sub(r'^\\(un)?restrict .*$', '', text, flags=re.M)  # a new word at each run

    def last(self, domain):
        """The last record of each key in the log: key, type, data; and how many there are."""
        return self.sql("SELECT string_agg(key || ' ' || type, ',' ORDER BY key) FROM"
                        " (SELECT DISTINCT ON (tenant, key) key, type FROM poly.log WHERE domain ="
                        " '%s' ORDER BY tenant, key, position DESC) l" % domain)


class Session:
    """A transaction that somebody keeps open: psql, told what to do."""

    def __init__(self, world, name='holder'):
        url = world.server.url(database=world.name, admin=world.admin, application_name=name)
        self.process = subprocess.Popen([client('psql'), '-XAtq', url], text=True,
                                        stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def sql(self, text):
        """What it prints; returns when it has run."""
        self.process.stdin.write(text + ';\n\\echo done\n')
        self.process.stdin.flush()
        lines = []
        for line in self.process.stdout:
            if line == 'done\n':
                return ''.join(lines).strip()
            lines.append(line)
        raise AssertionError('psql has ended')

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.stdin.close()
        self.process.wait(30)
        self.process.stdout.close()


@pytest.fixture
def world(server, tmp_path):
    return World(server, tmp_path)


@pytest.fixture
def real(world):
    with open(os.path.join(ROOT, 'tests/servers/adopt_world.sql')) as file:
        world.sql(file.read())
    world.sql('CREATE TABLE theirs(id int PRIMARY KEY); ALTER TABLE theirs OWNER TO stranger;'
              'CREATE SCHEMA hidden AUTHORIZATION stranger; CREATE TABLE hidden.t(id int)', True)
    return world


# --- looking ---

REASONS = {
    'public.Order Items': 'letters, digits', 'public.two\nlines: {}': 'letters, digits',
    'memberships': 'primary key of 2 columns',
    'settings': 'primary key of 2 columns', 'visits': 'primary key of 2 columns',
    'forced': 'forced on its owner', 'cache': 'UNLOGGED', 'nokey': 'no primary key',
    'floats': "is declared 'double precision'", 'parent': 'inherits', 'child': 'inherits',
    'theirs': 'GRANT stranger TO app', 'hidden.t': 'may not use schema hidden',
}
DOMAINS = {'users': 'users', 'public.USERS': 'public_users', 'shop.users': 'shop_users',
           'Sales.Invoices': 'invoices', 'posts': 'posts', 'parts': 'parts', 'secured': 'secured'}


def test_what_is_there_is_proposed_and_nothing_is_changed(real):
    before = real.dump()
    done = real.run('adopt', real.url, '--json')
    assert done.returncode == 0, done.stderr
    found = {table['table']: table for table in json.loads(done.stdout)['tables']}
    assert {name: table['domain'] for name, table in found.items() if not table['reason']} == DOMAINS
    assert {name for name, table in found.items() if table['reason']} == set(REASONS)
    for name, words in REASONS.items():
        assert words in found[name]['reason'], found[name]
    users = found['users']
    assert users['tenants'] == ['org_id'] and users['texts'] == ['email', 'bio']
    assert found['public.USERS']['tenants'] == ['OrgId']
    assert users['key'] == 'id' and found['Sales.Invoices']['key'] == 'Id'
    assert found['settings']['tenant_needed'] and found['settings']['tenants'] == ['account_id']
    assert not found['memberships']['tenant_needed']
    assert real.dump() == before
    # what is printed is a configuration, without the password
    printed = real.run('adopt', real.url)
    assert printed.stdout == json.loads(done.stdout)['config']
    assert real.server.app.password not in printed.stdout
    with open(real.config, 'w') as file:
        file.write(printed.stdout)
    assert '%d domains' % len(DOMAINS) in real.run('config', 'check').stdout
    # … and so is what stands in its comments
    with open(real.config, 'w') as file:
        file.write(re.sub(r'^    # search', '    search', printed.stdout, flags=re.M))
    assert real.run('config', 'check').returncode == 0


def test_patterns_and_files(real):
    def tables(*arguments):
        done = real.run('adopt', real.url, '--json', *arguments)
        return sorted(table['table'] for table in json.loads(done.stdout)['tables'])
    assert tables('--schema', 'shop', '--schema', 'S*') == ['Sales.Invoices', 'shop.users']
    assert tables('--only', 'p*', '--exclude', 'part?') == ['parent', 'posts']
    assert tables('--only', 'shop.*') == ['shop.users']
    assert real.run('adopt', real.url, '--write', 'polystore.yaml').returncode == 0
    again = real.run('adopt', real.url, '--write', 'polystore.yaml')
    assert again.returncode == EXISTS and '--force' in again.stderr
    assert real.run('adopt', real.url, '--write', 'polystore.yaml', '--force').returncode == 0
    assert real.run('adopt', real.url, '--apply').returncode == INVALID
    assert real.run('adopt').returncode == INVALID
    secret = real.server.app.password
    wrong = real.run('adopt', '%s?password=%s' % (real.url, secret))
    assert wrong.returncode == INVALID and secret not in wrong.stdout + wrong.stderr


# --- there and back ---

TENANTS = """\
  users: {table: users, tenant: none, search: {fields: [email, bio]}}
  shop_users: {table: shop.users, tenant: tenant_id}
  invoices: {table: Sales.Invoices, tenant: none}
  settings: {table: settings, tenant: account_id}
  posts: {table: posts, tenant: none}
  parts: {table: parts, tenant: none}
  secured: {table: secured, tenant: tenant}
"""


@pytest.mark.parametrize('admin', [False, True])
def test_the_release_leaves_the_dump_as_it_was(real, admin):
    """Byte by byte, schema, rights and rows; by a role that may make roles, and by one that may not."""
    real.url = real.server.url(database=real.name, admin=admin)
    if not admin:
        real.sql('CREATE ROLE poly_tenant; GRANT poly_tenant TO app', True)
    real.domains(TENANTS + 'views:\n  sizes: {query: "SELECT tenant_id, count(*) AS n'
                 ' FROM shop.users GROUP BY 1", key: [tenant_id], tenant: tenant_id}\n')
    before = real.dump()
    for _ in range(2):  # … and again
        report = real.adopt()
        assert [table['status'] for table in report['tables']] == ['ok'] * 7 and not report['notes']
        assert {t['domain']: t['logged'] for t in report['tables']} == {
            'users': 1200, 'shop_users': 40, 'invoices': 50, 'settings': 20, 'posts': 100,
            'parts': 700, 'secured': 2}
        assert real.dump() != before
        status = real.run('status', '--json')  # a start finds nothing to mend
        assert [d for d in json.loads(status.stdout)['domains'] if d.get('problem')] == []
        assert real.number("SELECT count(*) FROM pg_policy WHERE polname = 'poly_wall'") == 3
        assert all(table['logged'] == 0 for table in real.adopt()['tables'])
        assert real.run('view', 'refresh', 'sizes').returncode == 0
        assert real.sql('SELECT sum(n) FROM sizes', True) == '40'
        said = real.release()
        assert ('poly_tenant stays' in said) == (not admin)
        assert real.dump() == before
        assert not os.path.exists(os.path.join(real.folder, 'data'))
    assert real.number("SELECT count(*) FROM pg_namespace WHERE nspname LIKE 'poly%'") == 0
    roles = "SELECT count(*) FROM pg_roles WHERE rolname = 'poly_tenant'"
    assert real.number(roles) == (0 if admin else 1)
    if not admin:
        real.sql('DROP ROLE poly_tenant', True)
    assert 'as they were' in real.release()  # nothing left to do is no failure


def test_search_on_the_server_goes_too(world):
    world.sql("CREATE TABLE notes(id int PRIMARY KEY, text text);"
              "INSERT INTO notes SELECT n, 'word' FROM generate_series(1, 10) n")
    before = world.dump()
    world.domains('  notes: {table: notes, tenant: none, search: {fields: [text]}}\n')
    with open(world.config, 'a') as file:
        file.write('limits: {rows: 100}\n')
    with open(world.config) as file:
        text = file.read().replace("'}}\n", "'}, search: {driver: postgresql}}\n", 1)
    with open(world.config, 'w') as file:
        file.write(text)
    world.adopt()
    world.run('search', 'word')  # a start of it begins the index
    assert world.number("SELECT count(*) FROM pg_namespace WHERE nspname = 'poly_search'") == 1
    world.release()
    assert world.dump() == before


def test_materialised_views_go_too(world):
    world.sql('CREATE TABLE notes(id int PRIMARY KEY, n int);'
              'INSERT INTO notes SELECT n, n % 3 FROM generate_series(1, 10) n')
    before = world.dump()
    world.domains('  notes: {table: notes, tenant: none}\n'
                  "views:\n  counts: {query: 'SELECT n, count(*) AS rows FROM notes GROUP BY n',"
                  ' key: [n]}\n')
    world.adopt()
    assert world.run('view', 'refresh', 'counts').returncode == 0
    assert world.number('SELECT rows FROM counts WHERE n = 1') == 4
    world.release()
    assert world.dump() == before


def test_what_others_built_on_ours_is_named_and_stays(world):
    world.sql('CREATE TABLE notes(id int PRIMARY KEY)')
    world.domains('  notes: {table: notes, tenant: none}\n')
    world.adopt()
    world.sql('CREATE VIEW audit AS SELECT * FROM poly.log')
    assert 'view audit depends on table poly.log' in world.release(code=CONFLICT)
    assert world.number('SELECT count(*) FROM audit') == 0
    world.sql('DROP VIEW audit')
    world.release()


def test_a_release_is_confirmed_and_nobody_is_connected(world):
    world.sql('CREATE TABLE notes(id int PRIMARY KEY); INSERT INTO notes VALUES (1)')
    world.domains('  notes: {table: notes, tenant: none}\n')
    world.adopt()
    refused = world.run('release')
    assert refused.returncode == INVALID and '--yes' in refused.stderr
    with Session(world, 'polystore') as daemon:
        pid = daemon.sql('SELECT pg_backend_pid()')
        assert 'backend %s' % pid in world.release(code=UNAVAILABLE)
        assert world.number('SELECT count(*) FROM poly.log') == 1
        world.release('--connected')
    world.adopt()
    # a program of ours by another name
    elsewhere = os.path.join(world.folder, 'elsewhere')
    os.mkdir(elsewhere)
    with open(world.config) as file:
        text = file.read().replace(world.url, world.server.url(database=world.name,
                                                               application_name='shop'))
    with open(os.path.join(elsewhere, 'polystore.yaml'), 'w') as file:
        file.write(text)
    follower = subprocess.Popen(world.command('subscribe', '--json'), cwd=elsewhere,
                                stdout=subprocess.PIPE)
    assert follower.stdout.readline()
    assert '(shop, ' in world.release(code=UNAVAILABLE)
    follower.terminate()
    follower.communicate(timeout=30)
    wait_for(lambda: connected(world, 'shop') == 0, 60)
    world.release()
    assert world.number("SELECT count(*) FROM pg_trigger WHERE tgrelid = 'notes'::regclass") == 0


# --- while others work ---

class Writers:
    """One statement after the other, each of which may wait for a lock for 1.5 s: pgbench ends the
    client that could not, and says so."""

    def __init__(self, world, script):
        path = os.path.join(world.folder, 'writers.sql')
        with open(path, 'w') as file:
            file.write(script)
        self.said = os.path.join(world.folder, 'writers.log')
        with open(self.said, 'w') as log:
            self.process = subprocess.Popen(
                [client('pgbench'), '-n', '-c', '2', '-j', '1', '-T', '600', '-f', path,
                 world.server.url(database=world.name)], stdout=log, stderr=log,
                env=dict(os.environ, PGOPTIONS='-c lock_timeout=1500ms'))

    def complaints(self):
        with open(self.said) as file:
            return re.findall('.*(?:aborted|ERROR).*', file.read())

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait(30)


# A row whose last record is another, or that has none, and a record without a row.
DIFFERENT = """
SELECT count(*) FROM big b FULL JOIN
 (SELECT * FROM (SELECT DISTINCT ON (key) key, type, data FROM poly.log WHERE domain = 'big'
   ORDER BY key, position DESC) l WHERE type = '$put') l ON l.key = b.id::text
WHERE b.id IS NULL OR l.key IS NULL OR (l.data->>'n')::int IS DISTINCT FROM b.n"""
# Records that say what the one before them has said.
TWICE = """
SELECT count(*) FROM (SELECT type, data::text, lag(type) OVER w AS type_before,
  lag(data::text) OVER w AS data_before FROM poly.log WHERE domain = 'big'
  WINDOW w AS (PARTITION BY key ORDER BY position)) l
WHERE type = type_before AND data IS NOT DISTINCT FROM data_before"""


@pytest.fixture
def big(world):
    world.sql('CREATE TABLE big(id serial PRIMARY KEY, n int NOT NULL DEFAULT 0, text text);'
              'CREATE TABLE other(id int PRIMARY KEY); INSERT INTO other VALUES (1);'
              "INSERT INTO big(text) SELECT 'row ' || n FROM generate_series(1, %d) n" % ROWS)
    world.domains('  big: {table: big, tenant: none}\n  other: {table: other, tenant: none}\n')
    return world


def connected(world, name):
    return world.number("SELECT count(*) FROM pg_stat_activity WHERE datname = '%s'"
                        " AND application_name = '%s'" % (world.name, name))


def test_writers_go_on_while_a_table_cannot_be_had(big):
    """A transaction has the table for long: whoever waits for it without an end holds up all others.
    The control does."""
    script = 'INSERT INTO big(text) VALUES (\'new\');\n'
    with Session(big) as holder:
        pid = holder.sql('SELECT pg_backend_pid()')
        holder.sql('BEGIN; UPDATE big SET n = 1 WHERE id = 1')
        with Writers(big, script) as writers, Session(big, 'naive') as naive:
            naive.process.stdin.write('BEGIN; LOCK TABLE big IN SHARE ROW EXCLUSIVE MODE;\n')
            naive.process.stdin.flush()
            wait_for(lambda: len(writers.complaints()) >= 2, 60)
            big.sql("SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE application_name = 'naive'")
        with Writers(big, script) as writers:
            before = big.number('SELECT count(*) FROM big')
            report = big.adopt('--wait', '3', code=TIMEOUT)
            found = {table['domain']: table for table in report['tables']}
            assert found['other']['status'] == 'ok' and found['other']['logged'] == 1
            assert found['big']['status'] == 'timeout'
            assert 'backend %s (holder of app, idle in transaction' % pid in found['big']['problem']
            after = big.number('SELECT count(*) FROM big')
            assert writers.complaints() == [] and after > before
            holder.sql('COMMIT')
            assert [table['status'] for table in big.adopt()['tables']] == ['ok', 'ok']
            wait_for(lambda: big.number('SELECT count(*) FROM big') > after, 60)
            assert writers.complaints() == []
    wait_for(lambda: connected(big, 'pgbench') == 0, 60)
    assert big.number(DIFFERENT) == 0 and big.number(TWICE) == 0
    # the release does not hold them up either, and goes on where it was
    with Session(big) as holder:
        holder.sql('BEGIN; SELECT count(*) FROM big')
        with Writers(big, script) as writers:
            before = big.number('SELECT count(*) FROM big')
            said = big.release('--wait', '2', code=TIMEOUT)
            assert 'holder of app' in said
            assert writers.complaints() == [] and big.number('SELECT count(*) FROM big') > before
            assert big.number("SELECT count(*) FROM pg_namespace WHERE nspname = 'poly'") == 1
            holder.sql('COMMIT')
            big.release()
            assert writers.complaints() == []


def test_rows_that_change_while_they_are_logged(big):
    script = ('\\set id random(1, %d)\n\\set gone random(1, %d)\n'
              'UPDATE big SET n = n + 1 WHERE id = :id;\n'
              'DELETE FROM big WHERE id = :gone;\n'
              'INSERT INTO big(text) VALUES (\'new\');\n' % (ROWS, ROWS))
    with Writers(big, script) as writers:
        wait_for(lambda: big.number('SELECT max(id) FROM big') > ROWS, 60)
        assert [table['status'] for table in big.adopt()['tables']] == ['ok', 'ok']
        last = big.number('SELECT max(id) FROM big')
        wait_for(lambda: big.number('SELECT max(id) FROM big') > last, 60)
        assert writers.complaints() == []
    wait_for(lambda: connected(big, 'pgbench') == 0, 60)
    assert big.number(DIFFERENT) == 0 and big.number(TWICE) == 0
    assert big.number("SELECT count(*) FROM poly.meta WHERE name LIKE 'fill%'") == 0


@pytest.mark.parametrize('how', [signal.SIGKILL, signal.SIGINT, None])
def test_ended_in_the_middle_it_goes_on(big, how):
    """A row that somebody has locked stops it half way. None: it is not ended, and another one is
    started beside it."""
    logged = "SELECT count(*) FROM poly.log WHERE domain = 'big'"
    there = "SELECT count(*) FROM pg_class WHERE oid = to_regclass('poly.log')"
    with Session(big) as holder:
        holder.sql('BEGIN; SELECT 1 FROM big WHERE id = %d FOR UPDATE' % (ROWS // 2 + 1))
        first = subprocess.Popen(big.command('adopt', '--apply', '--json'), cwd=big.folder,
                                 stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        wait_for(lambda: big.number(there) == 1 and big.number(logged) >= ROWS // 2 - 500, 120)
        if how is not None:
            first.send_signal(how)
            said = first.communicate(timeout=60)
            assert first.returncode == (-how if how == signal.SIGKILL else TIMEOUT)
            assert how == signal.SIGKILL or 'interrupted; run it again' in said[1]
        assert big.number(logged) < ROWS
        second = subprocess.Popen(big.command('adopt', '--apply', '--json'), cwd=big.folder,
                                  stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        wait_for(lambda: connected(big, 'polystore adopt') == (1 if how is not None else 2), 60)
        holder.sql('COMMIT')
        said = second.communicate(timeout=120)
        assert second.returncode == 0, said
        if how is None:
            said = first.communicate(timeout=120)
            assert first.returncode == 0, said
    assert big.number(logged) == ROWS
    assert big.number(DIFFERENT) == 0
    status = big.run('status', '--json')
    assert [d for d in json.loads(status.stdout)['domains'] if d.get('problem')] == []


def test_a_start_goes_on_where_an_adoption_was_ended(big):
    """Triggers that fit do not say that the rows were looked at."""
    big.adopt()
    big.sql("ALTER TABLE big DISABLE TRIGGER USER; UPDATE big SET n = 7 WHERE id > 100;"
            "ALTER TABLE big ENABLE ALWAYS TRIGGER poly_big_insert;"
            "ALTER TABLE big ENABLE ALWAYS TRIGGER poly_big_update;"
            "ALTER TABLE big ENABLE ALWAYS TRIGGER poly_big_delete;"
            "ALTER TABLE big ENABLE ALWAYS TRIGGER poly_big_truncate")
    assert big.run('status').returncode == 0
    assert big.number(DIFFERENT) == ROWS - 100  # the control: it does not look
    big.sql("INSERT INTO poly.meta(name, number) VALUES ('fill big', 1)")
    assert big.run('status').returncode == 0
    assert big.number(DIFFERENT) == 0


# --- what was deleted while there were no triggers ---

def test_what_was_deleted_meanwhile_is_found_page_by_page(real):
    real.sql('DROP ROLE IF EXISTS poly_tenant; CREATE ROLE poly_tenant; GRANT poly_tenant TO app', True)
    real.domains(TENANTS)
    real.adopt()
    drop = real.sql("SELECT string_agg(format('DROP TRIGGER %I ON %s', tgname, tgrelid::regclass),"
                    " ';') FROM pg_trigger WHERE tgname LIKE 'poly%'")
    real.sql(drop)
    real.sql("DELETE FROM users WHERE id % 12 < 7; UPDATE users SET bio = 'new' WHERE id % 12 = 7;"
             "DELETE FROM shop.users WHERE name < 'n2'; UPDATE shop.users SET tenant_id = 'moved'"
             " WHERE name = 'n7'; DELETE FROM \"Sales\".\"Invoices\" WHERE net > 10;"
             "DELETE FROM settings WHERE account_id = 1; DELETE FROM parts WHERE id > 600;"
             "TRUNCATE secured")
    changed = {t['domain']: t['logged'] for t in real.adopt()['tables']}
    gone = real.sql("SELECT string_agg(domain || ' ' || n, ', ' ORDER BY domain) FROM (SELECT domain,"
                    " count(*) AS n FROM poly.log WHERE type = '$delete' GROUP BY 1) d")
    # a user's posts go with the user, and n7 went from one tenant to another
    posts = real.number("SELECT 100 - count(*) FROM posts")
    assert gone == ('invoices 40, parts 100, posts %d, secured 2, settings 10, shop_users 12,'
                    ' users 700' % posts)
    assert changed['users'] == 800 and changed['shop_users'] == 13 and changed['posts'] == posts
    assert all(table['logged'] == 0 for table in real.adopt()['tables'])
    real.release()
    real.sql('DROP ROLE poly_tenant', True)


def test_a_key_that_is_just_being_inserted_is_not_gone(big):
    """Its record has a position before ours, and will be there after it."""
    big.adopt()
    big.sql("ALTER TABLE big DISABLE TRIGGER poly_big_delete; DELETE FROM big WHERE id IN (5, 6);"
            "ALTER TABLE big ENABLE ALWAYS TRIGGER poly_big_delete;"
            "INSERT INTO poly.meta(name, number) VALUES ('fill big', 0)")
    with Session(big) as holder:
        holder.sql('BEGIN; INSERT INTO big(id, n) VALUES (5, 50)')
        report = big.adopt('--wait', '2', code=TIMEOUT)
        assert 'holder of app' in report['tables'][0]['problem']
        holder.sql('COMMIT')
    big.adopt()
    assert big.number(DIFFERENT) == 0
    assert big.sql("SELECT string_agg(key, ',') FROM poly.log WHERE type = '$delete'") == '6'
