"""Several polystored on one PostgreSQL (S0-22, S2-28, S4-11): each with a data folder of its own, and
any may be asked."""
import importlib.util
import os
import tempfile
import threading
import time

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
spec = importlib.util.spec_from_file_location('wire', os.path.join(ROOT, 'tests/wire/conftest.py'))
wire = importlib.util.module_from_spec(spec)
spec.loader.exec_module(wire)
wire.POLYSTORED = os.environ.get('POLYSTORED', os.path.join(
    os.environ.get('POLY_TEST_BUILD', os.path.join(ROOT, 'build')), 'src/server/polystored'))

LONG = 'POLY_TEST_LONG' in os.environ
CONFIG = """
stores: {relational: {driver: postgresql, url: '%s'}}
domains:
  orders: {stream: order, search: {fields: [text]}}
"""


POOL = """
stores:
  relational:
    driver: postgresql
    url: '%s'
    pool: {max: %d, min: 0, acquire: 20s}
domains:
  orders: {stream: order}
"""


class Daemon(wire.Daemon):
    def start(self, *more, **options):
        return super().start(*more, **{'migrate': False, **options})

    def append(self, stream, n, **options):
        return self.post('/v1/streams/%s' % stream, timeout=60, **options, json={
            'events': [{'type': 'Happened', 'data': {'n': n, 'text': 'word number%d' % n}}]})


@pytest.fixture
def folder():
    with tempfile.TemporaryDirectory(prefix='polystore-daemons-') as path:
        yield path


@pytest.fixture
def make(folder):
    made = []

    def build(url, name, config=None):
        path = os.path.join(folder, name)
        os.makedirs(path)
        made.append(Daemon(path, domains=config or CONFIG % url))
        return made[-1]
    yield build
    for one in made:
        one.__exit__()


@pytest.fixture
def two(make, postgresql):
    url = postgresql.url(database=postgresql.database())
    first = make(url, 'a').start()
    return first, make(url, 'b').start(key=first.key)


def test_tokens_and_idempotency_keys_hold_at_the_other(two):
    one, other = two
    answer = one.append('order-1', 1, headers={'Idempotency-Key': 'k'})
    assert answer.status_code in (200, 201), answer.text
    token = answer.headers['Polystore-Token']
    found = other.get('/v1/search', params={'q': 'number1'}, headers={'Polystore-Token': token})
    assert found.status_code == 200, found.text
    assert len(found.json()['hits']) == 1
    again = other.append('order-1', 1, headers={'Idempotency-Key': 'k'})
    assert again.status_code == answer.status_code, again.text
    assert again.headers['Polystore-Token'] == token
    assert len(one.get('/v1/streams/order-1').json()['records']) == 1
    differs = other.append('order-1', 2, headers={'Idempotency-Key': 'k'})
    assert differs.status_code == 412, differs.text


def test_a_collection_is_known_at_the_other(two):
    """Made and dropped at one, without a restart of the other; each has an index of its own (S3-38)."""
    one, other = two
    shape = {'name': 'notes', 'dimensions': 2, 'filters': ['team']}

    def nearest(daemon, token=None, **query):
        answer = daemon.post('/v1/vectors/search', json=dict(query, domain='notes', vector=[1, 0]),
                             headers={'Polystore-Token': token} if token else None)
        return answer.status_code, [match['key'] for match in answer.json().get('matches', [])]
    assert nearest(other)[0] == 404
    assert one.post('/v1/vectors/collections', json=shape).status_code == 201
    wire.wait_for(lambda: other.get('/v1/records/notes').status_code == 200, 20)
    written = other.put('/v1/records/notes/a', json={'embedding': [1, 0], 'metadata': {'team': 'x'}})
    assert written.status_code == 200, written.text
    token = written.headers['Polystore-Token']
    assert nearest(one, token) == (200, ['a'])
    wire.wait_for(lambda: nearest(other, token) == (200, ['a']), 20)  # its index has just begun
    token = one.put('/v1/records/notes/b', json={'embedding': [0, 1]}).headers['Polystore-Token']
    assert nearest(other, token) == (200, ['a', 'b'])
    assert nearest(other, token, where={'team': 'x'}) == (200, ['a'])
    again = other.post('/v1/vectors/collections', json=shape)
    assert again.status_code == 200 and not again.json()['made'], again.text
    assert other.post('/v1/vectors/collections', json=dict(shape, dimensions=3)).status_code == 412
    assert other.request('DELETE', '/v1/vectors/collections/notes').status_code == 204
    wire.wait_for(lambda: one.get('/v1/records/notes').status_code == 404, 20)
    # Of the same name, with other dimensions: what the log has of the first is not its own.
    assert other.post('/v1/vectors/collections', json=dict(shape, dimensions=3)).status_code == 201
    wire.wait_for(lambda: one.get('/v1/records/notes').status_code == 200, 20)
    token = one.put('/v1/records/notes/c', json={'embedding': [0, 0, 1]}).headers['Polystore-Token']
    for daemon in two:
        found = daemon.post('/v1/vectors/search', json={'domain': 'notes', 'vector': [0, 0, 1]},
                            headers={'Polystore-Token': token})
        assert [match['key'] for match in found.json().get('matches', [])] == ['c'], found.text
        wire.wait_for(lambda: daemon.get('/v1/status').json()['state'] == 'ok', 20)


