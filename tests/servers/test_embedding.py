"""Vectors that an embedder makes of the records' text: S0-41, S3-20, S3-39, S3-45. The server is
embedder.py; its letters say what each vector has to be, so that "the vector of exactly its text" is
asked of every record."""
import importlib.util
import json
import os
import random
import subprocess
import tempfile
import threading

import pytest

import embedder as servers

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
spec = importlib.util.spec_from_file_location('wire', os.path.join(ROOT, 'tests/wire/conftest.py'))
wire = importlib.util.module_from_spec(spec)
spec.loader.exec_module(wire)
BUILD = os.environ.get('POLY_TEST_BUILD', os.path.join(ROOT, 'build'))
wire.POLYSTORED = os.environ.get('POLYSTORED', os.path.join(BUILD, 'src/server/polystored'))
POLYSTORE = os.path.join(BUILD, 'src/cli/polystore')
KEY = 'sk-test-0123456789-abcdefghij'

TABLES = """
CREATE TABLE notes (id TEXT PRIMARY KEY, title TEXT, body TEXT, size INTEGER, meaning %s);
CREATE TABLE pages (id TEXT PRIMARY KEY, tenant_id TEXT%s NOT NULL, title TEXT, body TEXT,
                    of_title %s, of_body %s);
"""
MIGRATIONS = {'embedded': TABLES % ('BLOB', '', 'TEXT', 'TEXT'),
              'postgresql': TABLES % ('bytea', ' COLLATE "C"', 'real[]', 'jsonb')}
CONFIG = """
migrations: migrations
%(stores)s
embedders:
  local: {url: '%(url)s', batch: 8, timeout: %(timeout)s%(more)s}
domains:
  notes:
    table: notes
    tenant: none
    vector: {field: meaning, dimensions: 8%(made)s, filters: [size]}
  pages:
    table: pages
    tenant: tenant_id
    vectors:
      title: {field: of_title, dimensions: 8, model: test-model, embedder: local, text: [title]}
      body: {field: of_body, dimensions: 8, model: test-model, embedder: local, text: [body]}
"""
MADE = ', model: test-model, embedder: local, text: [%s]'
OWNERS = pytest.mark.parametrize('owner', ['embedded', 'postgresql'])


@pytest.fixture(scope='module')
def one_embedder(harness):
    return servers.Embedder(harness, 'embedder')


@pytest.fixture
def embedder(one_embedder):
    one_embedder.clear()
    yield one_embedder
    one_embedder.clear()


class Daemon(wire.Daemon):
    def __init__(self, folder, owner, url, stores=''):
        self.owner, self.url_of, self.stores, self.last = owner, url, stores, 0
        super().__init__(folder)
        with open(os.path.join(folder, 'migrations', '0001_init.sql'), 'w') as file:
            file.write(MIGRATIONS[owner])
        self.configure()

    def configure(self, text='title, body', **changed):
        """text None: nothing makes the vectors of notes."""
        values = dict(stores=self.stores, url=self.url_of, timeout='30s', more='',
                      made='' if text is None else MADE % text)
        values.update(changed)
        with open(self.config, 'w') as file:
            file.write(CONFIG % values)
        return self

    def note(self, key, method='PUT', **columns):
        answer = self.request(method, '/v1/records/notes/%s' % key, json=columns)
        assert answer.status_code in (200, 201), answer.text
        self.wrote(answer.json()['position'])
        return answer.json()

    def wrote(self, position):
        self.last = max(self.last, position)

    def read(self, key, domain='notes', **options):
        return self.get('/v1/records/%s/%s' % (domain, key), **options).json()['row']

    def notes(self):
        answer = self.get('/v1/records/notes', params={'limit': 1000})
        assert answer.status_code == 200, answer.text
        return [one['row'] for one in answer.json()['documents']]

    def state(self, domain='notes', name='', next_model=False):
        """None: no vector is to take its place."""
        report = self.get('/v1/status').json()['embeddings']
        return next((one for one in report if (one['domain'], one['name'], one['next']) == (
            domain, name, next_model)), None)

    def idle(self):
        return all(one['waiting'] == 0 and one['lag_records'] == 0 and one['position'] >= self.last
                   for one in self.get('/v1/status').json()['embeddings'])

    def settle(self):
        wire.wait_for(self.idle, 60, lambda: '%d: %s' % (self.last, self.get('/v1/status').text))

    def again(self, domain='notes'):
        return self.post('/v1/embeddings/%s/retry' % domain).json()['waiting']


