"""What a daemon says of itself and of its PostgreSQL, most of all when that is away."""
import os
import re
import subprocess
import threading

import pytest

from test_daemons import CONFIG, Daemon, folder, make, wire  # noqa: F401: fixtures


POLYSTORE = os.path.join(os.path.dirname(os.path.dirname(wire.POLYSTORED)), 'cli', 'polystore')


def start(make, server, config=CONFIG):
    daemon = make(None, 'a', config % server.url(database=server.database())).start()
    answer = daemon.append('order-1', 1)
    token = {'Polystore-Token': answer.headers['Polystore-Token']}
    assert daemon.get('/v1/search', params={'q': 'number1'}, headers=token).status_code == 200
    return daemon


@pytest.mark.parametrize('leave,come_back', [('stop', 'start'), ('pause', 'resume')])
def test_the_status_answers_while_the_server_is_away(make, make_postgresql, leave, come_back):
    """S4-83"""
    server = make_postgresql()
    daemon = start(make, server)
    never_used, revoked = daemon.make_key(rights=['read'])[0], daemon.make_key(rights=['read'])
    assert daemon.get('/v1/status', key=revoked[0]).status_code == 200
    assert daemon.request('DELETE', '/v1/keys/' + revoked[0].split('_')[1]).status_code == 204
    before = daemon.get('/v1/status').json()
    assert before['server']['up'] and before['server']['answers'] and before['state'] == 'ok'
    assert daemon.get('/ready').status_code == 200

    getattr(server, leave)()
    wire.wait_for(lambda: daemon.get('/ready').status_code == 503, 30)
    ready = daemon.get('/ready').json()
    assert not ready['ready'] and ready['state'] == 'unreachable' and ready['writes_refused']
    assert 'cannot be reached since' in ready['reason'], ready
    assert daemon.get('/live').status_code == 200
    answer = daemon.get('/v1/status')
    assert answer.status_code == 200, answer.text
    status = answer.json()
    assert status['state'] == 'unreachable' and status['last_error'], status
    assert status['head'] == before['head']
    projection, = status['projections']
    assert projection['applied'] == before['head'] and projection['documents'] == 1
    told = status['server']
    assert not told['up'] and not told['answers'] and told['unreachable_since'] > told['sampled']
    assert told['pool']['max'] == 20
    assert told['log_bytes'] == before['server']['log_bytes']  # as it was when it was sampled
    said = subprocess.run([POLYSTORE, '--config', daemon.config, '--data', daemon.data, 'status'],
                          capture_output=True, text=True, timeout=60)
    assert said.returncode == 9, said
    for words in ('state     unreachable', 'cannot be reached since', 'refuses   writes'):
        assert words in said.stdout, said.stdout
    for path in ('/v1/streams/order-1', '/v1/status'):  # refused, without asking, once that is known
        wire.wait_for(lambda: 'keeps the log cannot be reached' in daemon.get(
            path, key=never_used).text, 10)
        assert daemon.get(path, key=never_used).status_code == 503
    assert daemon.get('/v1/status', key=revoked[0]).status_code in (401, 503)

    # Nobody asks the server that is away: each of these would take a connection, or several.
    first = daemon.metrics()
    assert first['polystore_server_up'] == 0 and first['polystore_server_answers'] == 0
    assert first['polystore_state{state="unreachable"}'] == 1
    assert first['polystore_log_head_position'] == before['head']
    for _ in range(100):
        last = daemon.metrics()
    asked = last['polystore_server_pool_taken'] - first['polystore_server_pool_taken']
    assert asked < 50, asked

    getattr(server, come_back)()
    wire.wait_for(lambda: daemon.get('/ready').status_code == 200, 60)
    assert daemon.append('order-1', 2).status_code in (200, 201)
    wire.wait_for(lambda: daemon.get('/v1/status').json()['state'] == 'ok', 60)
    status = daemon.get('/v1/status').json()
    assert status['server']['up'] and status['server']['answers']
    assert 'unreachable_since' not in status['server'] and not status['writes_refused']
    assert daemon.metrics()['polystore_server_up'] == 1
    assert daemon.get('/v1/status', key=revoked[0]).status_code == 401


def blocked_append(server, database, daemon, seconds):
    """An append that takes so long, because somebody has the log."""
    blocker = threading.Thread(target=lambda: server.sql(
        'LOCK TABLE poly.log IN EXCLUSIVE MODE; SELECT pg_sleep(%f)' % seconds, database))
    blocker.start()
    wire.wait_for(lambda: server.sql("SELECT count(*) FROM pg_locks WHERE mode = 'ExclusiveLock'"
                                     " AND relation = 'poly.log'::regclass", database) == '1', 60)
    assert daemon.append('order-1', 1).status_code in (200, 201)
    blocker.join()


def server_of(daemon):
    return daemon.get('/v1/status').json()['server']


def test_slow_statements_of_our_own(make, make_postgresql):
    """S3-72, where the server does not measure it"""
    server = make_postgresql()
    database = server.database()
    daemon = make(None, 'a', CONFIG % server.url(database=database)).start()
    assert (server_of(daemon)['slow_statements'], server_of(daemon)['slow_source']) \
        == (0, 'polystore')
    blocked_append(server, database, daemon, 2.5)
    wire.wait_for(lambda: server_of(daemon)['slow_statements'] > 0, 20)
    assert daemon.metrics()['polystore_server_slow_statements'] > 0
    for n in range(50):  # the mean comes down
        daemon.append('order-1', n)
    assert server_of(daemon)['slow_statements'] == 0


