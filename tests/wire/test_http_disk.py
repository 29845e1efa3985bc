"""A disk that is full, slow, cannot sync, or is locked, under the daemon (S2-29)."""
import os
import select
import socket
import sqlite3
import subprocess
import time

import pytest
import requests

from conftest import ROOT, sanitized, wait_for
from test_http_auth import problem

MODULE = os.environ.get('DISK_FAULT_SO', os.path.join(ROOT, 'build/tests/lib/disk_fault.so'))
needs_preload = pytest.mark.skipif(sanitized(), reason='a sanitizer wants to be loaded first')


class Disk:
    """The disk below a daemon's data: full(), fails() and good() again."""

    def __init__(self, folder):
        self.control = os.path.join(folder, 'fault')
        self.environment = {'LD_PRELOAD': MODULE, 'DISK_FOLDER': os.path.join(folder, 'data'),
                            'DISK_FAULT': self.control}

    def _say(self, fault):
        with open(self.control + '.new', 'w') as file:
            file.write(fault)
        os.replace(self.control + '.new', self.control)

    def full(self):
        self._say('full')

    def fails(self):
        self._say('sync')

    def waits(self):
        """A sync lasts until good()."""
        self._say('wait')

    def await_sync(self):
        wait_for(lambda: os.path.exists(self.control + '.waits'), 60)
        os.unlink(self.control + '.waits')

    def good(self):
        os.unlink(self.control)


class SmallDisk:
    """A file system that is really full."""
    environment = None

    def __init__(self, folder):
        self.data = os.path.join(folder, 'data')
        os.mkdir(self.data)
        made = subprocess.run(['mount', '-t', 'tmpfs', '-o', 'size=4m', 'tmpfs', self.data],
                              capture_output=True, text=True)
        if made.returncode != 0:
            pytest.skip('no tmpfs can be mounted here: %s' % made.stderr.strip())
        self.filler = os.path.join(self.data, 'filler')

    def full(self):
        with open(self.filler, 'wb', buffering=0) as file:
            try:
                while file.write(bytes(4096)) > 0:
                    pass
            except OSError:
                pass

    def good(self):
        os.unlink(self.filler)

    def gone(self):
        subprocess.run(['umount', self.data], check=True)


def put(daemon, key):
    return daemon.put('/v1/records/notes/%d' % key, json={'text': 'word%d ' % key + 'x' * 2000})


def reads_go_on(daemon, count):
    """Exactly what was acknowledged, in the table and in the search."""
    for key in (0, count - 1):
        assert daemon.get('/v1/records/notes/%d' % key).status_code == 200
    keys = daemon.get('/v1/records/notes?limit=1000').json()['documents']
    assert len(keys) == count
    found = daemon.get('/v1/search?q=word%d' % (count - 1))
    assert [hit['key'] for hit in found.json()['hits']] == [str(count - 1)]


@pytest.mark.parametrize('kind', [
    pytest.param(Disk, marks=needs_preload), SmallDisk], ids=['injected', 'real'])
def test_a_full_disk_is_refused_and_passes(make, folder, request, kind):
    disk = kind(folder)
    if kind is SmallDisk:
        request.addfinalizer(disk.gone)
    daemon = make().start(env=disk.environment)
    taken = 0
    while taken < 5:
        assert put(daemon, taken).status_code == 200
        taken += 1
    disk.full()
    answer = put(daemon, taken)
    while answer.status_code == 200:  # what was reserved ahead is still used up
        taken += 1
        assert taken < 1000
        answer = put(daemon, taken)
    said = problem(answer, 503)
    assert 'disk is full' in said['detail'] and int(answer.headers['Retry-After']) >= 1
    for _ in range(20):
        assert put(daemon, taken).status_code == 503
    events = [{'type': 'Large', 'data': 'y' * 1000000}]
    problem(daemon.post('/v1/streams/s-1', json={'events': events}), 503)
    reads_go_on(daemon, taken)

    status = daemon.get('/v1/status').json()
    assert status['state'] == 'retrying' and status['writes_refused']
    assert 'disk is full' in status['last_error']
    ready = daemon.get('/ready', key='')
    assert ready.status_code == 200 and ready.json()['writes_refused']
    metrics = daemon.metrics()
    assert metrics['polystore_writes_refused'] == 1
    assert metrics['polystore_state{state="retrying"}'] == 1

    disk.good()  # and nobody restarts anything
    assert put(daemon, taken).status_code == 200
    reads_go_on(daemon, taken + 1)
    status = daemon.get('/v1/status').json()
    assert status['state'] == 'ok' and not status['writes_refused']
    assert daemon.get('/ready', key='').json() == {'ready': True, 'writes_refused': False,
                                                   'state': 'ok'}
    verified = daemon.post('/v1/log/verify').json()
    assert not verified.get('bad_position')
    daemon.stop()
    daemon.start(migrate=False)
    reads_go_on(daemon, taken + 1)
    daemon.stop()