def stores_of(owner, postgresql):
    if owner == 'embedded':
        return ''
    return "stores: {relational: {driver: postgresql, url: '%s'}}" % postgresql.url(
        database=postgresql.database())


@pytest.fixture
def folder():
    with tempfile.TemporaryDirectory(prefix='polystore-embedding-') as path:
        yield path


@pytest.fixture
def make(folder, embedder, request):
    """make(owner): a daemon that is not started yet."""
    made = []

    def build(owner, name='a', stores=None, url=None):
        path = os.path.join(folder, name)
        os.makedirs(path)
        if stores is None:
            stores = '' if owner == 'embedded' else stores_of(
                owner, request.getfixturevalue('postgresql'))
        made.append(Daemon(path, owner, url or address(embedder), stores))
        return made[-1]
    yield build
    for one in made:
        one.__exit__()


def address(embedder, name=''):
    return embedder.environment()['POLY_TEST_EMBEDDER_%sURL' % name] + '/v1'


def text_of(row, columns=('title', 'body')):
    return '\n'.join(row[column] for column in columns if (row[column] or '').strip())


def wrong(rows, field='meaning', columns=('title', 'body'), model=servers.MODEL):
    """Those that have not the vector of exactly their text."""
    letters = servers.Letters()
    found = []
    for row in rows:
        text = text_of(row, columns)
        vector = json.loads(row[field]) if isinstance(row[field], str) else row[field]
        if vector != (letters.embed(text, model) if text else None):
            found.append(row)
    return found


def asked(embedder):
    return sum(embedder.batches)


@OWNERS
def test_a_record_has_the_vector_of_its_text(make, embedder, owner):
    daemon = make(owner).start()
    daemon.note(1, title='abba', body='cab')
    daemon.note(2, title='', body='  ')
    daemon.note(3, body='hh')
    daemon.settle()
    assert wrong(daemon.notes()) == []
    assert asked(embedder) == 2
    # What does not change the text asks for nothing; a put without the vector keeps it.
    daemon.note(1, method='PATCH', size=3)
    daemon.note(1, title='abba', body='cab', size=4)
    daemon.settle()
    assert daemon.read(1)['meaning'] and asked(embedder) == 2
    daemon.note(1, method='PATCH', body='dd')
    daemon.note(2, method='PATCH', title='a')
    daemon.settle()
    assert wrong(daemon.notes()) == [] and asked(embedder) == 4
    # Without text there is no vector; a vector of somebody else's does not stay.
    daemon.note(1, title=None, body=None)
    daemon.note(3, method='PATCH', meaning=[1, 2, 3, 4, 5, 6, 7, 8])
    daemon.settle()
    assert wrong(daemon.notes()) == []
    assert daemon.read(1)['meaning'] is None
    gone = daemon.request('DELETE', '/v1/records/notes/2')
    daemon.settle()
    assert asked(embedder) == 5
    found = daemon.post('/v1/vectors/search', json={'domain': 'notes', 'vector': [0] * 7 + [1]},
                        headers={'Polystore-Token': gone.headers['Polystore-Token']})
    assert [one['key'] for one in found.json()['matches']] == ['3']
    answer = daemon.post('/v1/transactions', json={'operations': [
        {'op': 'sql', 'sql': "UPDATE notes SET body = 'ee' WHERE id = '3'"}]})
    assert answer.status_code == 200, answer.text
    daemon.wrote(answer.json()['position'])
    daemon.settle()
    assert wrong(daemon.notes()) == [] and daemon.read(3)['meaning'][4] == 0.25
    daemon.stop()