@pytest.mark.parametrize('release', ['postgresql15', 'postgresql17', 'postgresql18'])
def test_slow_statements_of_everybody(make, make_postgresql, release):
    """S3-72"""
    server = make_postgresql(release, shared_preload_libraries='pg_stat_statements')
    database = server.database()
    server.sql('CREATE EXTENSION pg_stat_statements', database)
    daemon = make(None, 'a', CONFIG % server.url(database=database)).start()
    assert (server_of(daemon)['slow_statements'], server_of(daemon)['slow_source']) \
        == (0, 'pg_stat_statements')
    server.sql('SELECT pg_sleep(1.1)', database)
    assert server_of(daemon)['slow_statements'] == 1
    server.sql('SELECT pg_sleep(1.1)', server.database())  # not of this database
    assert server_of(daemon)['slow_statements'] == 1


def test_numbers_of_the_server(make, make_postgresql):
    """S3-71, S3-72, S3-73, S3-74"""
    server = make_postgresql()
    standby = server.standby()
    standby.wait_streaming(server)
    database = server.database()
    server.sql('GRANT pg_monitor TO app')
    daemon = make(None, 'a', CONFIG % server.url(database=database)).start()
    daemon.append('order-1', 1)
    first = server_of(daemon)
    sleeper = threading.Thread(target=lambda: server.sql('SELECT pg_sleep(4)', database))
    sleeper.start()
    wire.wait_for(lambda: server_of(daemon)['connections_active'] >= 2, 20)  # and who asks
    wire.wait_for(lambda: server_of(daemon)['long_running'] == 1, 20)
    sleeper.join()
    server.sql('CREATE TABLE t AS SELECT n, repeat(n::text, 50) FROM generate_series(1, 20000) n',
               database)
    for n in range(200):
        daemon.append('order-%d' % n, n)
    last = server_of(daemon)
    assert last['long_running'] == 0
    assert last['tables_bytes'] > first['tables_bytes'] + 1000000
    assert last['log_bytes'] > first['log_bytes']
    assert last['sampled'] > first['sampled']
    assert 0 < last['hit_ratio'] <= 1
    assert last['connections_max'] == 100
    assert last['replicas'] == 1

    standby.pause()
    server.sql('INSERT INTO t SELECT * FROM t', database)
    standby.resume()
    standby.wait_replayed(server.position())
    wire.wait_for(lambda: server_of(daemon)['replica_lag_seconds'] > 0, 30)


def test_the_hit_ratio_of_nothing_read(make, make_postgresql):
    """S3-73: no data is neither good nor bad."""
    server = make_postgresql(track_counts='off')
    database = server.database()
    daemon = make(None, 'a', CONFIG % server.url(database=database)).start()
    told = server_of(daemon)
    assert told['answers'] and 'hit_ratio' not in told, told
    assert 'polystore_server_hit_ratio' not in daemon.metrics()


SEARCH = """
stores:
  relational: {driver: postgresql, url: '%s'}
  search: {driver: postgresql, url: '%s', pool: {max: 3, min: 0}}
domains:
  orders: {stream: order, search: {fields: [text]}}
"""


def test_search_on_a_server_has_its_pool_and_prepares(make, make_postgresql):
    """S3-66: the numbers of each pool; a search of one form is prepared once for each connection."""
    server = make_postgresql(log_min_duration_statement='0')
    url = server.url(database=server.database())
    daemon = start(make, server, SEARCH % (url, '%s'))
    for n in range(20):
        found = daemon.get('/v1/search', params={'q': 'number1 OR word%d' % n, 'limit': n + 1})
        assert found.status_code == 200 and len(found.json()['hits']) == 1, found.text
    projection, = daemon.get('/v1/status').json()['projections']
    pool = projection['pool']
    assert pool['max'] == 3 and 1 <= pool['open'] <= 3 and pool['taken'] >= 20
    label = '{store="search",driver="postgresql"}'
    metrics = daemon.metrics()
    assert metrics['polystore_projection_pool_max' + label] == 3
    assert metrics['polystore_projection_pool_taken' + label] >= 20
    assert metrics['polystore_projection_pool_wait_seconds' + label] >= 0
    log = server.log()
    executed = len(re.findall(r'execute poly\d+: WITH hits', log))
    assert executed >= 20 and 'execute <unnamed>: WITH hits' not in log
    assert 1 <= len(re.findall(r'parse poly\d+: WITH hits', log)) <= 3


@pytest.mark.parametrize('leave,come_back', [('stop', 'start'), ('pause', 'resume')])
def test_the_status_answers_while_the_server_of_search_is_away(make, make_postgresql, leave,
                                                               come_back):
    """S4-83: the store that is away is named, and what it had last is told."""
    server, other = make_postgresql(), make_postgresql()
    daemon = start(make, server, SEARCH % ('%s', other.url()))
    assert daemon.get('/v1/status').json()['projections'][0]['documents'] == 1
    getattr(other, leave)()
    wire.wait_for(lambda: daemon.get('/ready').status_code == 503, 60)
    assert daemon.get('/ready').json()['reason'] == 'search: retrying'
    status = daemon.get('/v1/status').json()
    projection, = status['projections']
    assert status['server']['up'] and status['state'] == projection['state'] == 'retrying'
    assert projection['documents'] == 1 and projection['error'], projection
    assert daemon.metrics()['polystore_server_up'] == 1
    assert daemon.append('order-1', 2).status_code in (200, 201)
    getattr(other, come_back)()
    wire.wait_for(lambda: daemon.get('/ready').status_code == 200, 60)
    wire.wait_for(lambda: daemon.get('/v1/status').json()['projections'][0]['documents'] == 2, 60)
