"""A standby takes over that had not received everything: what is lost is never taken for what came
after it, and nobody goes on showing it (S3-17, S2-29)."""
import os
import subprocess

import pytest

from test_daemons import Daemon, folder, make, wire  # noqa: F401: fixtures

CONFIG = """
stores:
  relational: {driver: postgresql, url: '%s'}%s
domains:
  orders: {stream: order, search: {fields: [text]}}
"""
VECTORS = """
stores:
  relational: {driver: postgresql, url: '%s'}%s
domains:
  orders: {stream: order, vector: {field: place, dimensions: 2, metric: l2}}
"""
ON_A_SERVER = """
  search: {driver: postgresql, url: '%s'}"""


def append(daemon, stream, n):
    answer = daemon.append(stream, n)
    assert answer.status_code in (200, 201), answer.text
    return answer.headers['Polystore-Token']


def find(daemon, words, token=None):
    head = {} if token is None else {'Polystore-Token': token}
    return daemon.get('/v1/search', params={'q': words, 'limit': 100}, headers=head)


def hits(daemon, words, token=None):
    found = find(daemon, words, token)
    assert found.status_code == 200, found.text
    return len(found.json()['hits'])


class Place:
    """A primary, a standby that is no synchronous one, and a daemon that knows both."""

    def __init__(self, make, make_postgresql, make_proxy, search='', primary=None,
                 name='a', key=None, config=CONFIG):
        self.primary = primary or make_postgresql()
        self.proxy = make_proxy(self.primary.port)
        self.standby = self.primary.standby(via=('127.0.0.1', self.proxy.port))
        url = self.primary.hosts(self.standby, target_session_attrs='read-write')
        self.make, self.config = make, config % (url, search)
        self.daemon = make(None, name, self.config).start(key=key)

    def replicated(self):
        self.standby.wait_replayed(self.primary.position())

    def take_over(self):
        self.primary.kill()
        self.standby.promote()

    def status(self):
        answer = self.daemon.get('/v1/status')
        assert answer.status_code == 200, answer.text
        return answer.json()

    def follows(self, era=1):
        """The follower has looked at what it has, and is up to date."""
        wire.wait_for(lambda: self.status()['server']['era'] == era
                      and self.status()['state'] == 'ok', 60, lambda: str(self.status()))


@pytest.fixture(params=['embedded', 'postgresql'])
def place(make, make_postgresql, make_proxy, request):
    if request.param == 'embedded':
        return Place(make, make_postgresql, make_proxy)
    other = make_postgresql()
    return Place(make, make_postgresql, make_proxy, ON_A_SERVER % other.url())


def test_what_a_standby_had_not_received(place):
    daemon = place.daemon
    kept = append(daemon, 'order-1', 1)
    place.replicated()
    place.proxy.swallow('to_client')  # the standby gets no more
    lost = [append(daemon, 'order-1', n) for n in range(2, 12)]
    assert hits(daemon, 'word', lost[-1]) == 11
    generation = place.status()['projections'][0]['generation']
    place.take_over()
    place.follows()

    projection, = place.status()['projections']
    assert projection['generation'] > generation and projection['documents'] == 1, projection
    assert 'a standby took over that had not received record' in projection['error']
    assert hits(daemon, 'word') == 1 and hits(daemon, 'number1', kept) == 1
    for token in lost:
        refused = find(daemon, 'word', token)
        assert refused.status_code == 412 and 'is lost' in refused.json()['detail'], refused.text
        refused = daemon.get('/v1/streams/order-1', headers={'Polystore-Token': token})
        assert refused.status_code == 412, refused.text

    # As many again: a token of what was lost is never taken for one of these.
    found = [append(daemon, 'order-1', n) for n in range(102, 122)]
    assert hits(daemon, 'word', found[-1]) == 21
    assert all(find(daemon, 'word', token).status_code == 412 for token in lost)
    assert hits(daemon, 'number1', kept) == 1
    assert all(hits(daemon, 'number%d' % n) == 0 for n in range(2, 12))
    versions = [r['version'] for r in daemon.get('/v1/streams/order-1').json()['records']]
    assert versions == list(range(1, 22))
    wire.wait_for(lambda: place.status()['sealed'] == place.status()['head'], 60)
    assert daemon.post('/v1/log/verify').status_code in (200, 404)
    assert place.status()['projections'][0]['lag_records'] == 0


def append_place(daemon, n):
    """An event that lies at (n, 0)."""
    answer = daemon.post('/v1/streams/order-1', timeout=60, json={
        'events': [{'type': 'Happened', 'data': {'place': [n, 0]}}]})
    assert answer.status_code in (200, 201), answer.text
    return answer.headers['Polystore-Token']


def nearest(daemon, token=None):
    """The events by their places, from (0, 0) on."""
    head = {} if token is None else {'Polystore-Token': token}
    found = daemon.post('/v1/vectors/search', headers=head, json={
        'domain': 'orders', 'vector': [0, 0], 'limit': 100})
    return [round(match['distance']) for match in found.json()['matches']] \
        if found.status_code == 200 else found.status_code