@OWNERS
def test_several_vectors_and_tenants(make, embedder, owner):
    daemon = make(owner).start()
    keys = {tenant: daemon.make_key(tenant=tenant, rights=['read', 'write'])[0]
            for tenant in ('one', 'two')}
    for n in range(12):
        for tenant, key in keys.items():
            answer = daemon.put('/v1/records/pages/%s-%d' % (tenant, n), key=key, json={
                'title': 'a' * (n + 1), 'body': None if n == 3 else tenant + 'd' * (n + 1)})
            assert answer.status_code in (200, 201), answer.text
            daemon.wrote(answer.json()['position'])
    daemon.settle()
    for tenant, key in keys.items():
        rows = [one['row'] for one in daemon.get('/v1/records/pages', key=key).json()['documents']]
        assert len(rows) == 12
        assert wrong(rows, 'of_title', ['title']) == [] and wrong(rows, 'of_body', ['body']) == []
    assert daemon.state('pages', 'title')['made'] == 24
    assert daemon.state('pages', 'body')['made'] == 22
    found = daemon.post('/v1/vectors/search', key=keys['two'], json={
        'domain': 'pages', 'name': 'title', 'text': 'aaaa', 'limit': 100}).json()['matches']
    assert len(found) == 12 and all(one['key'].startswith('two-') for one in found)
    refused = daemon.get('/v1/embeddings/pages', key=keys['two'])
    assert refused.status_code == 403
    daemon.stop()


@OWNERS
def test_what_was_there_before(make, embedder, owner):
    daemon = make(owner).configure(text=None).start()
    for n in range(30):
        daemon.note(n, title='a' * (n + 1), body='b', meaning=[0] * 7 + [n + 1])
    daemon.note('gone', title='a')
    assert daemon.request('DELETE', '/v1/records/notes/gone').status_code in (200, 204)
    daemon.stop()
    daemon.configure().start(migrate=False)
    daemon.settle()
    assert wrong(daemon.notes()) == [] and asked(embedder) == 30
    daemon.stop()
    # Nothing of that again; but of another text, all.
    daemon.start(migrate=False)
    daemon.settle()
    assert asked(embedder) == 30
    daemon.stop()
    daemon.configure(text='body').start(migrate=False)
    daemon.settle()
    assert wrong(daemon.notes(), columns=['body']) == [] and asked(embedder) == 60
    daemon.stop()


FAULTS = ['status 1 429 -', 'status 1 503 -', 'cut 1', 'half 1', 'garbage 1', 'dimension 1', 'nan 1',
          'status 1 401 -', 'status 1 404 -', 'fewer 1', 'huge 1 99000000']


@pytest.mark.parametrize('fault', FAULTS, ids=[one.replace(' ', '_') for one in FAULTS])
def test_what_passes_is_seen_and_mends(make, embedder, fault):
    daemon = make('embedded').start()
    words = fault.split()
    words[1] = '3'
    embedder.command(['fault', *words])
    for n in range(12):
        daemon.note(n, title='ab' * (n + 1))
    wire.wait_for(lambda: daemon.state()['state'] == 'retrying', 60)
    state = daemon.state()
    assert state['waiting'] > 0 and state['refused'] == 0 and state['error'], state
    assert daemon.get('/v1/status').json()['state'] == 'retrying'
    assert daemon.get('/ready').status_code == 200
    metrics = daemon.metrics()
    assert metrics['polystore_embedder_failing{domain="notes",name=""}'] == 1
    assert metrics['polystore_embedder_waiting{domain="notes",name=""}'] > 0
    for _ in range(4):
        daemon.again()
    daemon.settle()
    assert wrong(daemon.notes()) == []
    assert daemon.state()['state'] == 'ok' and 'error' not in daemon.state()
    assert embedder.faults == []
    daemon.stop()


def test_the_key_is_told_to_nobody_else(make, embedder):
    daemon = make('embedded').configure(more=', key_env: TEST_KEY')
    failed = daemon.run()
    assert failed.returncode != 0 and 'TEST_KEY' in failed.stderr and 'embedders.local' in failed.stderr
    daemon.start(env={'TEST_KEY': KEY})
    embedder.command(['fault', 'key', '1', '401'])
    daemon.note(1, title='a')
    wire.wait_for(lambda: daemon.state()['state'] == 'retrying', 60)
    assert embedder.headers['Authorization'] == 'Bearer ' + KEY
    told = daemon.get('/v1/status').text + daemon.get('/metrics').text + daemon.log()
    assert 'HTTP 401' in told and 'sk-test' not in told
    found = daemon.post('/v1/vectors/search', json={'domain': 'notes', 'text': 'a'})
    assert found.status_code == 200, found.text
    embedder.command(['fault', 'key', '9', '401'])
    found = daemon.post('/v1/vectors/search', json={'domain': 'notes', 'text': 'a'})
    assert found.status_code == 503 and 'sk-test' not in found.text, found.text
    daemon.stop()
    assert 'sk-test' not in daemon.log()


