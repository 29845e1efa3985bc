"""What all kinds of servers share: a folder and a guard for the run, ports, users, words for skips.

    with Harness() as harness:
        server = postgresql.start(harness, 'postgresql15')

Whatever a harness starts ends with it, also when the process that holds it is killed: guard.py.
"""
import json
import os
import pwd
import random
import shutil
import socket
import subprocess
import sys
import threading
import time

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(os.path.dirname(HERE))
sys.path.insert(1, os.path.join(ROOT, 'tools', 'lib'))

import glove  # noqa: E402,F401
import kept  # noqa: E402,F401
from kept import Unavailable  # noqa: E402,F401


class Failed(Exception):
    """A server did not do what it was told."""


def wait_for(condition, seconds, message='it did not happen'):
    """Until it holds; returns what it gave. The time is a limit, not a measure."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise Failed(message() if callable(message) else message)
        time.sleep(0.01)


def build_folder():
    """Where templates are kept: POLY_TEST_BUILD (meson sets it), or build/ of this tree."""
    folder = os.path.join(os.environ.get('POLY_TEST_BUILD', os.path.join(ROOT, 'build')), 'servers')
    os.makedirs(folder, exist_ok=True)
    return folder


class Port:
    """A free port of 127.0.0.1 that no other harness takes until it is let go.

    A server that is down for a while leaves its port unbound, so a name in the abstract namespace
    of sockets stands for it, which the kernel lets go with its process. It lies outside the range
    from which the kernel gives ports to clients.
    """

    def __init__(self):
        with open('/proc/sys/net/ipv4/ip_local_port_range') as file:
            low, high = map(int, file.read().split())
        ports = range(10000, low) if low > 12000 else range(high + 1, 65536)
        for _ in range(1000):
            self.number = random.choice(ports)
            self.holder = socket.socket(socket.AF_UNIX)
            try:
                self.holder.bind('\0polystore-test-port-%d' % self.number)
                with socket.socket() as probe:
                    probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                    probe.bind(('127.0.0.1', self.number))
                return
            except OSError:
                self.holder.close()
        raise Failed('there is no free port')

    def free(self):
        self.holder.close()


class Harness:
    """One run: its folder, its guard, and what it started. Threads may share it."""

    def __init__(self):
        ours, theirs = socket.socketpair()
        self.guard = subprocess.Popen(
            [sys.executable, '-I', os.path.join(HERE, 'guard.py'), str(os.getpid())], stdin=theirs,
            stdout=subprocess.DEVNULL, start_new_session=True)
        theirs.close()
        self.channel, self.answers = ours, ours.makefile('rb')
        self.lock = threading.Lock()
        hello = self._answer()
        self.folder, self.guard_pid = hello['folder'], hello['pid']
        self.no_mounts = hello['no_mounts']  # why there are none, or None
        self.user = self._user()
        self.ports, self.closing, self.numbers = [], [], {}

    @staticmethod
    def _user():
        """Whom servers run as: ourselves, or, for root, somebody without rights."""
        if os.geteuid() != 0:
            return None
        one = pwd.getpwnam('nobody')
        return one.pw_uid, one.pw_gid

    def _answer(self):
        line = self.answers.readline()
        if not line:
            raise Failed('the guard of the servers has ended')
        reply = json.loads(line)
        if 'error' in reply:
            raise Failed(reply['error'])
        return reply['ok']

    def order(self, do, **arguments):
        """One order to the guard; the orders are the methods do_… there."""
        with self.lock:
            if self.guard is None:
                raise Failed('the harness is closed')
            self.channel.sendall(json.dumps(dict(arguments, do=do)).encode() + b'\n')
            return self._answer()

    # Processes

    def spawn(self, argv, out, env=None, root=None, cwd='/'):
        """Starts it as the user of servers; its output goes to the file. Returns its pid."""
        uid, gid = self.user or (None, None)
        path = ':'.join([os.path.dirname(argv[0]), '/usr/bin', '/bin'])
        return self.order('spawn', argv=argv, cwd=cwd, out=out, uid=uid, gid=gid, root=root,
                          env=dict({'PATH': path, 'LC_ALL': 'C.UTF-8', 'HOME': '/'}, **env or {}))

    def run(self, argv, out, seconds=120, **options):
        """Runs it to its end. A code other than 0 is a failure, told with its output."""
        pid = self.spawn(argv, out, **options)
        wait_for(lambda: self.ended(pid) is not None, seconds,
                 lambda: '%s does not end:\n%s' % (argv[0], self.text(out)))
        if self.ended(pid) != 0:
            raise Failed('%s ended with %d:\n%s' % (argv[0], self.ended(pid), self.text(out)))

    def ended(self, pid):
        return self.order('ended', pid=pid)

    def signal(self, pid, number):
        self.order('signal', pid=pid, number=int(number))

    def alive(self, pids):
        return self.order('alive', pids=list(pids)) if pids else []

    # Files

    def place(self, name):
        """A new folder for a server, which the user of servers owns: NAME, NAME-2, …"""
        number = self.numbers[name] = self.numbers.get(name, 0) + 1
        path = os.path.join(self.folder, name if number == 1 else '%s-%d' % (name, number))
        os.mkdir(path, 0o700)
        self.give(path)
        return path

    def give(self, path):
        """What is there belongs to the user of servers from now on."""
        if self.user is not None:
            subprocess.run(['chown', '-R', '%d:%d' % self.user, path], check=True)

    def see(self, path):
        """The same file as the servers see it: with the mounts that only they have."""
        return path if self.no_mounts else '/proc/%d/root%s' % (self.guard_pid, path)

    def text(self, path):
        try:
            with open(self.see(path), errors='replace') as file:
                return file.read()
        except FileNotFoundError:
            return ''

    def tmpfs(self, name, path, size):
        """A file system of that many bytes at the path, for disks that fill up."""
        if self.no_mounts:
            raise Unavailable(name, 'a small disk: ' + self.no_mounts)
        uid, gid = self.user or (0, 0)
        self.order('tmpfs', path=path, size=size, uid=uid, gid=gid)

    # Ports

    def port(self):
        port = Port()
        self.ports.append(port)
        return port.number

    # The end

    def at_close(self, what):
        """Called at the end, the last one first: for what runs in this process."""
        self.closing.append(what)

    def close(self):
        """Ends every server and takes the folder away; returns when all of it has happened."""
        for what in reversed(self.closing):
            what()
        with self.lock:
            guard, self.guard = self.guard, None
        if guard is not None:
            self.channel.shutdown(socket.SHUT_RDWR)
            guard.wait(90)
            self.answers.close()
            self.channel.close()
        for port in self.ports:
            port.free()
        self.closing, self.ports = [], []
        if os.path.exists(self.folder):
            shutil.rmtree(self.folder, ignore_errors=True)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()
