"""Another model for vectors that an embedder makes of the records' text: S0-49, S0-41, S3-15. Each
text has a known vector in each model (embedder.py), so that an answer says which one it is of."""
import json
import os
import random
import threading
import time

import pytest

import postgresql as pg
import test_embedding as base
from test_embedding import (OWNERS, address, asked, cli, cli_begun, embedder, folder,  # noqa: F401
                            one_embedder, stores_of, wire, wrong)

OLD, NEW, SMALL = 'test-model', 'other-model', 'small-model'
CONFIG = """
migrations: migrations
%(stores)s
embedders:
  local: {url: '%(url)s', batch: 8}
  %(second)s: {url: '%(url)s', batch: 5}
domains:
  notes:
    table: notes
    tenant: none
    vector: {field: meaning, dimensions: %(dimensions)d, model: %(model)s, embedder: %(by)s,
             text: [title, body], metric: l2, filters: [size], element: %(element)s}
"""


class Daemon(base.Daemon):
    def configure(self, model=OLD, dimensions=8, by='local', second='second', stores=None,
                  element='f32'):
        self.stores = self.stores if stores is None else stores
        with open(self.config, 'w') as file:
            file.write(CONFIG % dict(stores=self.stores, url=self.url_of, model=model, by=by,
                                     dimensions=dimensions, second=second, element=element))
        return self

    def model(self, step='', status=200, **body):
        answer = self.post('/v1/vectors/models/notes' + step, json=body, timeout=60)
        assert answer.status_code == status, answer.text
        return answer.json() if answer.text else None

    def taken_in(self):
        """What was written, by embedders too, was looked at by them and is in the stores."""
        self.settle()
        documents = self.get('/v1/records/notes', params={'limit': 1000}).json()['documents']
        self.wrote(max(document['version'] for document in documents))
        self.settle()
        wire.wait_for(lambda: all(one['applied'] >= self.last for one in self.get(
            '/v1/status').json()['projections']), 60, lambda: self.get('/v1/status').text)

    def models(self):
        answer = self.get('/v1/vectors/models', params={'domain': 'notes'})
        assert answer.status_code == 200, answer.text
        return answer.json()['models'][0]

    def is_filled(self):
        state = self.state(next_model=True)
        return state is not None and state['waiting'] == 0 and state['lag_records'] == 0 and \
            state['position'] >= self.last

    def fill(self, **plan):
        self.model(**plan)
        wire.wait_for(self.is_filled, 60, lambda: self.get('/v1/status').text)

    def ask(self, text, headers=None, **more):
        return self.post('/v1/vectors/search', headers=headers, timeout=60, json=dict(
            more, domain='notes', text=text, limit=1000, vectors=True))


@pytest.fixture(scope='module')
def with_pgvector(harness):
    return pg.start(harness, 'postgresql18')


@pytest.fixture
def make(folder, embedder, request):  # noqa: F811
    """make(owner): a daemon that is not started yet."""
    made = []

    def build(owner, name='a', stores=None):
        path = os.path.join(folder, name)
        os.makedirs(path)
        if stores is None:
            stores = '' if owner == 'embedded' else stores_of(
                owner, request.getfixturevalue('postgresql'))
        made.append(Daemon(path, owner, address(embedder), stores))
        return made[-1]
    yield build
    for one in made:
        one.__exit__()


def write(daemon, count, first=0):
    for n in range(first, first + count):
        daemon.note('n%d' % n, title='abcd'[n % 4] * (n % 9 + 1) + 'a', body='bh' if n % 2 else None)


def problem(answer, keys, model, text):
    """What is wrong with an answer to a search for that text, when it should be wholly of the model,
    with all of the keys; None: nothing."""
    letters = base.servers.Letters()
    found = {one['key']: one['vector'] for one in answer['matches']}
    if set(keys) - set(found):
        return 'missing: %s' % sorted(set(keys) - set(found))
    for key, texts in keys.items():
        if found[key] != letters.embed(texts, model):
            return '%s of another model: %s' % (key, found[key])
    first = answer['matches'][0]
    if text in keys.values() and abs(first['similarity'] - 1) > 1e-5:
        return 'the text was another model\'s: %s' % first
    return None


