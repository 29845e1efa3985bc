"""Named limits, and clients that are slow, silent, or many."""
import select
import socket
import threading
import time

import pytest
import requests

from conftest import Daemon, sanitized, wait_for
from test_http_auth import problem


def connect(daemon):
    return socket.create_connection(('127.0.0.1', daemon.port), timeout=20)


def read_all(connection):
    """Everything until the daemon closes; how long that took."""
    started, got = time.monotonic(), b''
    try:
        while True:
            piece = connection.recv(65536)
            if not piece:
                break
            got += piece
    except ConnectionResetError:
        pass
    return got, time.monotonic() - started


def head(daemon, method='GET', path='/v1/status', *more):
    lines = ['%s %s HTTP/1.1' % (method, path), 'Host: x', 'Authorization: Bearer ' + daemon.key]
    return '\r\n'.join(lines + list(more)).encode() + b'\r\n\r\n'


@pytest.fixture(scope='module')
def small(tmp_path_factory):
    config = 'limits: {body: 64KiB, request_timeout: 2s, rows: 50}\n'
    with Daemon(str(tmp_path_factory.mktemp('small')), config).start() as one:
        yield one
        one.stop()


def test_body_with_a_length(small):
    text = {'text': 'x' * 70_000}
    body = problem(small.put('/v1/records/notes/1', json=text), 413)
    assert 'limits.body' in body['detail']


def test_body_in_chunks(small):
    def pieces():
        for _ in range(80):
            yield b'x' * 1024
    answer = small.put('/v1/records/notes/1', data=pieces())
    problem(answer, 413)
    assert small.get('/live').status_code == 200


def test_body_without_end(small):
    with connect(small) as connection:
        connection.sendall(head(small, 'PUT', '/v1/records/notes/1', 'Transfer-Encoding: chunked'))
        with pytest.raises(OSError):
            for _ in range(10000):
                connection.sendall(b'1000\r\n' + b'x' * 4096 + b'\r\n')


def test_headers(small):
    answer = small.get('/live', headers={'X-Large': 'x' * 17_000})
    assert answer.status_code == 431
    answer = small.get('/live', headers={'X-Large': 'x' * 100_000})
    assert answer.status_code == 431
    answer = small.get('/v1/records/notes/' + 'x' * 100_000)
    assert answer.status_code in (414, 431)


def test_rows(small):
    assert small.get('/v1/records/notes?limit=50').status_code == 200
    assert 'limits.rows' in problem(small.get('/v1/records/notes?limit=51'), 429)['detail']


def test_slow_and_silent_clients_are_dropped(small):
    """Each trickles bytes, which must buy no time: 2 s are given."""
    def trickle(first, size):
        connection = connect(small)
        connection.sendall(first)
        started = time.monotonic()
        try:
            for _ in range(size):
                time.sleep(0.25)
                connection.sendall(b'x')
                if time.monotonic() - started > 15:
                    break
            read_all(connection)
        except OSError:
            pass
        took[first[:20]] = time.monotonic() - started
        connection.close()
    took = {}
    body = head(small, 'PUT', '/v1/records/notes/1', 'Content-Length: 1000')
    cases = [(b'GET /live HTT', 1000), (b'GET /live HTTP/1.1\r\nX: ', 1000), (body, 999), (b'', 0),
             (b'GE', 0)]
    threads = [threading.Thread(target=trickle, args=case) for case in cases]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(took) == len(cases)
    assert all(1 < seconds < 15 for seconds in took.values()), took


def test_many_connections_wait_for_room(make):
    """More than limits.connections are not refused: they are served when others close."""
    daemon = make('limits: {connections: 16}\n').start()
    held = [connect(daemon) for _ in range(64)]
    for connection in held:
        connection.sendall(b'GET /live HTTP/1.1\r\nHost: x\r\n\r\n')
    waiting = list(held)
    while waiting:
        ready = select.select(waiting, [], [], 20)[0]
        assert ready, '%d were never served' % len(waiting)
        assert len(ready) <= 16
        for connection in ready:
            assert connection.recv(65536).startswith(b'HTTP/1.1 200 ')
            connection.close()
            waiting.remove(connection)
    wait_for(lambda: daemon.get('/live').status_code == 200, 60)
    daemon.stop()


