#!/usr/bin/env python3
"""A TCP proxy on loopback that does to connections what networks do.

    proxy = Proxy(('127.0.0.1', 5432))     # in a test; proxy.port is where clients connect
    proxy.cut(1000, 'to_client')

    proxy.py --to 127.0.0.1:5432           # on its own: prints its port, then takes one command a
                                           # line (`cut 1000 to_client`) and answers ok or failed

What a command sets holds when it returns: for connections that are open and for those that come.
Directions: to_server, to_client, both (the default). Sides: server, client.
"""
import argparse
import collections
import heapq
import itertools
import selectors
import socket
import struct
import sys
import threading
import time

from harness import Port

HELD = 1 << 20  # bytes held for one direction at most; then its source is not read
PIECE = 65536
DIRECTIONS = {'to_server': ('to_server',), 'to_client': ('to_client',),
              'both': ('to_server', 'to_client')}


class Rule:
    """What happens to the bytes of one direction."""

    def __init__(self):
        self.delay = 0.0       # seconds that each piece is held
        self.rate = None       # bytes a second
        self.stalled = False   # not read: the sender's window fills up; nothing is lost
        self.swallowed = False  # read and thrown away
        self.cut = None        # bytes that a connection may still pass; see Proxy.cut


class Leg:
    """One direction of one connection: from a socket to another."""

    def __init__(self, link, name, source, target):
        self.link, self.name, self.source, self.target = link, name, source, target
        self.pieces = collections.deque()  # (due, bytes)
        self.held = 0
        self.passed = 0        # bytes
        self.next_free = 0.0   # when the rate allows the next piece
        self.ended = False     # the source has sent all
        self.closed = False    # the target has been told so
        self.left = None       # bytes until the cut
        self.timer = None      # when it is looked at again


class Link:
    """One connection of a client, with its own to the server."""

    def __init__(self, client, server):
        self.client, self.server, self.open = client, server, True
        self.legs = {'to_server': Leg(self, 'to_server', client, server),
                     'to_client': Leg(self, 'to_client', server, client)}
        self.half = None  # the side that is gone without the other's knowledge
        self.watched = {client: None, server: None}  # the events that are waited for


def reset(sock):
    """Closes it with RST instead of FIN."""
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack('ii', 1, 0))
    except OSError:
        pass
    sock.close()