def begun(daemon, count):
    """It serves so many records, which have their vectors."""
    daemon.configure().start()
    write(daemon, count)
    daemon.settle()
    return daemon


def texts_of(rows):
    return {row['id']: base.text_of(row) for row in rows}


def following(server, owner, placement='follower'):
    """Vectors that pgvector finds; the records where they are."""
    database = server.database()
    server.sql('CREATE EXTENSION IF NOT EXISTS vector', database=database)
    url = server.url(database=database)
    if owner == 'embedded':
        return "stores: {vector: {driver: postgresql, url: '%s'}}" % url
    return ("stores: {relational: {driver: postgresql, url: '%s'},"
            ' vector: {driver: postgresql, placement: %s}}') % (url, placement)


def in_its_table(daemon, column='vector(8)'):
    """Its vectors are in a column of pgvector's."""
    path = os.path.join(daemon.folder, 'migrations', '0001_init.sql')
    with open(path) as file:
        text = file.read()
    with open(path, 'w') as file:
        file.write(text.replace('meaning bytea', 'meaning %s' % column))
    return daemon


@pytest.mark.parametrize('owner,vectors', [
    ('embedded', ''), ('postgresql', ''), ('embedded', 'follower'), ('postgresql', 'follower'),
    ('postgresql', 'colocated')])
def test_another_model_takes_over(make, embedder, request, owner, vectors):  # noqa: F811
    stores = following(request.getfixturevalue('with_pgvector'), owner, vectors) if vectors else None
    daemon = make(owner, stores=stores)
    if vectors == 'colocated':
        in_its_table(daemon)
    daemon.configure().start()
    write(daemon, 40)
    daemon.note('empty', size=1)
    daemon.settle()
    before = asked(embedder)
    daemon.fill(model=NEW, dimensions=8, embedder='second')
    state = daemon.state(next_model=True)
    assert (state['embedder'], state['model'], state['state']) == ('second', NEW, 'ok')
    assert asked(embedder) == before + 40 and max(embedder.batches[-5:]) <= 5
    # Until the swap all is of the old model; what is written now is made for both.
    write(daemon, 10, first=35)
    daemon.note('empty', size=2)
    daemon.wrote(daemon.request('DELETE', '/v1/records/notes/n0').json()['position'])
    daemon.settle()
    assert wrong(daemon.notes()) == [] and daemon.models()['next_embedder'] == 'second'
    wire.wait_for(daemon.is_filled, 60)
    told = daemon.model('/swap')
    assert told['model'] == NEW and told['changed'] == 44 and told['dropped'] == 0
    rows = [row for row in daemon.notes() if row['id'] != 'empty']
    assert wrong(rows, model=NEW) == [] and len(rows) == 44
    answer = daemon.ask(base.text_of(rows[3]))
    assert answer.status_code == 200, answer.text
    assert problem(answer.json(), texts_of(rows), NEW, base.text_of(rows[3])) is None
    # The swap itself asks for nothing; what is written is of the new model.
    count = asked(embedder)
    daemon.note('n5', title='ggg')
    daemon.note('n6', method='PATCH', size=3)
    daemon.settle()
    assert wrong([daemon.read('n5'), daemon.read('n6')], model=NEW) == []
    assert asked(embedder) == count + 1
    daemon.stop()
    # polystore.yaml may name either.
    for model, by in ((OLD, 'local'), (NEW, 'local')):
        daemon.configure(model=model, by=by).start(migrate=False)
        daemon.note('n7', title='h' + model[0])
        daemon.settle()
        assert daemon.state()['embedder'] == ('second' if model == OLD else 'local')
        assert wrong([row for row in daemon.notes() if row['id'] != 'empty'], model=NEW) == []
        daemon.stop()
    daemon.configure().start(migrate=False)
    # Back: what came since is made by the old model first.
    daemon.model('/swap', status=404)
    write(daemon, 1, first=90)
    daemon.settle()
    assert "'n90'" in daemon.post('/v1/vectors/models/notes/swap', json={'back': True}).text
    count = asked(embedder)
    daemon.fill(back=True)
    assert asked(embedder) == count + 3  # n5, n7 and n90
    assert daemon.model('/swap', back=True)['changed'] == 45
    daemon.settle()
    assert wrong([row for row in daemon.notes() if row['id'] != 'empty']) == []
    assert asked(embedder) == count + 3
    answer = daemon.request('DELETE', '/v1/vectors/models/notes')
    assert answer.status_code in (200, 204), answer.text
    assert daemon.models().get('next') is None
    if vectors == 'colocated':  # a column of 8 numbers
        daemon.model(status=501, model=SMALL, dimensions=4)
    daemon.stop()


