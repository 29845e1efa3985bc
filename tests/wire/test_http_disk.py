"""A disk that is full, and one that cannot sync, under the daemon (S2-29)."""
import os
import socket
import subprocess

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
        wait_for(lambda: daemon.metrics()['polystore_http_in_flight'] >= 2, 10)

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
    wait_for(lambda: 'event=stop' in daemon.log(), 10)
    slow.finish()
    assert slow.status() == 503
    assert daemon.process.wait(timeout=20) == 9
    daemon.stop(9)