@OWNERS
def test_a_text_that_is_refused_holds_up_nothing(make, embedder, owner):
    daemon = make(owner).start()
    embedder.command(['refuse', 'evil'])
    for n in range(40):
        daemon.note(n, title='ab', body='evil' if n % 13 == 5 else 'c' * (n + 1))
    daemon.note('none', title='xyz')  # its vector is all zeros, which cosine has no use for
    daemon.settle()
    assert daemon.state()['refused'] == 4 and daemon.state()['state'] == 'ok'
    rows = daemon.notes()
    bare = {row['id'] for row in rows if row['meaning'] is None}
    assert bare == {'5', '18', '31', 'none'}
    assert wrong([row for row in rows if row['id'] not in bare]) == []
    listed = daemon.get('/v1/embeddings/notes').json()['refused']
    assert {one['key'] for one in listed} == bare
    errors = {one['key']: one['error'] for one in listed}
    assert 'a text cannot be embedded' in errors['5'] and 'zero' in errors['none']
    # Changing something else is no reason to ask again; changing the text is.
    before = asked(embedder)
    daemon.note('5', method='PATCH', size=1)
    daemon.settle()
    assert asked(embedder) == before and daemon.state()['refused'] == 4
    daemon.note('18', method='PATCH', body='good')
    daemon.settle()
    assert daemon.state()['refused'] == 3 and wrong([daemon.read(18)]) == []
    embedder.refused.clear()
    assert daemon.again() == 3
    daemon.settle()
    assert daemon.state()['refused'] == 1
    assert wrong([daemon.read(5), daemon.read(31)]) == []
    assert daemon.get('/v1/embeddings/nothing').status_code == 404
    assert cli(daemon, 'vector', 'refused', 'notes').stdout.count('none') == 1
    assert '1 records wait' in cli(daemon, 'vector', 'retry', 'notes').stdout
    assert 'local' in cli(daemon, 'status').stdout
    daemon.stop()


def cli_begun(daemon, *words):
    return subprocess.Popen([POLYSTORE, *words, '--server', daemon.url], stdout=subprocess.PIPE,
                            stderr=subprocess.PIPE, text=True,
                            env=dict(os.environ, POLYSTORE_KEY=daemon.key))


def cli(daemon, *words):
    return subprocess.run([POLYSTORE, *words, '--server', daemon.url], capture_output=True, text=True,
                          timeout=60, env=dict(os.environ, POLYSTORE_KEY=daemon.key))


def test_searching_by_text(make, embedder):
    daemon = make('embedded').start()
    for n, title in enumerate(['aaab', 'bbbc', 'cccd', 'dddd']):
        daemon.note(n, title=title, size=n)
    daemon.settle()

    def search(status=200, **query):
        answer = daemon.post('/v1/vectors/search', json=dict(query, domain='notes'))
        assert answer.status_code == status, answer.text
        return [one['key'] for one in answer.json()['matches']] if status == 200 else answer.json()

    assert search(text='d', limit=2) == ['3', '2']
    assert search(text='d', limit=1, where={'size': {'<': 3}}) == ['2']
    before = len(embedder.batches)
    lists = daemon.post('/v1/vectors/search/batch', json={'searches': [
        {'domain': 'notes', 'text': text, 'limit': 1} for text in 'abcd']}).json()['answers']
    assert [one['matches'][0]['key'] for one in lists] == ['0', '1', '2', '3']
    assert len(embedder.batches) == before + 1
    found = cli(daemon, 'vector', 'search', 'notes', '--text', 'd', '--limit', '1', '--show', 'title')
    assert 'dddd' in found.stdout, found.stderr
    assert 'all its numbers are zero' in search(400, text='xyz')['detail']
    embedder.command(['refuse', 'evil'])
    assert 'cannot be embedded' in search(400, text='evil')['detail']
    assert search(400, text='a', like='1')['detail']
    assert search(400, text='a', model='another')['detail']
    embedder.command(['fault', 'status', '3', '503'])
    assert 'HTTP 503' in search(503, text='a')['detail']
    assert search(text='a', limit=1) == ['0']
    daemon.stop()
    daemon.configure(text=None).start(migrate=False)
    assert 'not made by an embedder' in search(400, text='a')['detail']
    daemon.stop()