def test_what_the_column_rounds_is_made_once(make, embedder, with_pgvector):  # noqa: F811
    """What is read back is not what the embedder said: 2049 / 8 is not half a number of halfvec's."""
    daemon = make('postgresql', stores=following(with_pgvector, 'postgresql', 'colocated'))
    in_its_table(daemon, 'halfvec(8)').configure(element='f16').start()
    keys, count = ['n%d' % n for n in range(6)], asked(embedder)
    for n, key in enumerate(keys):
        daemon.note(key, title='a' * 2049 + 'b' * n)

    def made(more):
        """By now, so many more texts."""
        nonlocal count
        daemon.taken_in()
        count += more
        assert asked(embedder) == count

    def change_others():
        for key in keys:
            daemon.note(key, method='PATCH', size=count)

    made(6)
    assert all(256 in row['meaning'] for row in daemon.notes())
    for _ in range(2):
        change_others()
        made(0)
    daemon.fill(model=NEW, dimensions=8, embedder='second')
    assert daemon.model('/swap')['changed'] == 6
    made(6)
    for _ in range(2):
        change_others()
        made(0)
    daemon.model('/swap', status=404)
    daemon.fill(back=True)
    assert daemon.model('/swap', back=True)['changed'] == 6
    made(0)
    # Their texts are joined otherwise, and are the same: nothing is written into the records.
    daemon.stop()
    with open(daemon.config) as file:
        config = file.read()
    with open(daemon.config, 'w') as file:
        file.write(config.replace('[title, body]', '[body, title]'))
    daemon.start(migrate=False)
    made(6)
    for _ in range(2):
        change_others()
        made(0)
    daemon.stop()


@OWNERS
def test_fewer_dimensions_and_the_command(make, embedder, owner):  # noqa: F811
    """The whole of it by the command, that waits; run again after it was stopped."""
    daemon = begun(make(owner), 30)
    words = ['rebuild', 'vector', 'notes', '--model', SMALL, '--dimensions', '4']
    told = cli(daemon, *words, '--no-swap')
    assert told.returncode == 0 and 'are being made' in told.stdout, told.stderr
    refused = cli(daemon, *words[:3], '--model', NEW, '--dimensions', '8')
    assert refused.returncode == 5 and 'are being collected' in refused.stderr, refused.stderr
    assert 'next' in cli(daemon, 'status').stdout
    refused = cli(daemon, *words, '--from', '-')
    assert refused.returncode == 2 and 'leave --from out' in refused.stderr
    refused = cli(daemon, *words, '--drop-missing')
    assert refused.returncode == 2 and 'would not wait' in refused.stderr
    assert wrong(daemon.notes()) == []
    given = daemon.post('/v1/vectors/models/notes/vectors', json={
        'vectors': [{'key': 'n1', 'vector': [1, 2, 3, 4]}]})
    assert given.status_code == 412 and "made by the embedder 'local'" in given.text
    told = cli(daemon, *words)
    assert told.returncode == 0, told.stderr
    assert told.stdout == "notes: 30 records have vectors of 'small-model' now, of 4 dimensions\n"
    assert wrong(daemon.notes(), model=SMALL) == []
    assert len(daemon.ask('ab').json()['matches']) == 30
    assert daemon.post('/v1/vectors/search', json={
        'domain': 'notes', 'vector': [1] * 8}).status_code == 400
    told = cli(daemon, 'rebuild', 'vector', 'notes', '--back', '--json')
    assert json.loads(told.stdout)['swapped']['dimensions'] == 8, told.stderr
    assert wrong(daemon.notes()) == []
    again = cli(daemon, *words[:3], '--model', OLD, '--dimensions', '8')
    assert again.returncode == 2 and 'already' in again.stderr
    nobody = cli(daemon, *words, '--embedder', 'nobody')
    assert nobody.returncode == 2 and "no embedder 'nobody'" in nobody.stderr
    assert cli(daemon, 'rebuild', 'vector', 'notes', '--abandon').returncode == 0
    daemon.stop()


