"""Adopting an SQLite file and letting go of it again (S0-28, S0-48). On PostgreSQL: tests/servers."""
import json
import os
import sqlite3
import subprocess

import pytest

POLYSTORE = os.environ['POLYSTORE']
INVALID, NOT_FOUND, DENIED, UNAVAILABLE = 2, 3, 6, 9

TABLES = """
CREATE TABLE notes(id INTEGER PRIMARY KEY AUTOINCREMENT, "Title" TEXT NOT NULL, body TEXT,
    org_id INTEGER, size INTEGER GENERATED ALWAYS AS (length(body)) STORED);
CREATE INDEX notes_title ON notes("Title");
CREATE TABLE words(word TEXT PRIMARY KEY, n REAL) WITHOUT ROWID;
CREATE TABLE tagged(tenant_id TEXT NOT NULL, tag TEXT NOT NULL, PRIMARY KEY (tenant_id, tag));
CREATE TABLE pairs(a INTEGER, b INTEGER, PRIMARY KEY (a, b));
CREATE TABLE nokey(a);
CREATE TABLE "odd name"(id INTEGER PRIMARY KEY);
CREATE VIRTUAL TABLE own_search USING fts5(text);
CREATE TRIGGER touched AFTER INSERT ON notes BEGIN INSERT INTO nokey VALUES (NEW.id); END;
CREATE VIEW titles AS SELECT "Title" FROM notes;
INSERT INTO notes("Title", body) VALUES ('one', 'first words'), ('two', NULL);
INSERT INTO words VALUES ('a', 1.5), ('b', NULL);
INSERT INTO tagged VALUES ('t', 'red');
INSERT INTO own_search VALUES ('theirs');
"""


class World:
    def __init__(self, folder):
        self.folder, self.data = str(folder), os.path.join(str(folder), 'shop')
        os.makedirs(self.data)
        self.file = os.path.join(self.data, 'polystore.db')
        self.sql(TABLES)

    def sql(self, text):
        connection = sqlite3.connect(self.file)
        connection.executescript(text)
        connection.close()

    def dump(self):
        connection = sqlite3.connect(self.file)
        text = '\n'.join(connection.iterdump())
        assert connection.execute('PRAGMA integrity_check').fetchone() == ('ok',)
        connection.close()
        return text

    def run(self, *arguments, **options):
        return subprocess.run([POLYSTORE, *arguments], cwd=self.folder, capture_output=True,
                              text=True, timeout=60, stdin=subprocess.DEVNULL, **options)


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


def test_there_and_back(world):
    before = world.dump()
    found = json.loads(world.run('adopt', 'shop/polystore.db', '--json').stdout)
    tables = {table['table']: table for table in found['tables']}
    assert sorted(name for name in tables if tables[name]['domain']) == ['notes', 'words']
    assert tables['notes']['tenants'] == ['org_id']
    assert tables['notes']['texts'] == ['Title', 'body']
    assert tables['tagged']['tenant_needed'] and tables['tagged']['tenants'] == ['tenant_id']
    for name, words in {'pairs': '2 columns', 'nokey': 'no primary key', 'own_search': 'virtual',
                        'odd name': 'letters'}.items():
        assert words in tables[name]['reason'], tables[name]
    assert world.dump() == before
    assert world.run('adopt', 'shop/polystore.db', '-w', 'polystore.yaml').returncode == 0
    path = os.path.join(world.folder, 'polystore.yaml')
    with open(path) as file:
        text = file.read().replace('    # search', '    search')
    with open(path, 'w') as file:
        file.write(text + "\nviews:\n  totals: {query: 'SELECT 1 AS one, count(*) AS n FROM notes',"
                   " key: [one]}\n")
    for _ in range(2):
        done = world.run('adopt', '--apply', '--json')
        assert done.returncode == 0, done.stderr
        assert [table['status'] for table in json.loads(done.stdout)['tables']] == ['ok', 'ok']
        hits = json.loads(world.run('search', 'first', '--json').stdout)['hits']
        assert [hit['key'] for hit in hits] == ['1']
        assert 'poly_log' in world.dump()
        assert world.run('view', 'refresh', 'totals').returncode == 0
        assert 'totals' in world.dump()
        refused = world.run('release')
        assert refused.returncode == INVALID and '--yes' in refused.stderr
        done = world.run('release', '--yes')
        assert done.returncode == 0, done.stderr
        assert world.dump() == before
        assert os.listdir(world.data) == ['polystore.db']