def test_an_embedder_that_is_away_or_silent_holds_up_nothing(make, embedder):
    daemon = make('embedded', url='http://127.0.0.1:1/v1').start()
    daemon.note(1, title='a')
    wire.wait_for(lambda: daemon.state()['state'] == 'retrying', 60)
    assert daemon.post('/v1/vectors/search', json={'domain': 'notes', 'text': 'a'}).status_code == 503
    daemon.stop()
    daemon.url_of = address(embedder)
    embedder.command(['fault', 'slow', '1', '600'])
    daemon.configure(timeout='1h').start(migrate=False)
    wire.wait_for(lambda: embedder.batches, 60)
    daemon.note(2, title='b')
    wire.wait_for(lambda: daemon.get('/v1/status').json()['head'] == 2, 60)
    daemon.stop()  # which would take ten minutes
    daemon.start(migrate=False)
    daemon.settle()
    assert wrong(daemon.notes()) == []
    daemon.stop()


BAD = [("vector: {field: meaning, dimensions: 8, embedder: nobody, model: m, text: [title]}",
        "there is no embedder 'nobody'"),
       ("vector: {field: meaning, dimensions: 8, embedder: local, text: [title]}", "needs 'model'"),
       ("vector: {field: meaning, dimensions: 8, embedder: local, model: m}", "needs 'text'"),
       ("vector: {field: meaning, dimensions: 8, text: [title]}", "needs 'embedder'"),
       ("vector: {field: meaning, dimensions: 8, embedder: local, model: m, text: [meaning]}",
        "cannot be made of itself"),
       ("vectors: {a: {field: meaning, dimensions: 8, embedder: local, model: m, text: [title]},"
        " b: {field: meaning, dimensions: 8}}", "one vector's alone")]


@pytest.mark.parametrize('vector,words', BAD, ids=[str(n) for n in range(len(BAD))])
def test_what_cannot_be_is_said_at_the_start(make, embedder, vector, words):
    daemon = make('embedded')
    with open(daemon.config, 'w') as file:
        file.write("embedders: {local: {url: 'http://127.0.0.1:1/v1'}}\n"
                   'domains: {notes: {table: notes, tenant: none, %s}}\n' % vector)
    ended = daemon.run()
    assert ended.returncode != 0 and words in ended.stderr, ended.stderr


def use_other_model(daemon):
    """polystore.yaml says so, of notes."""
    daemon.configure()
    with open(daemon.config) as file:
        text = file.read()
    with open(daemon.config, 'w') as file:
        file.write(text.replace('model: test-model', 'model: other-model', 1))


@OWNERS
def test_another_model_is_refused_at_the_start(make, embedder, owner):
    """Answers would be of two models until all had been made again (S0-49); how it is done is said."""
    daemon = make(owner).start()
    daemon.note('a', title='a')
    daemon.settle()
    daemon.stop()
    for changed, words in (('model: other-model', "'other-model' with 8"),
                           ('model: test-model, dimensions: 4', "'test-model' with 4")):
        daemon.configure()
        with open(daemon.config) as file:
            text = file.read()
        first = text.index('model: test-model')
        text = text[:first] + changed + text[first + len('model: test-model'):]
        if '4' in changed:
            text = text.replace('dimensions: 8, model: test-model, dimensions: 4', changed, 1)
        with open(daemon.config, 'w') as file:
            file.write(text)
        ended = daemon.run()
        assert ended.returncode != 0, ended.stderr
        assert "made by the model 'test-model' with 8 dimensions, not by " + words in ended.stderr
        assert "'polystore rebuild vector notes --model " in ended.stderr
    # Also when it was taken out in between; then the former is written, and changed while it serves.
    daemon.configure(text=None).start(migrate=False)
    daemon.stop()
    use_other_model(daemon)
    assert 'polystore rebuild vector notes --model other-model' in daemon.run().stderr
    daemon.configure().start(migrate=False)
    daemon.settle()
    assert wrong(daemon.notes()) == [] and asked(embedder) == 1
    told = cli(daemon, 'rebuild', 'vector', 'notes', '--model', 'other-model', '--dimensions', '8')
    assert told.returncode == 0, told.stderr
    daemon.stop()
    use_other_model(daemon)
    daemon.start(migrate=False)
    daemon.settle()
    assert wrong(daemon.notes(), model='other-model') == [] and asked(embedder) == 2
    daemon.stop()