@OWNERS
def test_a_swap_counts_the_records_that_there_are(make, embedder, owner):  # noqa: F811
    daemon = begun(make(owner), 5)
    daemon.fill(model=NEW, dimensions=8)
    daemon.model('/swap')
    assert daemon.request('DELETE', '/v1/records/notes/n0').status_code == 200
    assert daemon.model('/swap', back=True)['changed'] == 4
    embedder.command(['refuse', 'bba', NEW])
    daemon.note('n1', title='bba')
    daemon.taken_in()
    daemon.fill(back=True)
    told = daemon.model('/swap', back=True, skip_refused=True)
    assert (told['changed'], told['dropped']) == (3, 1)
    daemon.stop()


def test_what_fails_is_told_and_mends(make, embedder):  # noqa: F811
    daemon = begun(make('embedded'), 30)
    embedder.command(['fault', 'status', '4', '503'])
    told = cli(daemon, 'rebuild', 'vector', 'notes', '-m', NEW, '--dimensions', '8')
    assert told.returncode == 0, told.stderr
    assert 'HTTP 503' in told.stderr and 'tried again' in told.stderr
    assert wrong(daemon.notes(), model=NEW) == []
    # A model that nobody has: seen, and abandoned.
    daemon.model(model='unknown-model', dimensions=8)
    wire.wait_for(lambda: daemon.state(next_model=True)['state'] == 'retrying', 60)
    assert 'no model' in daemon.state(next_model=True)['error']
    metrics = daemon.metrics()
    assert metrics['polystore_embedder_failing{domain="notes",name="",next="1"}'] == 1
    daemon.model('/swap', status=503)
    assert daemon.request('DELETE', '/v1/vectors/models/notes').status_code in (200, 204)
    wire.wait_for(lambda: daemon.state(next_model=True) is None, 60)
    daemon.fill(model=SMALL, dimensions=4)
    daemon.model('/swap')
    assert wrong(daemon.notes(), model=SMALL) == []
    daemon.stop()


def test_the_command_waits_for_a_server_that_is_away(make, embedder, make_postgresql):  # noqa: F811
    """What is not in the report then was not swapped by somebody else."""
    server = make_postgresql('postgresql15')
    daemon = begun(make('postgresql', stores=stores_of('postgresql', server)), 60)
    embedder.command(['fault', 'slow', '100000', '0.2'])
    command = cli_begun(daemon, 'rebuild', 'vector', 'notes', '-m', NEW, '--dimensions', '8')
    try:
        wire.wait_for(lambda: daemon.state(next_model=True), 60)
        server.kill()
        assert 'it is tried again' in command.stderr.readline()
        server.start()
        embedder.clear()
        rest = command.communicate(timeout=60)
    finally:
        command.kill()
    assert command.returncode == 0, rest
    assert wrong(daemon.notes(), model=NEW) == []
    daemon.stop()