def test_materialised_views_go_too(world):
    with open(os.path.join(world.folder, 'polystore.yaml'), 'w') as file:
        file.write('data: shop\ndomains:\n  notes: {table: notes, tenant: none}\n'
                   "views:\n  sizes: {query: 'SELECT size, count(*) AS n FROM notes GROUP BY size',"
                   ' key: [size]}\n')
    world.sql("UPDATE notes SET body = '' WHERE body IS NULL")
    before = world.dump()
    assert world.run('view', 'refresh', 'sizes').returncode == 0
    assert 'sizes' in world.dump()
    found = json.loads(world.run('adopt', 'shop/polystore.db', '--json').stdout)
    assert 'sizes' not in [table['table'] for table in found['tables']]
    assert world.run('release', '--yes').returncode == 0
    assert world.dump() == before


def test_a_collection_stays_as_a_table(world):
    """Of what `vector create` has made only the rows are the application's."""
    with open(os.path.join(world.folder, 'polystore.yaml'), 'w') as file:
        file.write('data: shop\ndomains:\n  visits: {stream: visit}\n')
    before = world.dump()
    for words in (['create', 'movies', '--dimensions', '2'],
                  ['add', 'movies', 'a', '--vector', '[1, 0]', '--put']):
        done = world.run('vector', *words)
        assert done.returncode == 0, done.stderr
    done = world.run('release', '--yes')
    assert done.returncode == 0 and 'stays' not in done.stderr, done.stderr
    assert 'poly_' not in world.dump()
    world.sql("DELETE FROM movies WHERE id = 'a'; DROP TABLE movies")
    assert world.dump() == before


def test_only_what_is_ours_goes(world):
    world.sql('CREATE TABLE poly_gons(id INTEGER PRIMARY KEY); INSERT INTO poly_gons VALUES (3)')
    before = world.dump()
    looked = world.run('adopt', 'shop/polystore.db')
    assert "'poly_gons' begins with 'poly_'" in looked.stderr
    with open(os.path.join(world.folder, 'polystore.yaml'), 'w') as file:
        file.write(looked.stdout)
    assert world.run('adopt', '--apply').returncode == 0
    done = world.run('release', '--yes')
    assert done.returncode == 0 and "'poly_gons'" in done.stderr
    assert world.dump() == before


def test_what_is_refused(world):
    os.rename(world.file, os.path.join(world.data, 'shop.db'))
    done = world.run('adopt', 'shop/shop.db')
    assert done.returncode == INVALID and 'polystore.db of a data folder' in done.stderr
    assert world.run('adopt', 'shop/polystore.db').returncode == NOT_FOUND
    assert world.run('adopt').returncode == INVALID
    assert world.run('adopt', '--apply').returncode == NOT_FOUND
    assert world.run('release', '--yes').returncode == NOT_FOUND
    assert world.run('release', '--yes', '--data', 'shop').returncode == NOT_FOUND
    assert world.run('adopt', '--apply', '--server', 'http://x').returncode == INVALID
    assert set(os.listdir(world.data)) - {'lock'} == {'shop.db'}


def test_nothing_is_taken_from_under_somebody(world):
    assert world.run('adopt', 'shop/polystore.db', '-w', 'polystore.yaml').returncode == 0
    assert world.run('adopt', '--apply').returncode == 0
    follower = subprocess.Popen([POLYSTORE, 'subscribe', '--json'], cwd=world.folder,
                                stdout=subprocess.PIPE)
    assert follower.stdout.readline()  # it has the folder
    done = world.run('release', '--yes')
    assert done.returncode == UNAVAILABLE and 'in use by another process' in done.stderr
    assert 'poly_log' in world.dump()
    follower.terminate()
    follower.communicate(timeout=30)
    assert world.run('release', '--yes').returncode == 0