def test_all_of_a_collection_is_known_at_the_other(two):
    """Text, several vectors and a change of model: each daemon has indexes of its own (S3-38, S0-49)."""
    one, other = two
    shape = {'name': 'notes', 'text': ['title'],
             'vectors': [{'name': 'near', 'dimensions': 2}, {'name': 'far', 'dimensions': 3}]}
    assert one.post('/v1/vectors/collections', json=shape).status_code == 201
    wire.wait_for(lambda: other.get('/v1/records/notes').status_code == 200, 20)
    written = other.put('/v1/records/notes/a', json={
        'near': [1, 0], 'far': [0, 0, 1], 'metadata': {'title': 'green tea'}})
    assert written.status_code == 200, written.text

    def words(daemon, token):
        found = daemon.get('/v1/search', params={'q': 'tea', 'domain': 'notes'},
                           headers={'Polystore-Token': token})
        return [hit['key'] for hit in found.json().get('hits', [])]

    def nearest(daemon, token, name, vector):
        found = daemon.post('/v1/vectors/search', headers={'Polystore-Token': token},
                            json={'domain': 'notes', 'name': name, 'vector': vector})
        return [match['key'] for match in found.json().get('matches', [])]
    for daemon in two:
        token = written.headers['Polystore-Token']
        wire.wait_for(lambda: words(daemon, token) == ['a'], 20)
        wire.wait_for(lambda: nearest(daemon, token, 'far', [0, 0, 1]) == ['a'], 20)
    model = '/v1/vectors/models/notes'
    assert one.post(model, json={'name': 'far', 'model': 'm', 'dimensions': 1}).status_code == 200
    added = other.post(model + '/vectors', json={
        'name': 'far', 'vectors': [{'key': 'a', 'vector': [7]}]})
    assert added.status_code == 200, added.text
    swapped = other.post(model + '/swap', json={'name': 'far'})
    assert swapped.status_code == 200, swapped.text
    tokens = []

    def put():  # CONFLICT, until it is checked by the model that is there now
        written = one.put('/v1/records/notes/b', json={'near': [0, 1]})
        assert written.status_code in (200, 412), written.text
        tokens.append(written.headers.get('Polystore-Token'))
        return tokens[-1]
    wire.wait_for(put, 20)
    token = tokens[-1]
    for daemon in two:
        wire.wait_for(lambda: nearest(daemon, token, 'far', [7]) == ['a'], 20)
        assert nearest(daemon, token, 'near', [0, 1]) == ['b', 'a']
        listed = daemon.get('/v1/vectors/collections').json()['collections']
        assert listed[0]['vectors'][1]['dimensions'] == 1, listed
    one.stop()
    one.start()
    wire.wait_for(lambda: nearest(one, token, 'far', [7]) == ['a'], 20)
    assert one.request('DELETE', '/v1/vectors/collections/notes').status_code == 204
    wire.wait_for(lambda: other.get('/v1/records/notes').status_code == 404, 20)
    for daemon in two:
        wire.wait_for(lambda: daemon.get('/v1/status').json()['state'] == 'ok', 20)