@OWNERS
def test_refused_texts_are_somebodys_decision(make, embedder, owner):  # noqa: F811
    daemon = make(owner).configure().start()
    write(daemon, 12)
    for n in range(25):
        daemon.note('evil%02d' % n, title='a', body='evil')
    daemon.settle()
    embedder.command(['refuse', 'evil', NEW])
    daemon.fill(model=NEW, dimensions=8)
    assert daemon.state(next_model=True)['refused'] == 25 and daemon.state()['refused'] == 0
    refused = daemon.post('/v1/vectors/models/notes/swap', json={})
    assert refused.status_code == 412, refused.text
    assert "refuses the texts of 25 records: 'evil00'" in refused.text
    ended = cli(daemon, 'rebuild', 'vector', 'notes', '-m', NEW, '--dimensions', '8')
    assert ended.returncode == 5 and 'skip_refused' in ended.stderr
    assert (daemon.models()['missing'], daemon.models()['refused']) == (25, 25)
    # By pages, each once.
    keys, cursor = [], None
    while True:
        page = daemon.get('/v1/embeddings/notes', params={
            'next': 'true', 'limit': 10, **({'cursor': cursor} if cursor else {})}).json()
        keys += [one['key'] for one in page['refused']]
        cursor = page.get('cursor')
        if cursor is None:
            break
        assert len(page['refused']) == 10
    assert keys == ['evil%02d' % n for n in range(25)]
    assert daemon.get('/v1/embeddings/notes').json() == {'refused': []}
    wrong_cursor = daemon.get('/v1/embeddings/notes', params={'cursor': 'eA'})
    assert wrong_cursor.status_code == 400 and 'cursor' in wrong_cursor.text
    told = cli(daemon, 'vector', 'refused', 'notes', '--next', '--limit', '20')
    assert told.stdout.count('evil') >= 20 and '--cursor' in told.stderr
    # One is mended, one tried again for nothing; the others go without, and stay on the list.
    daemon.note('evil00', title='good')
    daemon.again()
    wire.wait_for(daemon.is_filled, 60)
    assert daemon.state(next_model=True)['refused'] == 24
    count = asked(embedder)
    told = cli(daemon, 'rebuild', 'vector', 'notes', '-m', NEW, '--dimensions', '8', '--skip-refused')
    assert told.returncode == 0 and '24 have none any more' in told.stdout, told.stderr
    daemon.settle()
    assert daemon.state()['refused'] == 24 and asked(embedder) == count
    rows = daemon.notes()
    assert {row['id'] for row in rows if row['meaning'] is None} == set(keys[1:])
    assert wrong([row for row in rows if row['meaning'] is not None], model=NEW) == []
    embedder.refused.clear()
    assert daemon.again() == 24
    daemon.settle()
    assert wrong(daemon.notes(), model=NEW) == []
    daemon.stop()


@OWNERS
def test_killed_while_it_fills_and_swaps(make, embedder, owner):  # noqa: F811
    daemon, chance = begun(make(owner), 60), random.Random(11)
    first, now, other = asked(embedder), OLD, NEW
    for round in range(20 if 'POLY_TEST_LONG' in os.environ else 5):
        daemon.model(model=other, dimensions=8)
        count = len(embedder.batches) + chance.randrange(1, 7)
        wire.wait_for(lambda: len(embedder.batches) >= count or daemon.is_filled(), 60)
        daemon.kill()
        daemon.start(migrate=False)
        write(daemon, 3, first=60 + round)
        daemon.settle()
        wire.wait_for(daemon.is_filled, 60, lambda: daemon.get('/v1/status').text)
        killer = threading.Timer(chance.random() * 0.03, daemon.kill)
        killer.start()
        try:
            daemon.post('/v1/vectors/models/notes/swap', json={}, timeout=30)
        except Exception:  # it was killed
            pass
        killer.join()
        daemon.start(migrate=False)
        daemon.taken_in()
        model = daemon.models()
        if model['model'] == other:
            now, other = other, now
        assert model['model'] == now
        assert wrong(daemon.notes(), model=now) == [], round
        assert problem(daemon.ask('aaa').json(), texts_of(daemon.notes()), now, 'x') is None
    assert asked(embedder) < first * 8  # and nothing is begun anew
    daemon.stop()


@OWNERS
def test_it_takes_over_while_new_records_come_all_the_time(make, embedder, owner):  # noqa: F811
    """There is always one whose vector of the new model is missing: the present one waits for it."""
    daemon = begun(make(owner), 20)
    stop, count = threading.Event(), [0]

    def write_on():
        while not stop.is_set():
            count[0] += 1
            daemon.note('new%d' % count[0], title='abcde'[count[0] % 5] * (count[0] % 7 + 1))

    writers = [threading.Thread(target=write_on)]
    embedder.command(['fault', 'slow', '100000', '0.05'])
    for writer in writers:
        writer.start()
    try:
        told = cli(daemon, 'rebuild', 'vector', 'notes', '-m', NEW, '--dimensions', '8')
    finally:
        stop.set()
        for writer in writers:
            writer.join()
    assert told.returncode == 0, told.stderr
    embedder.clear()
    daemon.settle()
    assert wrong(daemon.notes()[:1000], model=NEW) == []
    daemon.stop()


