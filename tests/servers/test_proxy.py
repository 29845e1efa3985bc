"""Each fault that the proxy can make, against a server that sends back what it gets."""
import contextlib
import hashlib
import os
import socket
import subprocess
import sys
import threading
import time

import pytest

from harness import HERE, wait_for
from proxy import HELD


class Echo:
    """Sends back what it gets, and says how connections to it ended."""

    def __init__(self):
        self.listener = socket.create_server(('127.0.0.1', 0))
        self.port = self.listener.getsockname()[1]
        self.ends, self.received = [], 0
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client):
        with client:
            while True:
                try:
                    data = client.recv(65536)
                except ConnectionResetError:
                    return self.ends.append('reset')
                if not data:
                    return self.ends.append('close')
                self.received += len(data)
                try:
                    client.sendall(data)
                except OSError:
                    return self.ends.append('reset')

    def close(self):
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)  # wakes the thread
        self.listener.close()


@pytest.fixture
def echo():
    one = Echo()
    yield one
    one.close()


@pytest.fixture
def proxy(echo, make_proxy):
    return make_proxy(echo.port)


@pytest.fixture
def connect(proxy):
    made = []

    def make(timeout=30):
        made.append(socket.create_connection(('127.0.0.1', proxy.port), timeout=timeout))
        return made[-1]
    yield make
    for one in made:
        one.close()


def receive(client, size):
    data = b''
    while len(data) < size:
        more = client.recv(size - len(data))
        if not more:
            break
        data += more
    return data


def says_back(client, data=b'hello'):
    client.sendall(data)
    return receive(client, len(data)) == data


def hears_nothing(client, seconds=0.2):
    """Nothing, no end either. That more time would not help is shown by what follows in a test."""
    before = client.gettimeout()
    client.settimeout(seconds)
    try:
        client.recv(1)
    except socket.timeout:
        return True
    finally:
        client.settimeout(before)
    return False


def test_all_bytes_pass_both_ways_at_once(connect):
    client = connect()
    sent, got = os.urandom(6 * HELD), hashlib.sha256()

    def send():
        for start in range(0, len(sent), 99991):
            client.sendall(sent[start:start + 99991])
        client.shutdown(socket.SHUT_WR)
    sender = threading.Thread(target=send)
    sender.start()
    while True:
        data = client.recv(77777)
        if not data:
            break
        got.update(data)
    sender.join()
    assert got.digest() == hashlib.sha256(sent).digest()


def test_a_slow_reader_is_waited_for(connect, proxy, echo):
    client = connect()
    client.settimeout(0.5)
    with pytest.raises(socket.timeout):
        for _ in range(1000):
            client.sendall(bytes(1 << 20))
    assert proxy.passed('to_server') < 100 << 20


def test_delay(connect, proxy):
    client = connect()
    assert says_back(client)
    proxy.delay(150, 'to_client')
    start = time.monotonic()
    assert says_back(client)
    assert time.monotonic() - start >= 0.15
    proxy.delay(600000)
    client.sendall(b'late')
    assert hears_nothing(client)
    proxy.passes()
    assert receive(client, 4) == b'late'


def test_throttle(connect, proxy):
    client = connect()
    proxy.throttle(50000, 'to_client')
    start = time.monotonic()
    assert says_back(client, bytes(15000))
    assert time.monotonic() - start >= 0.25


@pytest.mark.parametrize('direction', ['to_server', 'to_client', 'both'])
def test_stalled_bytes_arrive_later(connect, proxy, echo, direction):
    client = connect()
    proxy.stall(direction)
    client.sendall(b'hello')
    assert hears_nothing(client)
    if direction == 'to_client':
        wait_for(lambda: echo.received == 5, 20)
    else:
        assert echo.received == 0
    proxy.passes()
    assert receive(client, 5) == b'hello'


def test_swallowed_bytes_never_arrive(connect, proxy, echo):
    client = connect()
    proxy.swallow('to_client')
    client.sendall(b'gone')
    wait_for(lambda: echo.received == 4, 20)
    assert hears_nothing(client)
    proxy.passes()
    assert says_back(client, b'here')


@pytest.mark.parametrize('how', ['reset', 'close', 'stall'])
def test_cut_after_exactly_that_many_bytes(connect, proxy, how):
    client = connect()
    assert says_back(client)
    proxy.cut(7, 'to_client', how)
    client.sendall(b'0123456789')
    assert receive(client, 7) == b'0123456'
    if how == 'reset':
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    elif how == 'close':
        assert client.recv(1) == b''
    else:
        assert hears_nothing(client)
        proxy.passes()
        assert receive(client, 3) == b'789'