def test_keys_are_revoked_at_the_other_within_a_second(two):
    one, other = two
    secret, body = one.make_key(rights=['read'])
    for daemon in two:
        assert daemon.get('/v1/streams/order-1', key=secret).status_code != 401
    identity = body.get('id') or secret.split('_')[1]
    assert one.request('DELETE', '/v1/keys/' + identity).status_code in (200, 204)
    revoked = time.monotonic()
    assert one.get('/v1/streams/order-1', key=secret).status_code == 401
    wire.wait_for(lambda: other.get('/v1/streams/order-1', key=secret).status_code == 401, 20)
    asked = time.monotonic() - revoked
    assert asked < 5, asked  # a second, and what a loaded machine adds


def reads(daemon, name):
    """The status of opening the subscription, and the answer if it is open."""
    answer = daemon.get('/v1/subscriptions/%s/events' % name, stream=True)
    return answer.status_code, answer


def test_a_name_is_open_at_one_daemon_at_a_time(two):
    one, other = two
    one.append('order-1', 1)
    status, stream = reads(one, 'worker')
    assert status == 200
    status, refused = reads(other, 'worker')
    assert status == 409, refused.text
    assert 'another daemon' in refused.json()['detail']
    assert other.request('DELETE', '/v1/subscriptions/worker').status_code == 412
    states = other.get('/v1/status').json()['subscriptions']
    assert [s['open'] for s in states if s['name'] == 'worker'] == [True]
    stream.close()
    for n in range(2, 4):  # a reader that is gone is noticed when something is sent
        one.append('order-1', n)
    wire.wait_for(lambda: reads(other, 'worker')[0] == 200, 30)


def test_a_killed_daemon_leaves_its_names(two):
    one, other = two
    one.append('order-1', 1)
    assert reads(one, 'worker')[0] == 200
    one.kill()
    assert reads(other, 'worker')[0] == 409
    wire.wait_for(lambda: reads(other, 'worker')[0] == 200, 30)


def writer(ports, number, stop, acknowledged):
    """Asks whoever is there, with the same key until it is done."""
    n = 0
    while not stop.is_set():
        n += 1
        for attempt in range(100000):
            daemon = ports[(number + attempt) % len(ports)]
            try:
                answer = daemon.append('order-w%d' % number, n,
                                       headers={'Idempotency-Key': 'w%d-%d' % (number, n)})
                if answer.status_code in (200, 201):
                    break
                assert answer.status_code in (429, 503, 504), answer.text
            except OSError:
                pass
            time.sleep(0.02)
        acknowledged.append((number, n))


def test_daemons_are_killed_under_load(two, postgresql):
    one, other = two
    stop, acknowledged = threading.Event(), []
    threads = [threading.Thread(target=writer, args=(two, i, stop, acknowledged))
               for i in range(4)]
    for thread in threads:
        thread.start()
    try:
        for i in range(50 if LONG else 3):
            victim = two[i % 2]
            enough = len(acknowledged) + 20
            wire.wait_for(lambda: len(acknowledged) >= enough, 60)
            victim.kill()
            victim.start(listen='127.0.0.1:%d' % victim.port)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    events = [(r['key'], r['data']['n']) for r in log_of(one)]
    assert len(events) == len(set(events)), 'doubled'
    assert {('w%d' % w, n) for w, n in acknowledged} <= set(events), 'lost'
    for daemon in two:
        wire.wait_for(lambda: documents_of(daemon) == len(events), 60)


def documents_of(daemon):
    return daemon.get('/v1/status').json()['projections'][0]['documents']


def log_of(daemon):
    found, after = [], 0
    while True:
        answer = daemon.get('/v1/log', params={'after': after, 'limit': 1000}).json()
        if not answer['records']:
            return found
        found += answer['records']
        after = answer['records'][-1]['position']


RATE = 40  # requests a second of a tenant