def test_a_key_that_is_missing_is_said_at_once(make, embedder):  # noqa: F811
    daemon = make('embedded').configure()
    with open(daemon.config) as file:
        config = file.read()
    with open(daemon.config, 'w') as file:
        file.write(config.replace("batch: 5}", "batch: 5, key_env: POLY_NO_SUCH_KEY}"))
    daemon.start()
    told = cli(daemon, 'rebuild', 'vector', 'notes', '-m', NEW, '--dimensions', '8', '-e', 'second')
    assert told.returncode != 0 and 'POLY_NO_SUCH_KEY' in told.stderr
    assert daemon.models().get('next') is None
    daemon.stop()


def test_a_start_says_what_is_to_be_done(make, embedder):  # noqa: F811
    daemon = begun(make('embedded'), 5)
    daemon.fill(model=NEW, dimensions=8, embedder='second')
    daemon.stop()
    # The configuration has lost what makes the next: said, and made when it is there again.
    daemon.configure(second='third').start(migrate=False)
    daemon.note('late', title='c')
    wire.wait_for(lambda: "no embedder 'second'" in daemon.state(next_model=True).get('error', ''), 60)
    wire.wait_for(lambda: daemon.state()['waiting'] == 0 and daemon.read('late')['meaning'], 60)
    daemon.stop()
    daemon.configure().start(migrate=False)
    wire.wait_for(daemon.is_filled, 60)
    daemon.model('/swap')
    daemon.stop()
    for changed, words in (
            (dict(second='third'), ["'second' makes", "give it a url under 'embedders'"]),
            (dict(model='third-model'), ["of the model 'other-model' with 8", "never were of "
                                         "'third-model'", 'polystore rebuild vector notes'])):
        ended = daemon.configure(**changed).run()
        assert ended.returncode != 0
        for word in words:
            assert word in ended.stderr, ended.stderr
    daemon.configure(model=NEW, second='third').start(migrate=False)
    assert daemon.state()['embedder'] == 'local'
    daemon.note('later', title='cc')
    daemon.settle()
    assert wrong(daemon.notes(), model=NEW) == []
    daemon.stop()


# Nothing is ever mixed


class Searches:
    """Searches by text, in threads, while models are swapped: each answer is of one model."""

    def __init__(self, daemons, keys, text):
        self.keys, self.text, self.stop = keys, text, threading.Event()
        self.wrong, self.seen, self.count = [], set(), 0
        self.threads = [threading.Thread(target=self.search, args=(daemon,)) for daemon in daemons]

    def search(self, daemon):
        while not self.stop.is_set():
            answer = daemon.ask(self.text)
            if answer.status_code != 200:
                self.wrong.append(answer.text)
                continue
            self.count += 1
            found = {model: problem(answer.json(), self.keys, model, self.text)
                     for model in (OLD, NEW)}
            if None not in found.values():
                self.wrong.append(found)
            self.seen.update((daemon.folder, model) for model in found if found[model] is None)

    def __enter__(self):
        for thread in self.threads:
            thread.start()
        return self

    def __exit__(self, *_):
        self.stop.set()
        for thread in self.threads:
            thread.join()


def test_would_see_a_mixed_answer():
    letters = base.servers.Letters()
    keys = {'a': 'aab', 'b': 'cd'}

    def answer(of_a, of_b, similarity=1.0):
        return {'matches': [{'key': 'a', 'vector': letters.embed('aab', of_a),
                             'similarity': similarity},
                            {'key': 'b', 'vector': letters.embed('cd', of_b), 'similarity': 0.1}]}

    assert problem(answer(OLD, OLD), keys, OLD, 'aab') is None
    assert problem(answer(NEW, NEW), keys, NEW, 'aab') is None
    for model in (OLD, NEW):
        assert 'another model' in problem(answer(OLD, NEW), keys, model, 'aab')
        assert 'text' in problem(answer(model, model, 0.2), keys, model, 'aab')
        assert 'missing' in problem(answer(model, model), dict(keys, c='c'), model, 'aab')


@pytest.mark.parametrize('where', ['embedded', 'follower', 'postgresql', 'pgvector',
                                   'colocated'])