def test_cut_holds_for_new_connections_each(connect, proxy):
    proxy.cut(3, 'to_server', 'close')
    for _ in range(2):
        client = connect()
        client.sendall(b'abc')
        with pytest.raises((ConnectionResetError, EOFError)):
            if receive(client, 4) in (b'', b'abc'):
                raise EOFError
    proxy.passes()
    assert says_back(connect())


def test_reset_reaches_both_ends(connect, proxy, echo):
    client = connect()
    assert says_back(client)
    proxy.reset()
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    wait_for(lambda: echo.ends == ['reset'], 20)
    assert proxy.connections() == 0
    assert says_back(connect())


def test_close_reaches_both_ends(connect, proxy, echo):
    client = connect()
    assert says_back(client)
    proxy.close_all()
    assert client.recv(1) == b''
    wait_for(lambda: echo.ends == ['close'], 20)


def test_half_open_with_the_server_gone(connect, proxy, echo):
    client = connect()
    assert says_back(client)
    proxy.half_open('server')
    wait_for(lambda: echo.ends == ['reset'], 20)
    client.sendall(b'anybody?')
    assert hears_nothing(client)
    assert says_back(connect())


def test_half_open_with_the_client_gone(connect, proxy, echo):
    client = connect()
    assert says_back(client)
    proxy.half_open('client')
    with pytest.raises(ConnectionResetError):
        client.recv(1)
    assert echo.ends == [] and proxy.connections() == 1


def test_refused_connections_on_a_port_that_stays(connect, proxy):
    client = connect()
    assert says_back(client)
    proxy.refuse()
    with pytest.raises(ConnectionRefusedError):
        connect()
    assert says_back(client)
    proxy.passes()
    assert says_back(connect())


def test_silent_connections_are_never_answered(connect, proxy, echo):
    proxy.silent()
    client = connect()
    client.sendall(b'anybody?')
    assert hears_nothing(client)
    assert echo.received == 0
    proxy.passes()
    assert says_back(connect())


def test_new_connections_are_reset(connect, proxy):
    proxy.reset_new()
    with pytest.raises(ConnectionResetError):
        says_back(connect())
    proxy.passes()
    assert says_back(connect())


def test_a_black_hole_lets_nobody_connect(connect, proxy, echo):
    client = connect()
    assert says_back(client)
    proxy.black_hole()
    for _ in range(3):
        with pytest.raises(socket.timeout):
            connect(timeout=0.3)
    client.sendall(b'hello')
    assert hears_nothing(client)
    proxy.passes()
    assert receive(client, 5) == b'hello'
    assert says_back(connect())
    assert proxy.accepted == 2


def test_new_connections_go_elsewhere(connect, proxy):
    other = Echo()
    client = connect()
    assert says_back(client)
    proxy.redirect('127.0.0.1', other.port)
    assert says_back(connect(), b'moved')
    assert other.received == 5
    assert says_back(client)
    other.close()


def test_a_server_that_is_not_there(make_proxy, echo):
    echo.close()
    proxy = make_proxy(echo.port)
    with pytest.raises(ConnectionResetError):
        with socket.create_connection(('127.0.0.1', proxy.port), timeout=30) as client:
            client.recv(1)


def test_mistakes_are_told(proxy):
    for wrong in (lambda: proxy.cut(1, 'sideways'), lambda: proxy.cut(1, how='gently'),
                  lambda: proxy.half_open('middle')):
        with pytest.raises((ValueError, KeyError)):
            wrong()
    proxy.stop()
    with pytest.raises(RuntimeError):
        proxy.reset()


def test_by_lines_of_text(echo):
    with subprocess.Popen([sys.executable, os.path.join(HERE, 'proxy.py'), '--to',
                           '127.0.0.1:%d' % echo.port], stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, text=True) as process:
        port = int(process.stdout.readline())

        def order(line):
            process.stdin.write(line + '\n')
            process.stdin.flush()
            return process.stdout.readline().strip()
        with socket.create_connection(('127.0.0.1', port), timeout=30) as client:
            assert says_back(client)
            assert order('connections') == 'ok 1'
            assert order('cut 2 to_client close') == 'ok'
            client.sendall(b'abc')
            assert receive(client, 3) == b'ab'
        assert order('dance').startswith('failed there are the commands')
        process.stdin.close()
    assert process.returncode == 0