def ask(seconds, *pairs):
    """Each daemon with its key, as fast as it answers: requests a second that were let through,
    less the burst of a second that each daemon may let through before it hears of the others."""
    counts, lock = {True: 0, False: 0}, threading.Lock()
    began = time.monotonic()

    def one(daemon, key):
        while time.monotonic() - began < seconds:
            answer = daemon.get('/v1/streams/none', key=key)
            assert answer.status_code in (200, 404, 429), answer.text
            refused = answer.status_code == 429
            assert not refused or int(answer.headers['Retry-After']) >= 1
            with lock:
                counts[refused] += 1
            time.sleep(0.004)

    threads = [threading.Thread(target=one, args=pair) for pair in pairs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert counts[True] > 0
    return (counts[False] - RATE * len(pairs)) / (time.monotonic() - began)


def test_a_tenant_has_one_rate_at_all_daemons_together(make, make_postgresql):
    """Two daemons let through what one does, and one all of it while the other is idle. The control
    are daemons on a database each, which let through twice as much."""
    server = make_postgresql()
    shared, apart = server.database(), server.database()

    def daemon(name, database, key=None):
        config = CONFIG % server.url(database=database) + 'limits: {rate_per_tenant: %d}\n' % RATE
        return make(None, name, config).start(key=key)

    def key(of):
        return of.make_key(label='t', tenant='t', rights=['read'])[0]

    first = daemon('a', shared)
    second, other = daemon('b', shared, first.key), daemon('c', apart)
    tenant, stranger = key(first), key(other)
    assert ask(3, (first, tenant), (second, tenant)) < RATE * 1.2
    time.sleep(2)  # what was owed is paid, and the burst that is not counted is there again
    assert RATE * 0.6 < ask(3, (second, tenant)) < RATE * 1.2
    time.sleep(2)
    assert ask(3, (first, tenant), (other, stranger)) > RATE * 1.6


def test_while_nothing_can_be_shared_each_counts_for_itself(make, make_postgresql):
    server = make_postgresql()
    base = server.database()
    limits = 'limits: {rate_per_tenant: 1000}\n'
    one = make(None, 'a', CONFIG % server.url(database=base) + limits).start()

    def said(what):
        assert one.get('/v1/streams/none').status_code in (200, 404)
        return 'event=' + what in one.log()

    server.sql('ALTER TABLE poly.usage RENAME TO away', database=base)
    wire.wait_for(lambda: said('rate_alone'), 30)
    assert 'event=rate_shared' not in one.log()
    server.sql('ALTER TABLE poly.away RENAME TO usage', database=base)
    wire.wait_for(lambda: said('rate_shared'), 30)
    assert one.log().count('event=rate_alone') == 1


def test_200_clients_never_open_more_than_max(make, make_postgresql):
    """S3-66, S3-70"""
    server = make_postgresql(max_connections='30')
    daemon = make(None, 'a', POOL % (server.url(), 5)).start()
    most, stop = [0], threading.Event()

    def count():
        while not stop.is_set():
            most[0] = max(most[0], int(server.sql(
                "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'polystore'")))
    statuses = []

    def client(n):
        statuses.append(daemon.append('order-%d' % n, n).status_code)

    def block():
        """Nobody writes for a while, so that all come together, however fast they are."""
        server.sql('LOCK TABLE poly.log IN EXCLUSIVE MODE; SELECT pg_sleep(2)')
    watcher, blocker = threading.Thread(target=count), threading.Thread(target=block)
    watcher.start()
    blocker.start()
    wire.wait_for(lambda: server.sql("SELECT count(*) FROM pg_locks WHERE mode = 'ExclusiveLock'"
                                     " AND relation = 'poly.log'::regclass") == '1', 60)
    clients = [threading.Thread(target=client, args=(n,)) for n in range(200)]
    for one in clients:
        one.start()
    for one in clients:
        one.join()
    stop.set()
    watcher.join()
    blocker.join()
    assert set(statuses) <= {200, 201}, set(statuses)
    assert 0 < most[0] <= 5 + 1, most  # and the one that listens
    metrics = daemon.metrics()
    assert metrics['polystore_server_pool_max'] == 5
    assert 0 < metrics['polystore_server_pool_open'] <= 5
    assert metrics['polystore_server_pool_waited'] > 0
    assert metrics['polystore_server_pool_wait_seconds'] > 0
    assert metrics['polystore_server_connections_max'] == 30
    assert 0 <= metrics['polystore_server_hit_ratio'] <= 1
    answer = daemon.get('/v1/status').json()['server']
    assert answer['answers'] and answer['pool']['max'] == 5 and answer['log_bytes'] > 0
    assert 'warnings' not in answer or 'pools' not in answer['warnings']


def test_a_black_hole_ends_the_start_in_words(make, postgresql, make_proxy):
    """S3-69: after the pool's connect time; run() would not wait for the system's two minutes."""
    proxy = make_proxy(postgresql.app.parts.port)
    proxy.black_hole()
    url = postgresql.url(host='127.0.0.1', port=proxy.port)
    for name, connect, words in (('a', '', '2000 ms'), ('b', ', connect: 150ms', '150 ms')):
        config = POOL.replace('acquire: 20s', 'acquire: 20s' + connect) % (url, 2)
        ended = make(None, name, config).run('--listen', '127.0.0.1:0')
        assert ended.returncode == 9, ended
        line, = ended.stderr.splitlines()
        assert line.startswith('polystored: data folder'), line
        assert '127.0.0.1:%d' % proxy.port in line and words in line, line


def test_a_pool_that_is_exhausted_is_waited_for_as_configured(make, make_postgresql):
    """S3-70; and the status answers meanwhile."""
    server = make_postgresql()
    config = POOL.replace('acquire: 20s', 'acquire: 100ms') % (server.url(), 1)
    daemon = make(None, 'a', config).start()
    blocker = threading.Thread(target=lambda: server.sql(
        'LOCK TABLE poly.log IN EXCLUSIVE MODE; SELECT pg_sleep(6)'))
    blocker.start()
    wire.wait_for(lambda: server.sql("SELECT count(*) FROM pg_locks WHERE mode = 'ExclusiveLock'"
                                     " AND relation = 'poly.log'::regclass") == '1', 60)
    statuses = []
    first = threading.Thread(
        target=lambda: statuses.append(daemon.append('order-1', 1).status_code))
    first.start()
    wire.wait_for(lambda: server.sql("SELECT count(*) FROM pg_locks WHERE NOT granted"
                                     " AND relation = 'poly.log'::regclass") == '1', 60)
    refused = daemon.append('order-2', 2)
    assert refused.status_code == 504, refused.text
    assert "none of the pool's 1 connections" in refused.json()['detail']
    answer = daemon.get('/v1/status')
    assert answer.status_code == 200, answer.text
    told = answer.json()['server']
    assert told['up'] and not told['answers'] and told['pool']['in_use'] == 1
    assert told['pool']['timeouts'] >= 1
    first.join()
    blocker.join()
    assert statuses[0] in (200, 201)
    assert daemon.append('order-2', 2).status_code in (200, 201)


def warnings_of(daemon):
    return daemon.get('/v1/status').json()['server'].get('warnings', '')


def test_pools_that_do_not_fit_are_warned_of(make, make_postgresql):
    """S4-69: all pools of all daemons count, in whichever database."""
    server = make_postgresql(max_connections='50', work_mem='1MB')  # 3 of them reserved
    one = make(None, 'a', POOL % (server.url(), 25)).start()
    assert 'event=capacity' not in one.log() and warnings_of(one) == ''
    other = make(None, 'b', POOL % (server.url(database=server.database()), 21)).start()
    wire.wait_for(lambda: 'event=capacity' in other.log(), 20)
    for daemon in (one, other):
        assert 'may open 48 connections, and the server allows 47' in warnings_of(daemon)
    other.stop()
    wire.wait_for(lambda: warnings_of(one) == '', 20)
    searching = POOL.replace('stores:', """stores:
  search: {driver: postgresql, url: '%s', pool: {max: 20, min: 0}}""").replace(
        'order}', 'order, search: {fields: [text]}}')
    make(None, 'c', searching % (server.url(), server.url(), 2)).start(key=one.key)
    wire.wait_for(lambda: 'may open 50 connections' in warnings_of(one), 20)


def test_memory_that_does_not_fit_is_warned_of(make, make_postgresql):
    """D16, S4-72"""
    server = make_postgresql(max_connections='200', work_mem='50MB', effective_cache_size='6GB')
    daemon = make(None, 'a', POOL % (server.url(), 20)).start()
    wire.wait_for(lambda: 'event=capacity' in daemon.log(), 20)
    assert '200 connections with work_mem 50 MiB may take 10000 MiB' in warnings_of(daemon)


def test_a_lost_answer_is_told_over_http(make, postgresql, make_proxy):
    proxy = make_proxy(postgresql.app.parts.port)
    name = postgresql.database()
    daemon = make(postgresql.url(database=name, port=proxy.port), 'a').start()
    postgresql.sql("""CREATE FUNCTION poly.stop_here() RETURNS trigger LANGUAGE plpgsql AS
        $$BEGIN PERFORM pg_sleep(1); RETURN NEW; END$$;
        CREATE CONSTRAINT TRIGGER late AFTER INSERT ON poly.log DEFERRABLE INITIALLY DEFERRED
        FOR EACH ROW EXECUTE FUNCTION poly.stop_here()""", database=name)
    answers = []

    def committing():
        return int(postgresql.sql(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event = 'PgSleep' AND datname ="
            " current_database()", database=name))

    for headers in ({}, {'Idempotency-Key': 'k'}):
        wire.wait_for(lambda: committing() == 0, 20)  # the backend before has not seen the reset
        thread = threading.Thread(
            target=lambda: answers.append(daemon.append('order-1', 1, headers=headers)))
        thread.start()
        wire.wait_for(committing, 20)
        proxy.reset()
        thread.join()
    assert answers[0].status_code == 503
    assert answers[0].json()['outcome'] == 'unknown'
    assert answers[1].status_code in (200, 201), answers[1].text
    wire.wait_for(lambda: postgresql.sql('SELECT count(*) FROM poly.log', database=name) == '2', 20)


VECTORS = """
stores: {relational: {driver: postgresql, url: '%s'}}
domains:
  items: {table: items, tenant: none, vector: {field: at, dimensions: 2, model: old}}
"""


def nearest(daemon, vector, token=None):
    headers = {} if token is None else {'Polystore-Token': token}
    return daemon.post('/v1/vectors/search', headers=headers, json={
        'domain': 'items', 'vector': vector, 'limit': 1000, 'vectors': True}, timeout=60)


def test_a_change_of_model_is_known_at_all_daemons(make, postgresql):
    """S0-49: each answer is wholly of one model while another daemon swaps and goes back; a write
    that was taken for one of the old model does not get in under the new one."""
    database = postgresql.database()
    postgresql.sql('CREATE TABLE items(id text PRIMARY KEY, at bytea)', database=database, admin=False)
    url = postgresql.url(database=database)
    one = make(url, 'a', VECTORS % url).start()
    other = make(url, 'b', VECTORS % url).start(key=one.key)
    for n in range(20):
        answer = one.request('PUT', '/v1/records/items/%d' % n, json={'at': [1, n]})
        assert answer.status_code == 200, answer.text
    assert one.post('/v1/vectors/models/items', json={'model': 'new', 'dimensions': 2}).status_code == 200
    answer = other.post('/v1/vectors/models/items/vectors', json={'vectors': [
        {'key': str(n), 'vector': [-1, -n]} for n in range(20)]})
    assert answer.json() == {'taken': 20, 'unknown': 0, 'stale': 0}
    stop, wrong, seen, refused = threading.Event(), [], set(), []

    def search(daemon):
        while not stop.is_set():
            answer = nearest(daemon, [1, 1])
            if answer.status_code == 400 and 'has just been changed' in answer.text:
                continue
            if answer.status_code != 200:
                wrong.append(answer.text)
                continue
            found = answer.json()['matches']
            signs = {m['vector'][0] > 0 for m in found if m['key'] != 'w'}
            if len(signs) != 1 or len([m for m in found if m['key'] != 'w']) != 20:
                wrong.append(answer.text)
            seen.update((daemon is one, sign) for sign in signs)

    def write(daemon, model):
        while not stop.is_set():
            answer = daemon.request('PUT', '/v1/records/items/w', params={'model': model},
                                    json={'at': [1, 1] if model == 'old' else [-1, -1]})
            if answer.status_code in (400, 412):
                refused.append(model)
            elif answer.status_code != 200:
                wrong.append(answer.text)

    threads = [threading.Thread(target=search, args=(daemon,)) for daemon in (one, other, other)]
    threads += [threading.Thread(target=write, args=(other, model)) for model in ('old', 'new')]
    for thread in threads:
        thread.start()
    try:
        for back, sign in ((False, False), (True, True), (True, False)):
            answer = one.post('/v1/vectors/models/items/swap', timeout=60,
                              json={'back': back, 'drop_missing': True})
            assert answer.status_code == 200, answer.text
            seen.clear()
            wire.wait_for(lambda: {(True, sign), (False, sign)} <= seen or wrong, 30)
    finally:
        stop.set()
        for thread in threads:
            thread.join()
    assert wrong == []
    assert set(refused) == {'old', 'new'}
    # The record that was written all the time is of the model that its vector says.
    row = one.get('/v1/records/items/w').json()['row']
    assert row['at'] in (None, [-1, -1]), row
    assert nearest(other, [1, 1, 1]).status_code == 400