@needs_preload
def test_after_a_failed_sync_it_stops(make, folder):
    disk = Disk(folder)
    daemon = make().start(env=disk.environment)
    for key in range(5):
        assert put(daemon, key).status_code == 200
    stream = requests.get(daemon.url + '/v1/subscribe', stream=True, timeout=30,
                          headers={'Authorization': 'Bearer ' + daemon.key})
    disk.fails()
    problem(put(daemon, 5), 503)
    assert daemon.process.wait(timeout=20) == 9
    for _ in stream.iter_lines():
        pass  # it ends, and is not cut
    log = daemon.log()
    assert 'event=log_failed' in log and 'event=stop' in log
    daemon.stop(9)
    disk.good()

    daemon.start(migrate=False)
    there = len(daemon.get('/v1/records/notes?limit=100').json()['documents'])
    assert there in (5, 6)  # the last one was not acknowledged: there or not, but whole
    assert put(daemon, there).status_code == 200
    reads_go_on(daemon, there + 1)
    assert not daemon.post('/v1/log/verify').json().get('bad_position')
    daemon.stop()


class Upload:
    """A PUT whose body comes late."""

    def __init__(self, daemon):
        self.socket = socket.create_connection(('127.0.0.1', daemon.port), timeout=20)
        self.socket.sendall(b'PUT /v1/records/notes/9 HTTP/1.1\r\nHost: x\r\nContent-Length: 12\r\n'
                            b'Authorization: Bearer %s\r\n\r\n' % daemon.key.encode())
        wait_for(lambda: daemon.metrics()['polystore_http_in_flight'] >= 2, 60)

    def finish(self):
        self.socket.sendall(b'{"text":"x"}')

    def status(self):
        answer = self.socket.recv(65536)
        self.socket.close()
        return int(answer.split()[1])


@needs_preload
def test_what_was_under_way_is_refused_too(make, folder):
    """Though the disk would do it again: nobody can know what is on it."""
    disk = Disk(folder)
    daemon = make().start(env=disk.environment)
    for key in range(5):
        assert put(daemon, key).status_code == 200
    slow = Upload(daemon)
    disk.fails()
    problem(put(daemon, 5), 503)
    disk.good()
    wait_for(lambda: 'event=stop' in daemon.log(), 60)
    slow.finish()
    assert slow.status() == 503
    assert daemon.process.wait(timeout=20) == 9
    daemon.stop(9)


class Client:
    """A connection that stays, and with it the polling thread that serves it."""

    def __init__(self, daemon):
        self.key = daemon.key
        self.socket = socket.create_connection(('127.0.0.1', daemon.port), timeout=60)

    def send(self, method, path, body=b''):
        self.socket.sendall(b'%s %s HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer %s\r\n'
                            b'Content-Length: %d\r\n\r\n%s' % (
                                method.encode(), path.encode(), self.key.encode(), len(body), body))

    def put(self, key):
        self.send('PUT', '/v1/records/notes/%d' % key, b'{"text":"x"}')

    def status(self):
        """Of the answer, which is read to its end."""
        got = b''
        while b'\r\n\r\n' not in got:
            got += self.socket.recv(65536)
        head, _, body = got.partition(b'\r\n\r\n')
        length = next(int(line.split(b':')[1]) for line in head.split(b'\r\n')
                      if line.lower().startswith(b'content-length:'))
        while len(body) < length:
            body += self.socket.recv(65536)
        return int(head.split()[1])

    def waits(self):
        return not select.select([self.socket], [], [], 0)[0]


def connect_many(daemon):
    """So many that each polling thread has several of them."""
    clients = [Client(daemon) for _ in range(12)]
    assert serves(clients)
    return clients


def serves(clients):
    """Do all get answers, one after the other?"""
    for client in clients:
        client.send('GET', '/v1/records/notes/none')
        if client.status() != 404:
            return False
    return True


def test_another_programs_lock_holds_up_nobody(make):
    """Not even those whose connection has the same thread as the one that writes."""
    daemon = make().start()
    other = sqlite3.connect(os.path.join(daemon.data, 'polystore.db'), isolation_level=None)
    clients = connect_many(daemon)
    for number, writer in enumerate(clients[:6]):
        other.execute('BEGIN IMMEDIATE')
        writer.put(number)
        assert serves([client for client in clients if client is not writer])
        assert writer.waits()
        other.execute('ROLLBACK')
        assert writer.status() == 200
    other.close()
    daemon.stop()


@needs_preload
def test_a_slow_disk_holds_up_others_once(make, folder):
    """A write may be made on the thread that serves others, but not while syncs take long."""
    disk = Disk(folder)
    daemon = make().start(env=disk.environment)
    clients = connect_many(daemon)
    writer = clients[0]
    for number in range(3):  # the first or the second is made there
        disk.waits()
        writer.put(number)
        disk.await_sync()
        time.sleep(0.1)  # that is long for a sync
        disk.good()
        assert writer.status() == 200
    disk.waits()
    writer.put(3)
    disk.await_sync()
    assert serves(clients[1:])
    assert writer.waits()
    disk.good()
    assert writer.status() == 200
    daemon.stop()