class Proxy:
    """Its methods may be called by any thread; a thread of its own moves the bytes."""

    def __init__(self, target, port=0):
        self.target = target
        self.rules = {'to_server': Rule(), 'to_client': Rule()}
        self.gate = 'open'  # for new connections: open, refuse, silent, reset, black hole
        self.links = set()
        self.fillers, self.filled = [], set()  # connections to ourselves, and all their addresses
        self.selector = selectors.DefaultSelector()
        self.calls, self.lock = collections.deque(), threading.Lock()
        self.timers, self.order = [], itertools.count()
        self.accepted = 0
        self.wake, self.waker = socket.socketpair()
        self.wake.setblocking(False)
        self.selector.register(self.wake, selectors.EVENT_READ, self._calls)
        self.listener = None
        self.reserved = None if port else Port()  # it stays ours while nobody listens
        self.port = port or self.reserved.number
        self._listen()
        self.running = True
        self.thread = threading.Thread(target=self._live, daemon=True)
        self.thread.start()

    # Commands

    def passes(self):
        """All is well again, for what is open still and for what comes."""
        def act():
            self._gate('open')
            self.rules.update(to_server=Rule(), to_client=Rule())
            for leg in self._legs():
                leg.left, leg.next_free = None, 0.0
                leg.pieces = collections.deque((0.0, data) for _, data in leg.pieces)
        self._do(act)

    def delay(self, milliseconds, direction='both'):
        self._rule(direction, delay=milliseconds / 1000)

    def throttle(self, bytes_a_second, direction='both'):
        self._rule(direction, rate=bytes_a_second)

    def stall(self, direction='both'):
        """Nothing moves; passes() lets all of it through."""
        self._rule(direction, stalled=True)

    def swallow(self, direction='both'):
        """Bytes are taken and thrown away."""
        self._rule(direction, swallowed=True)

    def cut(self, after, direction='to_client', how='reset'):
        """Each connection ends when that many more bytes have passed in the direction, in the
        middle of a message if it comes so. how: reset, close, stall."""
        if how not in ('reset', 'close', 'stall'):
            raise ValueError("'%s' is no way to cut: reset, close or stall" % how)

        def act():
            for name in DIRECTIONS[direction]:
                self.rules[name].cut = (after, how)
            for leg in self._legs():
                if leg.name in DIRECTIONS[direction]:
                    leg.left = after
        self._do(act)

    def reset(self):
        """RST to both ends of every open connection; new ones pass."""
        self._do(lambda: [self._end(link, reset) for link in list(self.links)])

    def close_all(self):
        """FIN to both ends of every open connection; new ones pass."""
        self._do(lambda: [self._end(link, socket.socket.close) for link in list(self.links)])

    def half_open(self, gone='server'):
        """That side of every open connection is gone; the other side is not told."""
        if gone not in ('server', 'client'):
            raise ValueError("'%s' is no side: server or client" % gone)
        self._do(lambda: [self._half(link, gone) for link in list(self.links)])

    def refuse(self):
        """New connections are refused, as when nobody listens; open ones go on."""
        self._do(lambda: self._gate('refuse'))

    def silent(self):
        """New connections are made, and never answered; open ones go on."""
        self._do(lambda: self._gate('silent'))

    def reset_new(self):
        """New connections are reset at once; open ones go on."""
        self._do(lambda: self._gate('reset'))

    def black_hole(self):
        """Packets vanish: connecting does not even fail, and open connections hang."""
        def act():
            self._gate('black hole')
            for rule in self.rules.values():
                rule.stalled = True
        self._do(act)

    def redirect(self, host, port):
        """New connections go to another server, as when a name is moved."""
        self._do(lambda: setattr(self, 'target', (host, int(port))))

    def connections(self):
        """Number that are open."""
        return self._do(lambda: len(self.links))

    def passed(self, direction):
        """Bytes that the open connections have passed in that direction."""
        return self._do(lambda: sum(leg.passed for leg in self._legs()
                                    if leg.name in DIRECTIONS[direction]))

    def stop(self):
        if not self.running:
            return
        self._do(lambda: setattr(self, 'running', False))
        self.thread.join()
        if self.reserved is not None:
            self.reserved.free()

    # How commands reach the thread

    def _do(self, what):
        done = threading.Event()
        result = []

        def call():
            try:
                result.append((what(), None))
            except Exception as error:  # raised again where the command was given
                result.append((None, error))
            done.set()
        with self.lock:
            if not self.running:
                raise RuntimeError('the proxy has been stopped')
            self.calls.append(call)
            self.waker.send(b'c')
        done.wait()
        value, error = result[0]
        if error is not None:
            raise error
        return value

    def _calls(self, _events):
        try:
            self.wake.recv(4096)
        except BlockingIOError:
            pass
        with self.lock:
            calls = list(self.calls)
            self.calls.clear()
        for call in calls:
            call()
        for link in list(self.links):
            self._watch(link)

    def _rule(self, direction, **changes):
        def act():
            for name in DIRECTIONS[direction]:
                for what, value in changes.items():
                    setattr(self.rules[name], what, value)
        self._do(act)

    def _legs(self):
        return [leg for link in self.links for leg in link.legs.values()]

    # Its thread

    def _live(self):
        while self.running:
            wait = None if not self.timers else max(0, self.timers[0][0] - time.monotonic())
            for key, events in self.selector.select(wait):
                if key.fileobj.fileno() >= 0:
                    key.data(events)
            now = time.monotonic()
            while self.timers and self.timers[0][0] <= now:
                due, _, leg = heapq.heappop(self.timers)
                if leg.link.open and leg.timer == due:
                    leg.timer = None
                    self._write(leg)
                    self._watch(leg.link)
        for link in list(self.links):
            self._end(link, socket.socket.close)
        self._stop_listening()
        for one in (self.wake, self.waker, self.selector):
            one.close()

    def _listen(self, backlog=128):
        if self.listener is None:
            self.listener = socket.socket()
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.listener.bind(('127.0.0.1', self.port))
            self.listener.setblocking(False)
        self.listener.listen(backlog)
        self._register(self.listener, selectors.EVENT_READ if backlog else 0, self._accept)

    def _empty(self):
        for one in self.fillers:
            one.close()
        self.fillers = []

    def _stop_listening(self):
        self._empty()
        if self.listener is not None:
            self._register(self.listener, 0, None)
            self.listener.close()
            self.listener = None

    def _gate(self, how):
        """How new connections fare from now on."""
        if how == self.gate:
            return
        if how == 'refuse':
            self._stop_listening()
        elif how == 'black hole':
            self._listen(0)
            self._fill()
        else:
            self._empty()
            self._listen()
        self.gate = how

    def _fill(self):
        """Takes all places of the listener's queue: the kernel drops what comes then."""
        while True:
            one = socket.socket()
            one.setblocking(False)
            self.fillers.append(one)
            connecting = one.connect_ex(('127.0.0.1', self.port))
            self.filled.add(one.getsockname())
            if connecting == 0:
                continue
            ready = selectors.DefaultSelector()
            ready.register(one, selectors.EVENT_WRITE)
            connected = ready.select(0.1)
            ready.close()
            if not connected:
                return

    def _register(self, sock, events, data):
        """Watches for these events only."""
        try:
            known = self.selector.get_key(sock)
        except KeyError:
            known = None
        if not events:
            if known:
                self.selector.unregister(sock)
        elif known is None:
            self.selector.register(sock, events, data)
        elif known.events != events:
            self.selector.modify(sock, events, data)

    def _accept(self, _events):
        try:
            client, address = self.listener.accept()
        except OSError:
            return
        if address in self.filled:
            self.filled.discard(address)
            return client.close()
        if self.gate == 'reset':
            return reset(client)
        self.accepted += 1
        server = socket.socket()
        for sock in (client, server):
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self.gate == 'silent':
            server.close()
            server = None
        elif server.connect_ex(self.target) not in (0, 115):  # EINPROGRESS
            server.close()
            return reset(client)
        self._open(client, server)

    def _open(self, client, server):
        link = Link(client, server)
        if server is None:
            link.half = 'server'
        for leg in link.legs.values():
            if self.rules[leg.name].cut is not None:
                leg.left = self.rules[leg.name].cut[0]
        self.links.add(link)
        self._watch(link)

    def _end(self, link, how):
        if not link.open:
            return
        link.open = False
        self.links.discard(link)
        for sock in (link.client, link.server):
            if sock is not None and sock.fileno() >= 0:
                self._register(sock, 0, None)
                how(sock)

    def _half(self, link, gone):
        if link.half is not None:
            return
        link.half = gone
        sock = getattr(link, gone)
        self._register(sock, 0, None)
        reset(sock)
        for leg in link.legs.values():
            leg.pieces.clear()
            leg.held = 0

    # Bytes

    def _watch(self, link):
        """Which events matter depends on the rules and on what is held."""
        if not link.open:
            return
        wanted = {link.client: 0, link.server: 0}
        for leg in link.legs.values():
            if self._reads(leg):
                wanted[leg.source] |= selectors.EVENT_READ
            if self._writes(leg):
                wanted[leg.target] |= selectors.EVENT_WRITE
        for sock, events in wanted.items():
            if events != link.watched[sock] and sock is not None and sock.fileno() >= 0:
                link.watched[sock] = events
                self._register(sock, events,
                               lambda events, sock=sock: self._ready(link, sock, events))

    def _dead(self, leg):
        """Its source or its target is the side that is gone."""
        return leg.link.half is not None

    def _reads(self, leg):
        if leg.ended or leg.source is None or leg.source.fileno() < 0:
            return False
        return not self.rules[leg.name].stalled and leg.held < HELD

    def _writes(self, leg):
        if self._dead(leg) or not leg.pieces or self.rules[leg.name].stalled or leg.left == 0:
            return False
        due = max(leg.pieces[0][0], leg.next_free)
        if due <= time.monotonic():
            return True
        if leg.timer is None or due < leg.timer:
            leg.timer = due
            heapq.heappush(self.timers, (due, next(self.order), leg))
        return False

    def _ready(self, link, sock, events):
        for leg in link.legs.values():
            if link.open and events & selectors.EVENT_READ and leg.source is sock:
                self._read(leg)
            if link.open and events & selectors.EVENT_WRITE and leg.target is sock:
                self._write(leg)
        self._watch(link)

    def _read(self, leg):
        if not self._reads(leg):
            return
        try:
            data = leg.source.recv(PIECE)
        except BlockingIOError:
            return
        except OSError:
            return self._end(leg.link, reset)
        if self._dead(leg):
            return None if data else self._end(leg.link, socket.socket.close)
        if not data:
            leg.ended = True
            return self._finish(leg)
        if not self.rules[leg.name].swallowed:
            leg.pieces.append((time.monotonic() + self.rules[leg.name].delay, data))
            leg.held += len(data)
            self._write(leg)

    def _write(self, leg):
        if not self._writes(leg):
            return
        rule = self.rules[leg.name]
        due, data = leg.pieces.popleft()
        size = len(data) if leg.left is None else min(len(data), leg.left)
        if rule.rate is not None:
            size = min(size, max(1, rule.rate // 50))
        try:
            sent = leg.target.send(data[:size])
        except BlockingIOError:
            sent = 0
        except OSError:
            return self._end(leg.link, reset)
        if sent < len(data):
            leg.pieces.appendleft((due, data[sent:]))
        leg.held -= sent
        leg.passed += sent
        if rule.rate is not None:
            leg.next_free = time.monotonic() + sent / rule.rate
        self._after(leg, sent)

    def _after(self, leg, sent):
        if leg.left is not None:
            leg.left -= sent
            if leg.left == 0 and self.rules[leg.name].cut[1] != 'stall':
                how = self.rules[leg.name].cut[1]
                return self._end(leg.link, reset if how == 'reset' else socket.socket.close)
        if not leg.pieces:
            self._finish(leg)

    def _finish(self, leg):
        """The source has ended and all has passed: so ends the target; both: the connection."""
        if not leg.ended or leg.pieces or leg.closed:
            return
        leg.closed = True
        try:
            leg.target.shutdown(socket.SHUT_WR)
        except OSError:
            pass
        if all(one.closed for one in leg.link.legs.values()):
            self._end(leg.link, socket.socket.close)


# By name, for those who cannot call methods: arguments that are numbers become numbers.
COMMANDS = {name.replace('_', '-'): name for name in (
    'passes', 'delay', 'throttle', 'stall', 'swallow', 'cut', 'reset', 'close_all', 'half_open',
    'refuse', 'silent', 'reset_new', 'black_hole', 'redirect', 'connections', 'passed')}


def command(proxy, words):
    """Runs `cut 1000 to_client`; returns what there is to say."""
    if not words or words[0] not in COMMANDS:
        raise ValueError('there are the commands ' + ', '.join(sorted(COMMANDS)))
    arguments = [int(word) if word.isdigit() else word for word in words[1:]]
    value = getattr(proxy, COMMANDS[words[0]])(*arguments)
    return '' if value is None else str(value)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split('\n')[0])
    parser.add_argument('--to', required=True, metavar='HOST:PORT')
    parser.add_argument('--port', type=int, default=0, help='where to listen; 0: a free port')
    arguments = parser.parse_args()
    host, _, port = arguments.to.rpartition(':')
    proxy = Proxy((host, int(port)), arguments.port)
    print(proxy.port, flush=True)
    for line in sys.stdin:
        try:
            print(('ok ' + command(proxy, line.split())).rstrip(), flush=True)
        except Exception as error:  # any mistake of the caller's is answered
            print('failed %s' % error, flush=True)
    proxy.stop()


if __name__ == '__main__':
    main()