def write_on(daemon, stop, written, chance):
    """Puts, changes and deletes, until the daemon is gone. What was acknowledged is in written."""
    n = len(written)
    while not stop.is_set():
        n += 1
        key, title = str(chance.randrange(200)), 'abcdefgh'[n % 8] * (n % 30 + 1)
        try:
            if chance.random() < 0.1:
                daemon.request('DELETE', '/v1/records/notes/' + key)
            else:
                daemon.note(key, title=title, body='a' if n % 2 else None)
            written.append(key)
        except Exception:  # it was killed
            return


@OWNERS
def test_killed_at_any_moment_it_leaves_no_gap(make, embedder, owner):
    daemon, chance, written = make(owner), random.Random(7), []
    rounds = 30 if 'POLY_TEST_LONG' in os.environ else 6
    daemon.start()
    for round in range(rounds):
        stop = threading.Event()
        writer = threading.Thread(target=write_on, args=(daemon, stop, written, chance))
        if round % 3 == 1:
            embedder.command(['fault', 'status', '2', '500'])
        writer.start()
        count = len(embedder.batches) + chance.randrange(1, 6)
        wire.wait_for(lambda: len(embedder.batches) >= count, 60,
                      lambda: daemon.get('/v1/status').text)
        daemon.kill()
        stop.set()
        writer.join()
        daemon.start(migrate=False)
    embedder.clear()
    daemon.again()
    daemon.settle()
    rows = daemon.notes()
    assert rows and wrong(rows) == [] and daemon.state()['refused'] == 0
    daemon.stop()


def test_of_two_daemons_one_embeds(make, embedder, postgresql):
    stores = stores_of('postgresql', postgresql)
    one = make('postgresql', 'a', stores).start()
    other = make('postgresql', 'b', stores).start(key=one.key, migrate=False)

    def leader():
        leading = [daemon for daemon in (one, other) if daemon.state()['leads']]
        assert len(leading) < 2
        return leading[0] if leading else None

    wire.wait_for(leader, 60)
    for n in range(40):
        (one, other)[n % 2].note(n, title='a' * (n + 1))
    one.settle()
    assert wrong(other.notes()) == []
    assert asked(embedder) == 40  # each once
    wire.wait_for(lambda: other.state()['position'] == one.state()['position'], 60)
    first = leader()
    second = other if first is one else one
    embedder.command(['fault', 'slow', '1', '600'])
    second.note('late', title='bb')
    wire.wait_for(lambda: asked(embedder) == 41, 60)
    first.kill()  # in the middle of a request
    wire.wait_for(lambda: second.state()['leads'], 60)
    second.settle()
    assert wrong(second.notes()) == []
    second.stop()


def test_meaning_is_found(folder, harness, make):
    """With the vectors of words: what is meant, not what is said."""
    glove = servers.Embedder(harness, 'embedder-glove')
    daemon = make('embedded', url=address(glove))
    daemon.configure()
    with open(daemon.config) as file:
        config = file.read().replace('dimensions: 8', 'dimensions: 100')
    with open(daemon.config, 'w') as file:
        file.write(config)
    daemon.start()
    daemon.note('baker', title='Bread', body='flour, yeast and a hot oven')
    daemon.note('senate', title='Vote', body='the election of a new senator')
    daemon.note('rain', title='Weather', body='clouds, rain and a cold wind')
    daemon.settle()
    for text, key in (('cake and pastry', 'baker'), ('parliament and government', 'senate'),
                      ('storm and snow', 'rain')):
        found = daemon.post('/v1/vectors/search', json={'domain': 'notes', 'text': text, 'limit': 1})
        assert found.json()['matches'][0]['key'] == key, found.text
    daemon.stop()