def test_no_answer_is_of_two_models(make, embedder, request, where):  # noqa: F811
    """Also at another daemon than the one that swaps, while others write."""
    shared = where in ('postgresql', 'pgvector', 'colocated')
    if where in ('pgvector', 'colocated'):
        stores = following(request.getfixturevalue('with_pgvector'), 'postgresql',
                           'follower' if where == 'pgvector' else where)
    elif shared:
        stores = stores_of('postgresql', request.getfixturevalue('postgresql'))
    else:
        stores = '' if where == 'embedded' else 'stores: {vector: {placement: follower}}'
    one = make('postgresql' if shared else 'embedded', 'a', stores)
    if where == 'colocated':
        in_its_table(one)
    one.configure().start()
    other = make('postgresql', 'b', stores).configure().start(key=one.key, migrate=False) \
        if shared else one
    write(one, 60)
    one.settle()
    keys = texts_of(one.notes())
    one.fill(model=NEW, dimensions=8, embedder='second')
    wire.wait_for(lambda: other.ask('a').status_code == 200, 60)
    stop = threading.Event()

    def write_on():
        n = 0
        while not stop.is_set():
            n += 1
            (one, other)[n % 2].note('w%d' % (n % 5), title='e' * (n % 7 + 1))
            time.sleep(0.01)

    writer = threading.Thread(target=write_on)
    embedder.command(['fault', 'slow', '100000', '0.03'])  # a text's vector is there before the swap
    with Searches([one, other, other], keys, keys['n3']) as searches:
        writer.start()
        try:
            for step in range(6):
                model = (NEW, OLD)[step % 2]
                told = cli(one, 'rebuild', 'vector', 'notes', '--back') if step else cli(
                    one, 'rebuild', 'vector', 'notes', '-m', NEW, '--dimensions', '8', '-e', 'second')
                assert told.returncode == 0, told.stderr
                searches.seen.clear()
                enough = searches.count + 4
                wire.wait_for(lambda: searches.wrong or searches.count >= enough and {
                    (one.folder, model), (other.folder, model)} <= searches.seen, 60)
        finally:
            stop.set()
            writer.join()
    embedder.clear()
    assert searches.wrong == [] and searches.count > 20
    one.last = max(one.last, other.last)
    one.settle()
    assert wrong(one.notes()) == []
    one.stop()
    if other is not one:
        other.stop()


def test_the_server_dies_while_a_model_is_swapped(make, embedder, make_postgresql):  # noqa: F811
    """PostgreSQL is killed at some moment of a swap: it has happened or it has not, and which of them
    is so for the records, the index, and what is made afterwards."""
    server, chance = make_postgresql('postgresql15'), random.Random(5)
    daemon = begun(make('postgresql', stores=stores_of('postgresql', server)), 120)
    daemon.fill(model=NEW, dimensions=8, embedder='second')
    now, other, outcomes = OLD, NEW, set()
    least, within = 30 if 'POLY_TEST_LONG' in os.environ else 6, 0.02
    for round in range(60):
        if round >= least and len(outcomes) == 2:
            break
        back = daemon.models()['back']
        killer = threading.Timer(chance.random() * within, server.kill)
        killer.start()
        answer = daemon.post('/v1/vectors/models/notes/swap', json={'back': back}, timeout=120)
        killer.join()
        server.start()
        wire.wait_for(lambda: daemon.get('/ready').status_code == 200, 60)
        if round % 3 == 2:
            daemon.stop()
            daemon.start(migrate=False)
        wire.wait_for(lambda: daemon.get('/v1/vectors/models?domain=notes').status_code == 200, 60)
        model = daemon.models()
        happened = model['model'] == other
        if happened:
            now, other = other, now
        outcomes.add(happened)
        within *= 0.7 if happened else 1.4  # how long a swap takes is the machine's
        assert model['model'] == now and model['next'] == other
        assert happened or answer.status_code != 200, answer.text
        write(daemon, 2, first=round)
        daemon.taken_in()
        assert wrong(daemon.notes(), model=now) == [], round
        assert problem(daemon.ask('aaa').json(), texts_of(daemon.notes()), now, 'x') is None
        if not model['fills']:
            daemon.model(back=True)
        wire.wait_for(daemon.is_filled, 60, lambda: daemon.get('/v1/status').text)
    assert outcomes == {True, False}
    daemon.stop()