@pytest.mark.parametrize('down', [False, True], ids=['running', 'down meanwhile'])
def test_a_store_that_does_not_know_its_positions(make, make_postgresql, make_proxy, down):
    """Embedded vectors cannot say which records they are of: all of them are built anew, from what the
    standby has. Saved at its end, the index of a daemon that was down is no better."""
    place = Place(make, make_postgresql, make_proxy, config=VECTORS)
    daemon = place.daemon
    kept = [append_place(daemon, n) for n in (1, 2)]
    assert nearest(daemon, kept[-1]) == [1, 2]
    place.replicated()
    place.proxy.swallow('to_client')
    lost = [append_place(daemon, n) for n in (3, 4)]
    assert nearest(daemon, lost[-1]) == [1, 2, 3, 4]
    generation = place.status()['projections'][0]['generation']
    if down:
        daemon.stop()
    place.take_over()
    if down:
        daemon.start(key=daemon.key)
    place.follows()

    assert nearest(daemon, kept[-1]) == [1, 2]
    assert all(nearest(daemon, token) == 412 for token in lost)
    projection, = place.status()['projections']
    assert projection['generation'] > generation and projection['documents'] == 2, projection
    assert 'a standby took over that may not have received record' in projection['error']
    found = [append_place(daemon, n) for n in (5, 6)]
    assert nearest(daemon, found[-1]) == [1, 2, 5, 6]
    assert all(nearest(daemon, token) == 412 for token in lost)
    generation = projection['generation']
    daemon.stop()
    daemon.start(key=daemon.key)
    assert nearest(daemon, found[-1]) == [1, 2, 5, 6]
    projection, = place.status()['projections']  # once is enough
    assert projection['generation'] == generation, projection


def test_control_without_eras(make, make_postgresql, make_proxy):
    """What the positions' jump is for: with it switched off a lost token is taken for good."""
    place = Place(make, make_postgresql, make_proxy)
    database = place.primary.app.parts.path.lstrip('/')
    place.primary.sql('CREATE OR REPLACE FUNCTION poly.era() RETURNS bigint LANGUAGE sql'
                      " AS 'SELECT 0::bigint'", database)
    append(place.daemon, 'order-1', 1)
    place.replicated()
    place.proxy.swallow('to_client')
    lost = append(place.daemon, 'order-1', 2)
    place.take_over()
    wire.wait_for(lambda: place.status()['state'] == 'ok', 60)
    for n in range(103, 203):
        last = append(place.daemon, 'order-2', n)
    assert hits(place.daemon, 'word', lost) > 0
    assert hits(place.daemon, 'number2', last) == 1  # and what is lost is still shown


def test_a_standby_that_had_all(place):
    """Tokens hold, and nothing is built anew."""
    daemon = place.daemon
    tokens = [append(daemon, 'order-1', n) for n in range(1, 6)]
    assert hits(daemon, 'word', tokens[-1]) == 5
    generation = place.status()['projections'][0]['generation']
    place.replicated()
    place.take_over()
    place.follows()
    projection, = place.status()['projections']
    assert projection['generation'] == generation and projection['documents'] == 5
    assert 'standby' not in projection.get('error', '')
    assert all(hits(daemon, 'word', token) == 5 for token in tokens)
    assert hits(daemon, 'word', append(daemon, 'order-1', 6)) == 6


def test_a_daemon_that_was_down_meanwhile(make, make_postgresql, make_proxy):
    place = Place(make, make_postgresql, make_proxy)
    kept = append(place.daemon, 'order-1', 1)
    place.replicated()
    place.proxy.swallow('to_client')
    lost = append(place.daemon, 'order-1', 2)
    assert hits(place.daemon, 'word', lost) == 2
    place.daemon.stop()
    place.take_over()
    # A stranger writes first, with nobody of ours there.
    database = place.standby.app.parts.path.lstrip('/')
    place.standby.sql("INSERT INTO poly.log(domain, key, type, version) SELECT 'orders', 'order-9',"
                      " 'Happened', n FROM generate_series(1, 50) AS n", database)
    place.daemon.start(key=place.daemon.key)
    place.follows()
    assert hits(place.daemon, 'word') == 1 and hits(place.daemon, 'number1', kept) == 1
    assert find(place.daemon, 'word', lost).status_code == 412


def test_a_server_whose_timelines_began_anew(make, make_postgresql, make_proxy):
    """A dump of a server that had taken over, restored elsewhere: the next takeover is seen, too."""
    place = Place(make, make_postgresql, make_proxy)
    append(place.daemon, 'order-1', 1)
    place.replicated()
    place.take_over()
    place.follows()
    old = append(place.daemon, 'order-1', 2)
    key = place.daemon.key
    place.daemon.stop()
    other = make_postgresql()
    dump = os.path.join(place.standby.folder, 'dump.sql')
    place.standby.run('pg_dump', '-d', place.standby.admin.url, '-f', place.standby.inside(dump))
    with open(place.standby.harness.see(dump)) as file:
        text = file.read()
    subprocess.run(['psql', '-X', '-q', '-v', 'ON_ERROR_STOP=1', '-d', other.url(admin=True)],
                   input=text, text=True, check=True, capture_output=True)
    place = Place(make, make_postgresql, make_proxy, primary=other, name='b', key=key)
    assert place.status()['server']['era'] == 1
    kept = append(place.daemon, 'order-1', 3)
    place.replicated()
    place.proxy.swallow('to_client')
    lost = append(place.daemon, 'order-1', 4)
    assert hits(place.daemon, 'word', lost) == 4
    place.take_over()
    place.follows(era=2)
    assert find(place.daemon, 'word', lost).status_code == 412
    assert hits(place.daemon, 'word', kept) == hits(place.daemon, 'word', old) == 3