def test_rate_of_a_tenant(make):
    daemon = make('limits: {rate_per_tenant: 3}\n').start()
    loud, _ = daemon.make_key(label='loud', tenant='loud', rights=['read'])
    calm, _ = daemon.make_key(label='calm', tenant='calm', rights=['read'])
    codes = [daemon.get('/v1/status', key=loud) for _ in range(60)]
    refused = [answer for answer in codes if answer.status_code == 429]
    assert refused and codes[0].status_code == 200
    assert int(refused[0].headers['Retry-After']) >= 1
    assert 'limits.rate_per_tenant' in problem(refused[0], 429)['detail']
    assert daemon.get('/v1/status', key=calm).status_code == 200
    assert daemon.get('/live').status_code == 200
    wait_for(lambda: daemon.get('/v1/status', key=loud).status_code == 200, 60)
    daemon.stop()


@pytest.mark.parametrize('text', [
    b'\x00\x01\x02\r\n\r\n', b'GET\r\n\r\n', b'GET / HTTP/9.9\r\n\r\n', b'\r\n\r\n\r\n',
    b'GET /live HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n',
    b'GET /live HTTP/1.1\r\nHost: x\r\nContent-Length: 99999999999999999999\r\n\r\n',
    b'POST /v1/sql HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n',
    b'GET /%zz HTTP/1.1\r\nHost: x\r\n\r\n', b'GET /live?a=%00 HTTP/1.1\r\nHost: x\r\n\r\n',
    b'G' * 30000])
def test_nonsense_harms_nobody(small, text):
    with connect(small) as connection:
        try:
            connection.sendall(text)
            connection.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # it has been closed already
        answer, _ = read_all(connection)
    assert answer == b'' or answer.split(b' ')[1][:1] in (b'4', b'5', b'2')
    assert small.get('/live').status_code == 200


def test_pipelined_requests_are_answered_in_order(small):
    with connect(small) as connection:
        connection.sendall(head(small, 'GET', '/live') + head(small, 'GET', '/v1/nowhere') +
                           head(small, 'GET', '/live', 'Connection: close'))
        answer, _ = read_all(connection)
    assert [part[:3] for part in answer.split(b'HTTP/1.1 ')[1:]] == [b'200', b'404', b'200']


def test_reader_that_stops_holds_little_memory(make):
    daemon = make().start()
    events = [{'type': 'Filler', 'data': {'text': 'x' * 1000}}] * 1000
    for _ in range(20):
        assert daemon.post('/v1/streams/filler-1', json={'events': events}).status_code == 200
    before = daemon.metrics()['process_resident_memory_bytes']
    held = []
    for _ in range(12):
        connection = connect(daemon)
        connection.sendall(head(daemon, 'GET', '/v1/log/export'))
        held.append(connection)
    time.sleep(1)
    now = daemon.metrics()
    # each has a reader's cache of 4 MiB, and what is on its way
    assert now['process_resident_memory_bytes'] - before < 72 << 20 or sanitized()
    assert daemon.put('/v1/records/notes/1', json={'text': 'x'}).status_code == 200
    for connection in held:
        connection.close()
    wait_for(lambda: daemon.metrics()['polystore_http_in_flight'] == 1, 60)
    daemon.stop()


def stop_reading(daemon, count):
    """So many clients that ask for much and take nothing but the status: them, and what it was."""
    held = []
    for _ in range(count):
        held.append(socket.socket())
        held[-1].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        held[-1].settimeout(60)
        held[-1].connect(('127.0.0.1', daemon.port))
        held[-1].sendall(head(daemon, 'GET', '/v1/log/export'))
    return held, [one.recv(12, socket.MSG_WAITALL)[9:] for one in held]


def test_readers_that_stop_hold_up_nobody(make):
    """More of them than there are workers: others still get theirs. More than there may be
    senders: all the others are told so. Each has its answer before the next thing is asked, or
    that would be among those that find room."""
    daemon = make().start()
    events = [{'type': 'Filler', 'data': {'text': 'x' * 1000}}] * 1000
    for _ in range(12):
        assert daemon.post('/v1/streams/filler-1', json={'events': events}).status_code == 200
    held, codes = stop_reading(daemon, 40)
    assert codes == [b'200'] * 40
    for path in ('/v1/records/notes', '/v1/search?q=x', '/v1/log?limit=2000'):
        assert daemon.get(path).status_code == 200
    assert daemon.post('/v1/sql', json={'sql': 'SELECT 1'}).status_code == 200
    more, codes = stop_reading(daemon, 40)
    assert sorted(codes) == [b'200'] * 24 + [b'429'] * 16
    assert 'POLY_MAX_SENDERS' in problem(daemon.get('/v1/log/export'), 429)['detail']
    assert daemon.post('/v1/sql', json={'sql': 'SELECT 1'}).status_code == 200
    for connection in held + more:
        connection.close()
    wait_for(lambda: daemon.get('/v1/log/export').status_code == 200, 60)
    daemon.stop()
